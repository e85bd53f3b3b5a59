//! Refuses to build in a target directory where another worktree builds the same packages.

use std::path::Path;
use xtask_core::sorted::SortedSet;

use xtask_core::plan::Program;

use crate::cli::error::Error;
use crate::cli::load::Loaded;
use crate::workspace::target_folder::{Built, other_builder};

/// Fails if cargo would confuse the plan's programs with those of another worktree. `command` is
/// the command that the user called.
pub fn refuse_shared(loaded: &Loaded, profile: &str, command: &'static str) -> Result<(), Error> {
    let packages = packages(loaded);
    if packages.is_empty() {
        return Ok(());
    }
    let target = &loaded.files.target_directory;
    let root = Path::new(&loaded.plan.workspace);
    match other_builder(target, profile, root, &packages) {
        None => Ok(()),
        Some(other) => {
            let (root, target) = (root.to_path_buf(), target.clone());
            Err(Error::SharedTarget { root, other, target, command })
        }
    }
}

/// The packages of the plan's programs, built or not.
fn packages(loaded: &Loaded) -> Vec<Built> {
    let programs: SortedSet<(&str, &str)> = loaded
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
