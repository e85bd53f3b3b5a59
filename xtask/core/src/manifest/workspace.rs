//! The output of Cargo and the manifests of a workspace, before anything is decoded.

use alloc::string::String;
use alloc::vec::Vec;

use super::value::Table;

/// A workspace as gathered by the tool.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// The absolute path of the workspace root.
    pub root: String,
    /// The root manifest first, then every other member's, sorted by path. A root
    /// that is also a package is listed once.
    pub manifests: Vec<Manifest>,
}

/// One `Cargo.toml`.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its path for messages: relative to the workspace root.
    pub file: String,
    /// The absolute path of the folder it lies in.
    pub folder: String,
    /// Its text, for turning byte offsets into lines.
    pub text: String,
    /// Its values, each with its place.
    pub root: Table,
    /// The package as Cargo describes it, if the manifest declares one.
    pub package: Option<Package>,
}

impl Manifest {
    /// The offsets of the bytes that end its lines.
    pub(crate) fn line_ends(&self) -> Vec<usize> {
        let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        ends.map(|(offset, _)| offset).collect()
    }
}

/// A package as `cargo metadata` describes it.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// The argument of `-p`: the name, or the identifier if the name is ambiguous.
    pub spec: String,
    /// Cargo's opaque identifier, as in build messages.
    pub id: String,
    /// The package's name.
    pub name: String,
    /// `default-run`, if set.
    pub default_run: Option<String>,
    /// The binaries that cargo can build.
    pub binaries: Vec<Binary>,
    /// The names of its features.
    pub features: Vec<String>,
}

/// A binary target.
#[derive(Clone, Debug, Default)]
pub struct Binary {
    /// The target's name.
    pub name: String,
    /// Features it needs to be built.
    pub required_features: Vec<String>,
}
