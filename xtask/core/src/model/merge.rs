//! Merges the sections of one service.
//!
//! One section declares the service. The workspace's table of the same name and the active
//! overlays are laid over it, in this order. `manifest::keys` declares the merge rule of each
//! key.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Node, Runs};
use crate::manifest::at::is_true;
use crate::manifest::declare::Overlay;
use crate::manifest::keys::Settings;
use crate::manifest::section::Section;
use crate::manifest::{At, Declarations};
use crate::problem::{Code, Problem};
use crate::terms::Name;

/// One node for each service, in the order of the manifests; its program and edges are chosen
/// later.
pub(super) fn merge(
    declarations: &Declarations,
    with: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Node> {
    let mut out: Vec<Node> = Vec::new();
    // Packages first: a table of the workspace may lie on top of any of them.
    let (packages, workspace): (Vec<&Section>, Vec<&Section>) =
        declarations.sections.iter().partition(|section| section.package.is_some());
    for section in packages.into_iter().chain(workspace) {
        let (name, declared) = (Name::from(section.name.value.as_str()), section.name.with(()));
        if let Some(earlier) = out.iter_mut().find(|node| node.name == name) {
            if section.package.is_none() && !brings_program(&section.settings) {
                lay(&mut earlier.settings, &section.settings);
                continue;
            }
            // It is kept, so that its other mistakes are reported too.
            problems.push(duplicate(earlier, &declared));
        }
        out.push(Node {
            name,
            declared,
            package: section.package,
            folder: section.folder.clone(),
            settings: section.settings.clone(),
            mistaken_program: section.mistaken_program,
            program: Runs::Unknown,
            depends_on: Vec::new(),
            uses: Vec::new(),
        });
    }
    for name in with {
        for section in &declarations.sections {
            for (_, overlay) in section.overlays.iter().filter(|(n, _)| n.value == *name) {
                if let Some(node) = out.iter_mut().find(|node| *node.name == *section.name.value) {
                    lay(&mut node.settings, overlay);
                }
            }
        }
    }
    out
}

/// Whether the section sets a program.
fn has_program(settings: &Settings) -> bool {
    settings.bin.is_some() || brings_program(settings)
}

/// Whether the section sets a program that is not a binary of a package. A table of the
/// workspace without one is laid over the package's section.
fn brings_program(settings: &Settings) -> bool {
    settings.command.is_some() || settings.image.is_some() || is_true(&settings.external)
}

fn duplicate(first: &Node, second: &At<()>) -> Problem {
    Problem::error(Code::DuplicateName, format!("two services are called `{}`", first.name))
        .at(second.span.clone(), "declared again")
        .context(first.declared.span.clone(), "declared first")
        .hint("give one of them another `name`")
}

/// Lays `top` over `base`. Each key follows its own merge rule, but what excludes another
/// key also replaces that key.
fn lay(base: &mut Settings, top: &Settings) {
    if has_program(top) {
        (base.bin, base.command, base.image, base.external) = (None, None, None, None);
        // A placement holds for one program.
        base.placement = None;
    }
    if top.ports().is_some() {
        (base.port, base.ports) = (None, None);
    }
    base.lay(top);
    let depends_on = &base.depends_on;
    base.uses.retain(|used| depends_on.iter().all(|edge| edge.on.value != used.value));
}
