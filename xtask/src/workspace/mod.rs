//! Gathers a workspace: what Cargo says of it, and its manifests with the place of
//! every value.
//!
//! It understands no metadata of services; the core does.

mod document;
pub(crate) mod edit;
pub(crate) mod planning;
pub(crate) mod target_folder;
mod unreadable;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand, TargetKind};
use xtask_core::manifest::{Binary, Package, Workspace};
use xtask_core::problem::Problem;

use crate::workspace::document::manifest;

/// A workspace as it lies on the disk.
#[derive(Clone, Debug)]
pub(crate) struct WorkspaceFiles {
    /// What the core reads.
    pub(crate) workspace: Workspace,
    /// Where cargo builds.
    pub(crate) target_directory: PathBuf,
}

impl WorkspaceFiles {
    /// The text of a file that a problem points into: a manifest, or a file below the
    /// root.
    pub(crate) fn text(&self, file: &str) -> Option<String> {
        let manifest = self.workspace.manifests.iter().find(|manifest| manifest.file == file);
        match manifest {
            Some(manifest) => Some(manifest.text.clone()),
            None => fs::read_to_string(Path::new(&self.workspace.root).join(file)).ok(),
        }
    }
}

/// Why a workspace could not be files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Cargo refused, for a reason that is not a manifest's syntax.
    #[error("{words}")]
    Refused {
        /// Its words, or rustup's.
        words: String,
    },
    /// There is no cargo that could be asked.
    #[error("cannot start `cargo`")]
    NoCargo {
        /// The system's words.
        source: io::Error,
    },
    /// Cargo answered with something else than it should.
    #[error("cannot run `cargo metadata`")]
    Cargo {
        /// The system's words.
        source: cargo_metadata::Error,
    },
    /// A manifest that Cargo read a moment ago cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// Asks cargo about the workspace around `start`, or that of a manifest, and reads its
/// manifests.
///
/// Where a manifest is not TOML, the problems say so
/// ([`xtask_core::problem::Code::Syntax`]); the workspace is then what could be read
/// without Cargo, good for finding more mistakes only.
///
/// # Errors
/// Cargo's words, or those of the system.
pub(crate) fn read(
    start: &Path,
    manifest_path: Option<&Path>,
) -> Result<(WorkspaceFiles, Vec<Problem>), Error> {
    if start.to_str().is_none() {
        let words = format!("`{}` is not UTF-8, which cargo wants of a path", start.display());
        return Err(Error::Refused { words });
    }
    let mut command = MetadataCommand::new();
    command.no_deps().current_dir(start);
    if let Some(path) = manifest_path {
        command.manifest_path(path);
    }
    let metadata = match command.exec() {
        Ok(metadata) => metadata,
        Err(cargo_metadata::Error::CargoMetadata { stderr }) => {
            let first = manifest_path.map_or_else(|| start.to_path_buf(), |path| start.join(path));
            let (workspace, problems) = unreadable::read(&first)
                .ok_or_else(|| Error::Refused { words: without_prefix(&stderr) })?;
            let target_directory = Path::new(&workspace.root).join("target");
            return Ok((WorkspaceFiles { workspace, target_directory }, problems));
        }
        Err(cargo_metadata::Error::Io(source)) => return Err(Error::NoCargo { source }),
        Err(source) => return Err(Error::Cargo { source }),
    };
    let root = metadata.workspace_root.as_std_path();
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let mut packages = packages(&metadata, &lock);
    let mut paths: Vec<PathBuf> = packages.keys().cloned().collect();
    let first = root.join("Cargo.toml");
    paths.retain(|path| *path != first);
    paths.insert(0, first);
    let mut problems = Vec::new();
    let mut manifests = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)
            .map_err(|source| Error::Read { path: path.clone(), source })?;
        let (mut manifest, mut found) = manifest(root, &path, text);
        manifest.package = packages.remove(&path);
        manifests.push(manifest);
        problems.append(&mut found);
    }
    let workspace = Workspace { root: metadata.workspace_root.to_string(), manifests };
    let target_directory = metadata.target_directory.into_std_path_buf();
    Ok((WorkspaceFiles { workspace, target_directory }, problems))
}

/// What Cargo says of each member, by the path of its manifest.
fn packages(metadata: &Metadata, lock: &str) -> BTreeMap<PathBuf, Package> {
    let mut out = BTreeMap::new();
    for package in metadata.workspace_packages() {
        let name = package.name.to_string();
        let id = package.id.to_string();
        let binaries = package.targets.iter().filter(|t| t.kind.contains(&TargetKind::Bin));
        let described = Package {
            spec: if is_ambiguous(&name, lock) { id.clone() } else { name.clone() },
            id,
            name,
            default_run: package.default_run.clone(),
            binaries: binaries
                .map(|target| Binary {
                    name: target.name.clone(),
                    required_features: target.required_features.clone(),
                })
                .collect(),
            features: package.features.keys().cloned().collect(),
        };
        out.insert(package.manifest_path.clone().into_std_path_buf(), described);
    }
    out
}

/// Whether a lock file knows several packages of this name, so that the name alone
/// tells Cargo too little.
fn is_ambiguous(name: &str, lock: &str) -> bool {
    let line = format!("name = \"{name}\"");
    lock.lines().filter(|other| *other == line).count() > 1
}

/// Cargo's words without the prefix that the caller writes itself.
fn without_prefix(words: &str) -> String {
    let words = words.trim();
    words.strip_prefix("error: ").unwrap_or(words).to_string()
}
