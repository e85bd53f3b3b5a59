//! `export`: writes a plan as a Compose, Swarm or Kubernetes document.
//!
//! The input is a plan whose services all run in containers, and the names of their images. This
//! module creates no image, writes no file and applies nothing. It omits and lists what an engine
//! cannot express.

mod compose;
mod kubernetes;
mod unit;

use std::collections::BTreeMap;

use serde::Serialize;
use xtask_core::plan::Plan;
use xtask_core::terms::Name;

use unit::{Unit, units};

/// The images of built programs and their layout.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    /// Image of each service that runs a binary of the workspace.
    pub(crate) references: BTreeMap<Name, String>,
    /// Folder of the program in each image.
    pub(crate) program_folder: &'static str,
    /// User and group id of the program.
    pub(crate) user: u32,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Compose,
    Swarm,
    Kubernetes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Export {
    pub(crate) files: Vec<File>,
    pub(crate) differences: Vec<Difference>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Path relative to the output folder.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) access: Access,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Readable for all users; may be committed.
    Public,
    /// Readable for its owner only: it contains a secret.
    Secret,
    /// Readable for all users in a folder that only the owner can enter: the engine mounts this
    /// secret for a program that runs as another user.
    Handed,
}

/// A setting in the metadata that the document does not contain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Difference {
    pub(crate) service: String,
    pub(crate) what: String,
}

impl Access {
    /// Whether a file holds a secret.
    pub(crate) fn is_secret(self) -> bool {
        match self {
            Self::Public => false,
            Self::Secret | Self::Handed => true,
        }
    }
}

pub(crate) fn export(plan: &Plan, images: &Images, target: Target) -> Export {
    let mut differences = Vec::new();
    let units = units(plan, images, &mut differences);
    let mut files = match target {
        Target::Compose | Target::Swarm => compose::files(&units, target, &mut differences),
        Target::Kubernetes => kubernetes::files(&units, images.user, &mut differences),
    };
    if files.iter().any(|file| file.access.is_secret()) {
        let ignored = ignored(&files);
        files.push(File { path: ".gitignore".into(), text: ignored, access: Access::Public });
    }
    differences.sort();
    differences.dedup();
    Export { files, differences }
}

/// A `.gitignore` that keeps secrets out of a repository.
fn ignored(files: &[File]) -> String {
    let secret = files.iter().filter(|file| file.access.is_secret());
    secret.map(|file| format!("/{}\n", file.path)).collect()
}

fn yaml(value: &impl Serialize) -> String {
    // Maps with text keys always serialize.
    serde_saphyr::to_string(value).unwrap_or_default()
}

fn difference(out: &mut Vec<Difference>, unit: &Unit, what: impl Into<String>) {
    out.push(Difference { service: unit.name.clone(), what: what.into() });
}

fn does_not_wait(out: &mut Vec<Difference>, unit: &Unit) {
    if !unit.depends_on.is_empty() {
        let waits: Vec<&str> = unit.depends_on.iter().map(|(on, _)| on.as_str()).collect();
        let what =
            format!("starts without waiting for {}; what fails is tried again", waits.join(", "));
        difference(out, unit, what);
    }
}

fn needed_on_all(out: &mut Vec<Difference>, unit: &Unit, path: &str) {
    difference(out, unit, format!("`{path}` must be there on every machine"));
}

#[cfg(test)]
mod tests;
