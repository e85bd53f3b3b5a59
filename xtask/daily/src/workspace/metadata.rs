//! The answer of `cargo metadata --no-deps`, as far as the tool reads it.
//!
//! It calls the cargo that called this program, or the first in `PATH`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask_core::sorted::SortedMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A workspace as cargo describes it. Without dependencies, its packages are its members.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub workspace_root: String,
    pub target_directory: PathBuf,
    /// The folder of intermediate files; cargo of old versions has none of its own.
    pub build_directory: Option<PathBuf>,
    /// What `[workspace.metadata]` contains.
    #[serde(rename = "metadata", default)]
    pub workspace_metadata: serde_json::Value,
}

/// A member of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    pub id: String,
    pub name: String,
    pub manifest_path: PathBuf,
    pub default_run: Option<String>,
    pub targets: Vec<Target>,
    pub features: SortedMap<String, IgnoredAny>,
}

/// A library, a program or a test of a package.
#[derive(Debug, Deserialize)]
pub struct Target {
    pub name: String,
    kind: Vec<String>,
    #[serde(rename = "required-features", default)]
    pub required_features: Vec<String>,
    #[serde(default)]
    pub doctest: bool,
    /// Whether `cargo test` runs it by default.
    #[serde(default)]
    pub test: bool,
}

impl Target {
    pub fn is_binary(&self) -> bool {
        self.kind.iter().any(|kind| kind == "bin")
    }

    pub fn is_test(&self) -> bool {
        self.kind.iter().any(|kind| kind == "test")
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("failed to start `cargo`")]
    Start(#[source] io::Error),
    /// Cargo failed; this is its text.
    #[error("{0}")]
    Cargo(String),
    #[error("unknown format")]
    Format(#[source] serde_json::Error),
}

impl Metadata {
    /// Asks cargo for the workspace around the folder `here`, or that of a manifest.
    ///
    /// # Errors
    /// When cargo cannot be started, fails, or answers in another format.
    pub fn read(here: &Path, manifest_path: Option<&Path>) -> Result<Self, MetadataError> {
        let cargo = std::env::var_os("CARGO").filter(|cargo| !cargo.is_empty());
        let mut command = Command::new(cargo.unwrap_or("cargo".into()));
        command.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(here);
        if let Some(path) = manifest_path {
            command.arg("--manifest-path").arg(path);
        }
        let output = command.output().map_err(MetadataError::Start)?;
        if !output.status.success() {
            return Err(MetadataError::Cargo(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        // A wrapper of cargo may print lines of its own.
        let mut lines = output.stdout.split(|byte| *byte == b'\n');
        let answer = lines.find(|line| line.starts_with(b"{")).unwrap_or_default();
        serde_json::from_slice(answer).map_err(MetadataError::Format)
    }
}
