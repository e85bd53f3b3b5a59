//! Workspaces generated somewhere else, for tests of the tool as a whole.
//!
//! A [`Fixture`] is a folder with a Cargo workspace, a state directory and a runtime
//! directory of its own; the tool is run in it as a user would run it, with next to
//! nothing in its environment. When it goes, everything that it started must be gone
//! too, and its folder stays behind only if the test failed. What the tool says is
//! judged by the tests, not here.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod fixture;
mod http;
mod judges;
mod package;
mod processes;
mod run;
mod wait;

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use {
    fixture::Fixture,
    http::{Answer, get, get_at},
    judges::Judge,
    package::{JOB, PackageSpec, SERVICE},
    processes::{Process, alive},
    run::{Ran, Running},
    wait::{eventually, free_port, within_a_second},
};

use std::path::PathBuf;
use std::process::Command;

/// The misbehaving program, built if it is not there or is older than its sources: cargo
/// does not build it for a run of one file of tests.
pub(crate) fn misbehave() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/misbehave");
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/misbehave");
    let changed = |path: &std::path::Path| path.metadata().and_then(|found| found.modified()).ok();
    let sources = std::fs::read_dir(sources).unwrap().flatten();
    if changed(&program) < sources.filter_map(|source| changed(&source.path())).max() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--package", "xtask", "--example", "misbehave"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success() && program.exists(), "`{}` is not there", program.display());
    }
    program
}
