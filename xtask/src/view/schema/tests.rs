//! The committed schema, and what it accepts.

use std::fs;
use std::path::Path;

use super::*;
use crate::workspace::json;

#[test]
fn committed_schema_is_the_present_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metadata.schema.json");
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("XTASK_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let hint = "update it with: XTASK_BLESS=1 cargo test -p cargo-services schema";
    assert!(fs::read_to_string(&path).unwrap_or_default() == text, "{hint}");
}

/// Whether the schema accepts a manifest.
fn accepts(manifest: &str) -> bool {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("metadata.json", schema()).unwrap();
    let index = compiler.compile("metadata.json", &mut schemas).unwrap();
    schemas.validate(&json::manifest(manifest), index).is_ok()
}

#[test]
fn schema_accepts_the_manifests_of_the_cases() {
    let mut tried = 0;
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    for case in ["overlay", "features", "alternatives", "explain", "fixed-port"] {
        let mut folders = vec![cases.join(case)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.ends_with("Cargo.toml") {
                    assert!(accepts(&fs::read_to_string(&path).unwrap()), "{}", path.display());
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 5, "only {tried} manifests were tried");
}

#[test]
fn schema_refuses_wrong_keys_and_types() {
    for wrong in [
        "[package.metadata.service]\nprot = 1",
        "[package.metadata.service]\nport = \"1\"",
        "[package.metadata.service]\nport = 70000",
        "[package.metadata.service]\nrestart = \"sometimes\"",
        "[package.metadata.service]\ndepends-on = { a = \"alive\" }",
        "[package.metadata.services.a.with.b]\nargs = \"x\"",
        "[workspace.metadata.xtask]\ndefaults = []",
    ] {
        assert!(!accepts(wrong), "{wrong}");
    }
    assert!(accepts("[package]\nname = \"a\"\n[package.metadata.docs]\nx = 1\n[dependencies]\n"));
}
