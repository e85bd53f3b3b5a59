//! The root of the tested workspace, its package with end-to-end tests, and whether it has doc
//! tests.

use std::path::PathBuf;

use anyhow::Context;

use xtask::cli::Global;
use xtask::cli::stack::workspace_root;
use xtask::workspace::metadata::Metadata;

/// The package with end-to-end tests if the metadata names none.
const DEFAULT_PACKAGE: &str = "e2e";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tested {
    pub(crate) root: PathBuf,
    /// The package with end-to-end tests: `[workspace.metadata.xtask] e2e`, else the member `e2e`.
    pub(crate) e2e: Option<String>,
    /// Whether a library may have doc tests; `cargo test --doc` fails without one.
    pub(crate) has_examples: bool,
    /// Tiers: names of integration tests with `test = false`, which cargo runs only by name.
    pub(crate) tiers: Vec<String>,
}

impl Tested {
    pub(crate) fn find(global: &Global) -> anyhow::Result<Self> {
        let root = workspace_root(global)?;
        let metadata = Metadata::read(&root, None);
        let metadata = metadata.context("failed to run `cargo metadata`")?;
        let has_examples = has_examples(&metadata);
        Ok(Self { e2e: e2e(&metadata), has_examples, tiers: tiers(&metadata), root })
    }
}

fn e2e(metadata: &Metadata) -> Option<String> {
    if let Some(named) = metadata.workspace_metadata["xtask"]["e2e"].as_str() {
        return Some(named.to_owned());
    }
    let mut members = metadata.packages.iter();
    members.find(|package| package.name == DEFAULT_PACKAGE).map(|package| package.name.clone())
}

fn has_examples(metadata: &Metadata) -> bool {
    let e2e = e2e(metadata);
    let members = metadata.packages.iter();
    members.filter(|package| Some(&package.name) != e2e.as_ref()).any(|package| {
        let mut targets = package.targets.iter();
        targets.any(|target| target.doctest && !target.is_binary())
    })
}

fn tiers(metadata: &Metadata) -> Vec<String> {
    let targets = metadata.packages.iter().flat_map(|package| &package.targets);
    let tiers = targets.filter(|target| target.is_test() && !target.test);
    let mut names: Vec<_> = tiers.map(|target| target.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
