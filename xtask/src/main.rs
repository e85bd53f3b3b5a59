//! `cargo services`: the whole tool in one program, to be installed.
//!
//! It has the commands of the library `xtask` and the rare ones, which are here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
#[cfg(test)]
#[expect(dead_code, reason = "the library's own tests use the rest")]
#[path = "../daily/src/sample.rs"]
mod sample;
mod setup;
mod view;
mod watch;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::run_with::<cli::Rare>()
}
