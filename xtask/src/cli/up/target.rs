//! Refuses to build where another worktree builds the same packages.
//!
//! It changes nothing: which of the two moves is the user's choice.

use std::collections::BTreeSet;
use std::path::Path;

use xtask_core::plan::Program;

use super::build::profile_folder;
use crate::cli::exit::Exit;
use crate::cli::load::Loaded;
use crate::cli::print::error_with_hint;
use crate::workspace::target_folder::{Built, other_builder};

/// The exit code if the programs of the plan cannot be told from another worktree's; it
/// is said why. `command` is what the user called.
pub(crate) fn refuse_shared(loaded: &Loaded, profile: &str, command: &str) -> Option<Exit> {
    let packages = packages(loaded);
    if packages.is_empty() {
        return None;
    }
    let target = &loaded.files.target_directory;
    let root = Path::new(&loaded.plan.workspace);
    let other = other_builder(target, profile_folder(profile), root, &packages)?;
    // A copy of a checkout brings the programs of the original along.
    let hint = match target.starts_with(root) {
        true => "`cargo clean`, if this folder is a copy of that one".to_owned(),
        false => {
            format!("`CARGO_TARGET_DIR={} cargo xtask {command}`", root.join("target").display())
        }
    };
    error_with_hint(
        &format!(
            "`{}` and `{}` build the same packages in one target directory, `{}`: cargo takes the \
             programs of one for those of the other",
            root.display(),
            other.display(),
            target.display()
        ),
        &hint,
    );
    Some(Exit::USAGE)
}

/// The packages whose programs the plan wants, whether they are built for it or not.
fn packages(loaded: &Loaded) -> Vec<Built> {
    let programs: BTreeSet<(&str, &str)> = loaded
        .plan
        .services
        .iter()
        .filter_map(|service| match &service.program {
            Program::Artifact { package_id, binary, .. } => Some((&**package_id, &**binary)),
            Program::Command { .. } | Program::External | Program::Image { .. } => None,
        })
        .collect();
    let manifests = loaded.files.workspace.manifests.iter();
    manifests
        .filter_map(|manifest| {
            let package = manifest.package.as_ref()?;
            let wanted = programs.iter().filter(|(id, _)| *id == package.id);
            let binaries: Vec<String> = wanted.map(|(_, binary)| (*binary).to_owned()).collect();
            let (manifest, name) = (manifest.file.clone(), package.name.clone());
            (!binaries.is_empty()).then_some(Built { manifest, name, binaries })
        })
        .collect()
}
