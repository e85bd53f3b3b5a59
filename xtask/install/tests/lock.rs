//! The lock file of the installed workspace: what the embedded manifests need, with the versions
//! that this repository locks. `XTASK_BLESS=1` writes it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Name and version of each package of a lock file.
fn packages(lock: &str) -> BTreeSet<(String, String)> {
    let lock: toml_edit::DocumentMut = lock.parse().unwrap();
    let packages = lock["package"].as_array_of_tables().unwrap().iter();
    let text = |package: &toml_edit::Table, key: &str| package[key].as_str().unwrap().to_owned();
    packages.map(|package| (text(package, "name"), text(package, "version"))).collect()
}

#[test]
fn installed_lock_file_is_current() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let whole = fs::read_to_string(package.join("../../Cargo.lock")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in xtask_install::sources::tool().unwrap() {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let tree = |arguments: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--workspace", "--offline", "--quiet"]).args(arguments);
        let output = cargo.current_dir(folder.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let lock = folder.path().join("Cargo.lock");
    if std::env::var_os("XTASK_BLESS").is_some() {
        fs::write(&lock, &whole).unwrap();
        let (is_locked, text) = tree(&[]);
        assert!(is_locked, "{text}");
        fs::copy(&lock, package.join("installed.lock")).unwrap();
        return;
    }
    let bless = "`XTASK_BLESS=1 cargo test -p xtask-install --test lock` writes `installed.lock`";
    let (is_current, text) = tree(&["--locked"]);
    assert!(is_current, "{bless}\n{text}");
    let installed = packages(&fs::read_to_string(package.join("installed.lock")).unwrap());
    let more: Vec<_> = installed.difference(&packages(&whole)).cloned().collect();
    assert!(more.is_empty(), "{bless}: {more:?} is not in the repository's `Cargo.lock`");
}
