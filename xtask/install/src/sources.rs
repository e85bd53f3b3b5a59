//! The tool's sources, as they are installed: without tests and what only tests need.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Array, DocumentMut, Item, TomlError};

/// The files of the tool's workspace, by their paths from its root.
static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The manifests of packages that travel are below this folder.
const PACKAGES: &str = "xtask";

/// The launcher, which becomes the member of the host.
const LAUNCHER: &str = "xtask/launcher";

/// The lock file of the installed workspace, in the sources.
const LOCK: &str = "xtask/install/installed.lock";

/// The tables of a manifest that only tests need.
const OF_TESTS: [&str; 4] = ["dev-dependencies", "test", "bench", "example"];

/// The launcher's manifest in the host. Its old edition is quiet in workspaces with old settings.
const MEMBER: &str = "\
# Written by the command `install` of the tool in `tool`, which `uninstall` removes. This package has
# no dependencies: it builds the tool and executes it. Edits are lost with the next `install`.
[package]
name = \"xtask\"
version = \"0.0.0\"
edition = \"2018\"
publish = false

[[bin]]
name = \"xtask\"
path = \"src/main.rs\"
test = false
doctest = false
doc = false
bench = false
";

/// Files by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The lowest version of Rust that compiles the tool.
#[must_use]
pub fn rust_version() -> String {
    let manifest = manifest("xtask/daily/Cargo.toml");
    let version =
        manifest.as_ref().ok().and_then(|manifest| manifest["package"].get("rust-version"));
    version.and_then(Item::as_str).unwrap_or_default().to_owned()
}

/// All files of the launcher, relative to its folder in the host.
#[must_use]
pub fn launcher() -> Files {
    let mut files = Files::from([("Cargo.toml".to_owned(), MEMBER.as_bytes().to_vec())]);
    for (path, content) in FILES {
        if let Some(path) = path.strip_prefix(LAUNCHER).filter(|path| path.starts_with("/src/")) {
            files.insert(path[1..].to_owned(), content.to_vec());
        } else if *path == "rustfmt.toml" {
            files.insert((*path).to_owned(), content.to_vec());
        }
    }
    files
}

/// All files of the tool's workspace, relative to its root.
///
/// # Errors
/// When an embedded manifest is not TOML.
pub fn tool() -> Result<Files, TomlError> {
    let mut files = Files::new();
    let mut named = BTreeSet::new();
    for (path, content) in FILES {
        if *path == LOCK {
            files.insert("Cargo.lock".to_owned(), content.to_vec());
        }
        let text = match path.rsplit('/').next() {
            Some("Cargo.toml") if path.starts_with(PACKAGES) => {
                package(path, &mut named)?.into_bytes()
            }
            Some("lib.rs" | "main.rs") if is_crate_root(path) => allowing_warnings(content),
            _ => content.to_vec(),
        };
        files.insert((*path).to_owned(), text);
    }
    files.insert("Cargo.toml".to_owned(), root(&named)?.into_bytes());
    Ok(files)
}

fn manifest(path: &str) -> Result<DocumentMut, TomlError> {
    let found = FILES.iter().find(|(other, _)| *other == path);
    String::from_utf8_lossy(found.map_or(b"", |(_, content)| content)).parse()
}

/// The manifest of a package without what tests need. Adds the names of the dependencies that it
/// inherits.
fn package(path: &str, named: &mut BTreeSet<String>) -> Result<String, TomlError> {
    let mut manifest = manifest(path)?;
    for table in OF_TESTS {
        manifest.remove(table);
    }
    for table in ["dependencies", "build-dependencies"] {
        let Some(table) = manifest.get(table).and_then(Item::as_table_like) else { continue };
        let inherited = table.iter().filter(|(_, item)| item.get("workspace").is_some());
        named.extend(inherited.map(|(name, _)| name.to_owned()));
    }
    Ok(manifest.to_string())
}

