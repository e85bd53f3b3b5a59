//! The container engine of this machine.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use xshell::{Shell, cmd};

/// The engine that the tool takes: the one that `XTASK_ENGINE` names, or else the first that is
/// installed. Without one that answers, the test is reported as skipped.
#[must_use]
pub fn engine() -> Option<&'static Path> {
    static ENGINE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = ENGINE.get_or_init(|| {
        let engine = match std::env::var_os("XTASK_ENGINE").filter(|chosen| !chosen.is_empty()) {
            Some(chosen) => which::which(chosen).ok()?,
            None => ["docker", "podman"].iter().find_map(|name| which::which(name).ok())?,
        };
        let shell = Shell::new().unwrap();
        let version = cmd!(shell, "{engine} version").quiet().ignore_stdout().ignore_stderr();
        version.run().is_ok().then_some(engine)
    });
    if found.is_none() {
        xtask_client::harness::skipped("a container engine");
    }
    found.as_deref()
}

/// What an engine prints for these arguments.
///
/// # Panics
/// With the engine's message, if it fails.
#[must_use]
#[track_caller]
pub fn ask(engine: &Path, args: &[&str]) -> String {
    let shell = Shell::new().unwrap();
    let output = cmd!(shell, "{engine} {args...}").quiet().ignore_status().output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{args:?}` failed: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
