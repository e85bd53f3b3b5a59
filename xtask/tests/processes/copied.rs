//! The tool copied into another workspace, as the README describes it.
//!
//! Cargo only reads the manifests here, because a build of the copy takes minutes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xshell::cmd;
use xtask_test_support::shell;

const PACKAGES: [&str; 4] = ["xtask/daily", "xtask/core", "xtask/client", "xtask/launcher"];

/// The table that the README removes from `xtask/daily/Cargo.toml`.
const REMOVED: [&str; 1] = ["dev-dependencies"];

fn manifest(path: &Path) -> toml::Table {
    fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap()
}

/// The names of the workspace's dependencies that the package inherits.
fn inherited(package: &toml::Table) -> BTreeSet<String> {
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = tables.iter().filter_map(|table| package.get(*table)?.as_table());
    let inherits = |value: &toml::Value| value.get("workspace").is_some();
    tables.flatten().filter(|(_, value)| inherits(value)).map(|(name, _)| name.clone()).collect()
}

#[test]
fn copied_tool_needs_four_members_and_their_dependencies() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let there = tempfile::tempdir().unwrap();
    let mut named = BTreeSet::new();
    for package in PACKAGES {
        let folder = there.path().join(package);
        fs::create_dir_all(folder.join("src")).unwrap();
        let mut package_manifest = manifest(&here.join(package));
        if package == "xtask/daily" {
            package_manifest.retain(|table, _| !REMOVED.contains(&table));
        }
        named.extend(inherited(&package_manifest));
        fs::write(folder.join("Cargo.toml"), toml::to_string(&package_manifest).unwrap()).unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
        let tiers = package_manifest.get("test").and_then(toml::Value::as_array);
        for tier in tiers.into_iter().flatten() {
            let tests = folder.join("tests");
            fs::create_dir_all(&tests).unwrap();
            fs::write(tests.join(tier["name"].as_str().unwrap()).with_extension("rs"), "").unwrap();
        }
    }
    let mut lines = manifest(here)["workspace"]["dependencies"].as_table().unwrap().clone();
    lines.retain(|name, _| named.contains(name));
    let mut root = toml::toml! {
        [workspace]
        resolver = "2"
        [workspace.package]
        version = "7.0.0"
        edition = "2018"
        [workspace.lints]
    };
    let workspace = root["workspace"].as_table_mut().unwrap();
    workspace.insert("members".into(), PACKAGES.to_vec().into());
    workspace.insert("dependencies".into(), lines.into());
    fs::write(there.path().join("Cargo.toml"), toml::to_string(&root).unwrap()).unwrap();

    let shell = shell(there.path());
    let metadata = cmd!(shell, "cargo metadata --format-version 1 --no-deps --offline").read();
    let metadata: serde_json::Value = serde_json::from_str(&metadata.unwrap()).unwrap();
    let editions = metadata["packages"].as_array().unwrap().iter().map(|one| &one["edition"]);
    assert!(editions.eq(["2024"; PACKAGES.len()]), "{metadata}");
}
