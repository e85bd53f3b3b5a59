//! What the tests of the tool share: workspaces generated in a folder of their own.
//!
//! A [`Fixture`] is a folder with a Cargo workspace, a state directory and a runtime directory. It
//! runs the tool as a user would, with next to nothing in its environment. When a fixture is
//! dropped, every process that it started must have ended; it keeps its folder only if the test
//! failed. The tests judge what the tool prints; this crate does not.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod engine;
mod fixture;
mod http;
mod judges;
mod package;
mod processes;
mod run;
pub mod stand;
mod terminal;
mod wait;

pub use engine::{ask, engine};
pub use fixture::Fixture;
pub use http::{Answer, get, get_at};
pub use judges::Judge;
pub use package::{JOB, PackageSpec, SERVICE};
pub use processes::{Process, alive, signal};
pub use run::{Ran, Running};
pub use terminal::Terminal;
pub use wait::{eventually, free_port, within_a_second};

use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

/// A shell in this folder, for commands that the test waits for without a deadline.
#[must_use]
pub fn shell(folder: impl AsRef<Path>) -> Shell {
    let shell = Shell::new().unwrap();
    shell.change_dir(folder);
    shell
}

/// The whole tool. Cargo builds it before it runs a test of the package `cargo-services`.
#[must_use]
pub fn tool() -> PathBuf {
    target_folder().join("cargo-services")
}

/// The folder with the programs of the build that the running test belongs to.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

/// The misbehaving program. It is built if it is missing or older than its sources, because cargo
/// does not build examples for a run of a single test binary.
#[must_use]
pub fn misbehave() -> PathBuf {
    let program = target_folder().join("examples/misbehave");
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let changed = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
    let sources = std::fs::read_dir(format!("{package}/examples/misbehave")).unwrap().flatten();
    if changed(&program) < sources.filter_map(|source| changed(&source.path())).max() {
        let shell = shell(package);
        cmd!(shell, "cargo build --package cargo-services --example misbehave").run().unwrap();
        assert!(program.exists(), "`{}` is missing", program.display());
    }
    program
}