/// The root manifest with the tool's packages and their dependencies alone.
fn root(named: &BTreeSet<String>) -> Result<String, TomlError> {
    let mut root = manifest("Cargo.toml")?;
    if let Some(workspace) = root.get_mut("workspace").and_then(Item::as_table_like_mut) {
        workspace.remove("metadata");
        if let Some(members) = workspace.get_mut("members").and_then(Item::as_array_mut) {
            members.retain(|member| member.as_str().is_some_and(travels));
        }
        let table = workspace.get_mut("dependencies").and_then(Item::as_table_like_mut);
        if let Some(dependencies) = table {
            let all: Vec<String> = dependencies.iter().map(|(name, _)| name.to_owned()).collect();
            for name in all.iter().filter(|name| !named.contains(*name)) {
                dependencies.remove(name);
            }
        }
    }
    // Cargo warns about profiles of packages that are not there.
    let profiles = root.get_mut("profile").and_then(|profile| profile.get_mut("dev"));
    let profiles =
        profiles.and_then(|dev| dev.get_mut("package")).and_then(Item::as_table_like_mut);
    if let Some(packages) = profiles {
        let all: Vec<String> = packages.iter().map(|(name, _)| name.to_owned()).collect();
        for name in all.iter().filter(|name| *name != "*" && !is_locked(name)) {
            packages.remove(name);
        }
    }
    Ok(root.to_string())
}

/// Whether the installed workspace has a package of that name.
fn is_locked(name: &str) -> bool {
    let lock = FILES.iter().find(|(path, _)| *path == LOCK).map_or(&b""[..], |(_, lock)| lock);
    String::from_utf8_lossy(lock).contains(&format!("name = \"{name}\"\n"))
}

/// Whether the package in this folder is part of the tool.
fn travels(folder: &str) -> bool {
    let manifest = format!("{folder}/Cargo.toml");
    folder.starts_with(PACKAGES) && FILES.iter().any(|(path, _)| *path == manifest)
}

/// The members of the tool's workspace, as its root manifest names them.
///
/// # Errors
/// As [`tool`].
pub fn members() -> Result<Vec<String>, TomlError> {
    let root = root(&BTreeSet::new())?;
    let root: DocumentMut = root.parse()?;
    let members = root["workspace"]["members"].as_array().map(Array::iter);
    Ok(members.into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect())
}

fn is_crate_root(path: &str) -> bool {
    path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs")
}

/// A crate that a host with `-D warnings` and a later compiler builds as well.
fn allowing_warnings(source: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(source);
    let is_doc = |line: &&str| line.starts_with("//!");
    let head: usize = text.split_inclusive('\n').take_while(is_doc).map(str::len).sum();
    let (head, rest) = text.split_at(head);
    let rest = rest.trim_start_matches("\n#![allow(warnings)]\n");
    format!("{head}\n#![allow(warnings)]\n{rest}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_tests_travels() {
        let files = tool().unwrap();
        for path in files.keys() {
            let is_test = path.split('/').any(|part| ["tests", "fuzz", "examples"].contains(&part));
            assert!(!is_test && !path.starts_with("services/"), "{path}");
        }
        for (path, content) in files.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
            let text = String::from_utf8_lossy(content);
            assert!(!text.contains("dev-dependencies") && !text.contains("[[test]]"), "{path}");
        }
        let root = String::from_utf8_lossy(&files["Cargo.toml"]).into_owned();
        for absent in ["axum", "argon2", "sqlx", "services/", "test-support", "workspace.metadata"]
        {
            assert!(!root.contains(absent), "{absent} in {root}");
        }
        assert!(files.contains_key("xtask/daily/src/lib.rs") && files.contains_key("LICENSE-MIT"));
    }

    #[test]
    fn launcher_has_only_its_own_files() {
        let files = launcher();
        let paths: Vec<&str> = files.keys().map(String::as_str).collect();
        let sources = ["src/inherited.rs", "src/main.rs", "src/services.rs", "src/sources.rs"];
        assert_eq!(paths, [&["Cargo.toml", "rustfmt.toml"][..], &sources].concat());
    }

    #[test]
    fn crate_root_allows_warnings_once() {
        let once = allowing_warnings(b"//! Doc.\n\nmod a;\n");
        assert_eq!(once, b"//! Doc.\n\n#![allow(warnings)]\n\nmod a;\n");
        assert_eq!(allowing_warnings(&once), once);
    }
}
