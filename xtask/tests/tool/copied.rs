//! The tool in another workspace, put there as the README says.
//!
//! Its build is not repeated here, it takes minutes; cargo only reads the manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

const PACKAGES: [&str; 3] = ["xtask", "xtask/core", "xtask/client"];

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
fn another_workspace_needs_three_members_and_the_lines_that_they_name() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let there = tempfile::tempdir().unwrap();
    let mut named = BTreeSet::new();
    for package in PACKAGES {
        let folder = there.path().join(package);
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::copy(here.join(package).join("Cargo.toml"), folder.join("Cargo.toml")).unwrap();
        fs::write(folder.join("src/lib.rs"), "").unwrap();
        named.extend(inherited(&manifest(&here.join(package))));
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

    let read = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(there.path())
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    let editions = read["packages"].as_array().unwrap().iter().map(|one| &one["edition"]);
    assert!(editions.eq(["2024"; 3]), "{read}");
}
