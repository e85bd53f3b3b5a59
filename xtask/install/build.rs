//! Embeds the tool's sources in the program, so that an installed one can install them elsewhere.
//!
//! Tests, examples and fuzz targets stay here.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Files beside the folder of the tool.
const BESIDE: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "rustfmt.toml"];

/// Names of files and folders that no build of the tool reads.
const LEFT: [&str; 8] =
    ["bench", "benches", "examples", "fuzz", "target", "tests", "tests.rs", "README.md"];

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let root = package.join("../..").canonicalize()?;
    let mut files: Vec<PathBuf> = BESIDE.iter().map(PathBuf::from).collect();
    walk(&root, Path::new("xtask"), &mut files)?;
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let path = root.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        // Writing to a text never fails.
        let _ = writeln!(list, "({:?}, include_bytes!({path:?})),", file.display().to_string());
    }
    list.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    fs::write(out.join("files.rs"), list)
}

/// Adds the files of a folder below the root. A new file changes the time of its folder.
fn walk(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", root.join(folder).display());
    for entry in fs::read_dir(root.join(folder))? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        let path = folder.join(&name);
        if text.starts_with('.') || LEFT.contains(&&*text) {
            continue;
        }
        match root.join(&path).is_dir() {
            true => walk(root, &path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
