//! The container engine of this machine, as tests ask it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The engine that `XTASK_ENGINE` names, or else the first that answers. None, said aloud, where
/// there is none.
#[must_use]
pub fn engine() -> Option<&'static Path> {
    static ENGINE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let answers = |engine: &PathBuf| {
        Command::new(engine).arg("version").output().is_ok_and(|output| output.status.success())
    };
    let found = ENGINE.get_or_init(|| match std::env::var_os("XTASK_ENGINE") {
        Some(chosen) => Some(PathBuf::from(chosen)).filter(answers),
        None => ["docker", "podman"].into_iter().map(PathBuf::from).find(answers),
    });
    if found.is_none() {
        xtask_client::harness::skipped("a container engine");
    }
    found.as_deref()
}

/// What an engine prints for these arguments.
///
/// # Panics
/// With its words, if it fails.
#[must_use]
#[track_caller]
pub fn ask(engine: &Path, args: &[&str]) -> String {
    let output = Command::new(engine).args(args).output().expect("the engine can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{args:?}` failed: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
