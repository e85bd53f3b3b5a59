//! The container engine of this machine, as tests ask it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The engine that the tool takes: the one that `XTASK_ENGINE` names, or else the first that is
/// installed. None, said aloud, where it does not answer.
#[must_use]
pub fn engine() -> Option<&'static Path> {
    static ENGINE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let installed = |engine: PathBuf| {
        let output = Command::new(&engine).arg("version").output().ok()?;
        Some((engine, output.status.success()))
    };
    let found = ENGINE.get_or_init(|| {
        let (engine, answers) =
            match std::env::var_os("XTASK_ENGINE").filter(|chosen| !chosen.is_empty()) {
                Some(chosen) => installed(chosen.into()),
                None => ["docker", "podman"].into_iter().find_map(|name| installed(name.into())),
            }?;
        answers.then_some(engine)
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
