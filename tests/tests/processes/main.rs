//! Packages that `new` makes from the folder `template`, in a copy of this workspace: they are
//! formatted, their tests pass, the stack starts them with their databases on PostgreSQL, and the
//! end-to-end tests cover them.
//!
//! The copy has a target folder of its own, because two worktrees must not share one. Links to the
//! libraries that are built already save the time of compiling them again.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::harness::{cargo, skipped, workspace_of};
use serde_json::Value;

/// What the copy contains.
const COPIED: [&str; 7] =
    ["Cargo.toml", "Cargo.lock", "rustfmt.toml", "services", "template", "tests", "xtask"];

/// The new packages: two services, of which one calls the other, and a job that calls a service.
const NEW: [(&str, &[&str]); 3] = [
    ("plain", &[]),
    ("two-words", &["--depends-on", "plain,signing-key"]),
    ("tidy", &["--job", "--depends-on", "two-words"]),
];

/// A copy of this workspace.
struct Copy {
    root: PathBuf,
    target: PathBuf,
    tool: PathBuf,
    state: tempfile::TempDir,
}

impl Copy {
    /// The copy is always in the same place, so that libraries in it are not compiled again.
    fn new() -> Self {
        let original = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let built = temporary.parent().unwrap();
        let (root, target) = (temporary.join("new"), temporary.join("new-target"));
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        fs::create_dir_all(&root).unwrap();
        for name in COPIED {
            copy(&original.join(name), &root.join(name));
        }
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let (before, rest) = manifest.split_once("\ndefault = [").unwrap();
        let (_, after) = rest.split_once(']').unwrap();
        fs::write(root.join("Cargo.toml"), format!("{before}\ndefault = []{after}")).unwrap();
        let mut build = cargo(&original);
        build.args(["build", "--package", "cargo-services"]).env("CARGO_TARGET_DIR", built);
        ends_well(&mut build);
        let libraries = libraries(&root.join("Cargo.lock"));
        for folder in ["build", "deps", ".fingerprint"] {
            let (from, to) = (built.join("debug").join(folder), target.join("debug").join(folder));
            for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
                if libraries.contains(&library(entry.file_name().to_str().unwrap())) {
                    link(&entry.path(), &to.join(entry.file_name()));
                }
            }
        }
        let tool = built.join("debug/cargo-services");
        Self { root, target, tool, state: tempfile::tempdir().unwrap() }
    }

    fn cargo(&self, arguments: &[&str]) {
        ends_well(cargo(&self.root).args(arguments).env("CARGO_TARGET_DIR", &self.target));
    }

    fn tool(&self, arguments: &[&str]) -> String {
        let mut tool = Command::new(&self.tool);
        for (name, _) in cargo(&self.root).get_envs().filter(|(_, value)| value.is_none()) {
            tool.env_remove(name);
        }
        tool.env_remove(xtask_client::STACK_VARIABLE).env("XTASK_STATE_DIR", self.state.path());
        tool.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        ends_well(tool.args(arguments))
    }

    /// Whether the machine has a program, as `doctor` finds it.
    fn has(&self, name: &str) -> bool {
        let report = self.tool(&["doctor", "--json"]);
        let report = serde_json::Deserializer::from_str(&report).into_iter::<Value>().next();
        let checks = report.unwrap().unwrap()["checks"].as_array().unwrap().clone();
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        let is_there = check["outcome"] == "pass";
        if !is_there {
            skipped(name);
        }
        is_there
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // A failed test may have left a stack.
        Command::new(&self.tool)
            .args(["down", "--all"])
            .current_dir(&self.root)
            .env("XTASK_STATE_DIR", self.state.path())
            .output()
            .ok();
    }
}

/// Copies a file or a folder with the times of files, without what builds made.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            if entry.file_name() != "target" {
                copy(&entry.path(), &to.join(entry.file_name()));
            }
        }
        return;
    }
    fs::copy(from, to).unwrap();
    let modified = fs::metadata(from).unwrap().modified().unwrap();
    File::options().write(true).open(to).unwrap().set_modified(modified).unwrap();
}

/// The libraries that are not packages of the workspace, as Rust names them. Cargo gives each of
/// their builds a name of its own, and so never writes to it again.
fn libraries(lock: &Path) -> BTreeSet<String> {
    let lock = fs::read_to_string(lock).unwrap();
    let packages = lock.split("[[package]]").filter(|package| package.contains("\nsource = "));
    let names = packages.filter_map(|package| package.split('"').nth(1));
    names.map(|name| library(&format!("{name}-0"))).collect()
}

/// The library to which a file or folder of cargo belongs, such as `libserde_json-HASH.rlib`.
fn library(file: &str) -> String {
    let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
    name.strip_prefix("lib").unwrap_or(name).replace('-', "_")
}

/// Links a file, or the files of a folder, unless they are there.
fn link(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            link(&entry.path(), &to.join(entry.file_name()));
        }
    } else if !to.exists() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Another build may remove it meanwhile.
        fs::hard_link(from, to).ok();
    }
}

/// Runs a command, which must succeed, and returns what it printed.
#[track_caller]
fn ends_well(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out + &err
}

#[test]
fn new_packages_are_tested_probed_and_started() {
    let copy = Copy::new();
    for (name, arguments) in NEW {
        copy.tool(&[&["new", name], arguments].concat());
    }
    let manifest = copy.text("Cargo.toml");
    assert!(manifest.contains("default = [\"plain\", \"two-words\", \"tidy\"]"), "{manifest}");
    copy.cargo(&["fmt", "--all", "--check"]);
    let packages = NEW.iter().flat_map(|(name, _)| ["--package", name]);
    copy.cargo(&[&["test", "--quiet"], &packages.collect::<Vec<_>>()[..]].concat());
    let graph = copy.tool(&["graph", "--format", "mermaid"]);
    for (name, _) in NEW {
        assert!(graph.contains(name), "{graph}");
    }
    // The tests of the packages have used SQLite.
    let overlay = if copy.has("PostgreSQL") { &["--with", "postgres"][..] } else { &[] };
    let variables = copy.tool(&[&["env", "two-words"], overlay].concat());
    let database =
        if overlay.is_empty() { "/two-words.db'" } else { "@127.0.0.1:15432/two-words'" };
    assert!(variables.contains(database), "{variables}");
    let tests = ["test-e2e", "plain::", "two_words::", "tidy::"];
    let output = copy.tool(&[&tests, overlay].concat());
    assert!(output.contains("8 passed"), "{output}");
}
