//! The messages about every mistake in the metadata. Each folder in `cases` is a small
//! workspace with the expected text.
//!
//! A folder may contain `arguments.txt` (one line; `check` by default) and `shell.txt` (the
//! caller's variables). `XTASK_BLESS=1` writes the printed text as the expected one. The
//! cases build and start nothing.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xtask_core::problem::Code;

#[test]
fn each_case_prints_its_expected_text() {
    let bless = std::env::var_os("XTASK_BLESS").is_some();
    let mut differences = String::new();
    for case in cases() {
        let file = case.join("expected.txt");
        let printed = print_of(&case);
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if bless {
            fs::write(&file, printed).unwrap();
        } else if printed != expected {
            let name = case.file_name().unwrap().to_string_lossy();
            let _ = writeln!(
                differences,
                "--- case `{name}`, expected:\n{expected}--- printed:\n{printed}"
            );
        }
    }
    assert!(
        differences.is_empty(),
        "{differences}\nif the new text is right: XTASK_BLESS=1 cargo test -p cargo-services --test metadata"
    );
}

#[test]
fn each_code_has_a_case() {
    let all: String = cases()
        .iter()
        .filter_map(|case| fs::read_to_string(case.join("expected.txt")).ok())
        .collect();
    let missing: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !all.contains(&format!("[{code}]")))
        .collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}

#[test]
fn no_mistake_hides_another() {
    let text = fs::read_to_string(folder().join("everything-at-once/expected.txt")).unwrap();
    let hidden: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !text.contains(&format!("[{code}]")))
        .collect();
    assert!(hidden.is_empty(), "{hidden:?} is not reported beside all the others");
}

#[test]
fn each_mistake_has_a_place_and_a_hint() {
    for case in cases() {
        let text = fs::read_to_string(case.join("expected.txt")).unwrap_or_default();
        let check = !case.join("arguments.txt").exists();
        for problem in text.split("\n\n").filter(|part| part.contains("error[")) {
            let name = case.display();
            assert!(problem.contains("= hint: "), "{name}: no way out in\n{problem}");
            assert!(!check || problem.contains("--> "), "{name}: no place in\n{problem}");
            assert!(!check || problem.contains('^'), "{name}: no caret in\n{problem}");
        }
    }
}

#[test]
fn check_json_prints_problems() {
    let case = folder().join("two-at-once");
    let output = run(&case, &["check", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let problems: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = &problems[0];
    assert_eq!(first["severity"], "error");
    assert_eq!(first["places"][0]["file"], "shop/Cargo.toml");
    assert!(first["places"][0]["line"].as_u64().unwrap() > 1);
    assert!(first["hint"].is_string() && first["code"].is_string());
}

#[test]
fn any_folder_finds_its_workspace() {
    let case = folder().join("overlay");
    let below = run(&case.join("src"), &["check"]);
    assert_eq!(below.status.code(), Some(0), "{}", String::from_utf8_lossy(&below.stderr));
    let manifest = case.join("Cargo.toml");
    let apart = run(Path::new("/"), &["check", "--manifest-path", &manifest.display().to_string()]);
    assert_eq!(apart.status.code(), Some(0), "{}", String::from_utf8_lossy(&apart.stderr));
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 30, "found only {} cases", cases.len());
    cases
}

/// The output of a case, without what differs between machines.
fn print_of(case: &Path) -> String {
    let arguments = fs::read_to_string(case.join("arguments.txt"));
    let arguments = arguments.unwrap_or_else(|_| "check".to_string());
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let output = run(case, &arguments);
    let code = output.status.code();
    let mut text = format!("exit code: {}\n", code.map_or("none".to_string(), |c| c.to_string()));
    for (title, bytes) in [("output", &output.stdout), ("messages", &output.stderr)] {
        if !bytes.is_empty() {
            let _ = write!(text, "--- {title}\n{}", same_everywhere(case, bytes));
        }
    }
    text
}

/// Runs the tool with only the variables that cargo needs.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-services"));
    command.args(arguments).current_dir(folder).env_clear().env("XTASK_STATE_DIR", "/state");
    command.env("XTASK_CALLED_AS", "cargo xtask");
    for name in ["PATH", "HOME", "CARGO", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for line in fs::read_to_string(folder.join("shell.txt")).unwrap_or_default().lines() {
        let (name, value) = line.split_once('=').unwrap();
        command.env(name, value);
    }
    command.output().unwrap()
}

fn same_everywhere(case: &Path, bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let text = text.replace(&case.display().to_string(), "[ROOT]");
    let name = case.file_name().unwrap().to_string_lossy();
    // The folder of a stack's state carries a hash of the workspace's path.
    let state = regex::Regex::new(&format!(r"/state/{name}-[0-9a-f]+")).unwrap();
    state.replace_all(&text, "[STATE]").into_owned()
}
