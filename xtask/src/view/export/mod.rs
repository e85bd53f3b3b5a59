//! `export`: the graph of services in the words of an engine that already exists.
//!
//! Pure: from a plan whose services all run in containers, and the names of their images,
//! to texts. It makes no image, writes no file and applies nothing. What an engine cannot
//! express is left out and listed.

mod compose;
mod kubernetes;
mod unit;

use std::collections::BTreeMap;

use serde::Serialize;
use xtask_core::plan::Plan;
use xtask_core::terms::Name;

use unit::{Unit, units};

/// The images that are made here, and how they are laid out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    /// The image of each service whose program is built here.
    pub(crate) references: BTreeMap<Name, String>,
    /// Where the program lies in each.
    pub(crate) program_folder: &'static str,
    /// The number of the user and group that it runs as.
    pub(crate) user: u32,
}

/// For whom it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file for Docker Compose: one machine.
    Compose,
    /// A stack file for Docker Swarm: several machines.
    Swarm,
    /// Objects for Kubernetes.
    Kubernetes,
}

/// What is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Export {
    /// Each file: its path in the output folder, and its text.
    pub(crate) files: Vec<File>,
    /// What the engine cannot express.
    pub(crate) differences: Vec<Difference>,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// Relative to the output folder.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Whether anybody may read it.
    pub(crate) access: Access,
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody; it may be committed.
    Public,
    /// The user alone: it holds a secret.
    Secret,
    /// Whoever gets the file: it is a secret that an engine hands to a program which runs as
    /// another user. Its folder is the user's alone.
    Handed,
}

/// Something that is said in the metadata and not done there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Difference {
    /// The service.
    pub(crate) service: String,
    /// What is different, one line.
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

/// Writes a plan down for an engine.
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

/// Keeps secrets out of a repository that the output folder may lie in.
fn ignored(files: &[File]) -> String {
    let secret = files.iter().filter(|file| file.access.is_secret());
    secret.map(|file| format!("/{}\n", file.path)).collect()
}

/// A document as YAML.
fn yaml(value: &impl Serialize) -> String {
    // Everything here is a map with text as keys, which always can be written.
    serde_saphyr::to_string(value).unwrap_or_default()
}

fn difference(out: &mut Vec<Difference>, unit: &Unit, what: impl Into<String>) {
    out.push(Difference { service: unit.name.clone(), what: what.into() });
}

#[cfg(test)]
mod tests;
