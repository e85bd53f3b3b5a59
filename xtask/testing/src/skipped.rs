//! Reports which tests were skipped: runners hide what passing tests print.
//!
//! `xtask_client::harness::skipped` writes into the file that `SKIPPED_TESTS` names. If the caller
//! names none, the command that runs the tests makes one.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::sync::OnceLock;
use xtask_core::sorted::SortedMap;

use xtask_client::harness::SKIPPED_TESTS;

use xtask::cli::Exit;
use xtask::cli::print;
use xtask::view::style;

/// The file of this command, and the one that its tests get.
static FILE: OnceLock<PathBuf> = OnceLock::new();

/// Runs a command with tests, and says then what they lacked.
pub(crate) fn reported(run: impl FnOnce() -> anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    let name = format!("xtask-skipped-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    // The caller reads its own file. Without a file, as on a full disk, the tests still run.
    let is_asked = std::env::var_os(SKIPPED_TESTS).is_none();
    if !is_asked || OpenOptions::new().write(true).create_new(true).open(&path).is_err() {
        return run();
    }
    let path = FILE.get_or_init(|| path);
    let result = run();
    let skipped = fs::read_to_string(path).unwrap_or_default();
    let _ = fs::remove_file(path);
    for (missing, tests) in count(&skipped) {
        let tests = if tests == 1 { "1 test".to_owned() } else { format!("{tests} tests") };
        print::progress(style::WARN, "Skipped", &format!("{tests} without {missing}"));
    }
    result
}

/// The variable for a program that runs tests.
pub(crate) fn variable() -> Option<(&'static str, OsString)> {
    Some((SKIPPED_TESTS, FILE.get()?.into()))
}

/// How many tests lacked what.
fn count(skipped: &str) -> SortedMap<&str, usize> {
    let mut counts = SortedMap::new();
    for (missing, _) in skipped.lines().filter_map(|line| line.split_once('\t')) {
        *counts.entry(missing).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_tests_are_counted_by_what_they_lacked() {
        let text = "a browser\tone\nan engine\ttwo\na browser\tthree\n";
        assert_eq!(count(text), SortedMap::from([("a browser", 2), ("an engine", 1)]));
        assert!(count("").is_empty());
    }
}
