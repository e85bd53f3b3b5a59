//! The core stays what it says it is: no standard library, no `unsafe`, few
//! dependencies.
//!
//! The compiler holds most of this already; here it cannot be switched off unseen.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// What the core may be built on.
const DEPENDENCIES: [&str; 2] = ["serde", "thiserror"];

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The source without comments, where words may say what code may not.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
}

#[test]
fn the_core_knows_no_standard_library_and_nothing_unsafe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    assert!(found.len() > 10);
    let lib = found.iter().find(|(path, _)| path.ends_with("lib.rs")).unwrap();
    assert!(lib.1.contains("#![no_std]") && lib.1.contains("#![forbid(unsafe_code)]"));
    let mut wrong = Vec::new();
    for (path, text) in &found {
        for (number, line) in code(text) {
            let unsafe_word = line.contains("unsafe") && !line.contains("unsafe_code");
            if line.contains("extern crate std") || line.contains("std::") || unsafe_word {
                wrong.push(format!("{path}:{number}: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_depends_on_what_is_listed_only() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let text = fs::read_to_string(manifest).unwrap();
    let mut table = "";
    for line in text.lines() {
        if line.starts_with('[') {
            table = line;
            let other = table.contains("dependencies") && table != "[dev-dependencies]";
            assert!(!other || table == "[dependencies]", "{table} is one table too many");
        } else if table == "[dependencies]" && !line.trim().is_empty() && !line.starts_with('#') {
            let name = line.split(['.', ' ', '=']).next().unwrap();
            assert!(DEPENDENCIES.contains(&name), "`{name}` is not listed");
        }
    }
}

#[test]
fn reducer_files_have_at_most_500_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src/stack"), &mut found);
    sources(&root.join("tests/simulation"), &mut found);
    sources(&root.join("tests/reducer"), &mut found);
    for (path, text) in found {
        assert!(text.lines().count() <= 500, "{path}");
    }
}
