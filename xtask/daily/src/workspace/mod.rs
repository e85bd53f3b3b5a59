//! Reads a workspace: the answer of `cargo metadata`, and the manifests with the place of
//! every value.
//!
//! The core interprets the metadata of services.

pub mod document;
pub mod glob;
pub mod metadata;
pub mod planning;
pub mod secret;
pub mod target_folder;
mod unreadable;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use xtask_core::sorted::SortedMap;

use xtask_core::manifest::{Binary, Package, Workspace};
use xtask_core::problem::Problem;

use crate::workspace::document::manifest;
use crate::workspace::metadata::{Metadata, MetadataError};

#[derive(Clone, Debug)]
pub struct WorkspaceFiles {
    pub workspace: Workspace,
    /// The folder in which cargo builds.
    pub target_directory: PathBuf,
    /// The folder of cargo's intermediate files, with the same subfolders.
    pub build_directory: PathBuf,
}

impl WorkspaceFiles {
    /// The text of a file that a problem points into: a manifest, or a file below the root.
    pub fn text(&self, file: &str) -> Option<String> {
        let manifest = self.workspace.manifests.iter().find(|manifest| manifest.file == file);
        match manifest {
            Some(manifest) => Some(manifest.text.clone()),
            None => fs::read_to_string(Path::new(&self.workspace.root).join(file)).ok(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Cargo failed, and all manifests are valid TOML. The message is that of cargo or rustup.
    #[error("{message}")]
    Cargo { message: String },
    #[error("`{}` is not UTF-8, and cargo needs paths in UTF-8", path.display())]
    NotUtf8 { path: PathBuf },
    #[error("failed to start `cargo`")]
    NoCargo { source: io::Error },
    #[error("failed to read the answer of `cargo metadata`")]
    Answer { source: MetadataError },
    #[error("failed to read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
}

/// That cargo could not be started, which has a hint.
pub fn no_cargo(source: io::Error) -> Error {
    Error::NoCargo { source }
}

/// Asks cargo for the workspace around `start`, or that of a manifest, and reads its
/// manifests.
///
/// Manifests that are not TOML become problems of
/// [`xtask_core::problem::Code::Syntax`]. The workspace is then incomplete: it serves only
/// to find more problems.
pub fn read(
    start: &Path,
    manifest_path: Option<&Path>,
) -> Result<(WorkspaceFiles, Vec<Problem>), Error> {
    if start.to_str().is_none() {
        return Err(Error::NotUtf8 { path: start.to_path_buf() });
    }
    let metadata = match Metadata::read(start, manifest_path) {
        Ok(metadata) => metadata,
        Err(MetadataError::Cargo(stderr)) => {
            let first = manifest_path.map_or_else(|| start.to_path_buf(), |path| start.join(path));
            let (workspace, problems) = unreadable::read(&first)
                .ok_or_else(|| Error::Cargo { message: without_prefix(&stderr) })?;
            let target_directory = Path::new(&workspace.root).join("target");
            let build_directory = target_directory.clone();
            return Ok((WorkspaceFiles { workspace, target_directory, build_directory }, problems));
        }
        Err(MetadataError::Start(source)) => return Err(no_cargo(source)),
        Err(source) => return Err(Error::Answer { source }),
    };
    let root = Path::new(&metadata.workspace_root);
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
    let workspace = Workspace { root: metadata.workspace_root, manifests };
    let target_directory = metadata.target_directory;
    let build_directory = metadata.build_directory.unwrap_or_else(|| target_directory.clone());
    Ok((WorkspaceFiles { workspace, target_directory, build_directory }, problems))
}

/// The members of the workspace, by the path of the manifest.
fn packages(metadata: &Metadata, lock: &str) -> SortedMap<PathBuf, Package> {
    let mut out = SortedMap::new();
    for package in &metadata.packages {
        let name = package.name.clone();
        let id = package.id.clone();
        let binaries = package.targets.iter().filter(|target| target.is_binary());
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
        out.insert(package.manifest_path.clone(), described);
    }
    out
}

/// Whether the lock file contains several packages of this name, so that cargo needs more
/// than the name.
fn is_ambiguous(name: &str, lock: &str) -> bool {
    let line = format!("name = \"{name}\"");
    lock.lines().filter(|other| *other == line).count() > 1
}

/// Cargo's message without the prefix that the caller prints itself.
fn without_prefix(message: &str) -> String {
    let message = message.trim();
    message.strip_prefix("error: ").unwrap_or(message).to_string()
}
