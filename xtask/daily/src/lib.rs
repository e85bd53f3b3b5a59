//! `cargo xtask`: starts, watches and tests the services of a workspace.
//!
//! The tool knows the workspace only through Cargo and its metadata.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cli;
mod driver;
mod effects;
#[cfg(test)]
mod sample;
mod session;
mod supervisor;
mod system;
mod view;
mod workspace;

use std::process::ExitCode;

/// Runs the command that the arguments of this process name.
#[must_use]
pub fn run() -> ExitCode {
    cli::run().into()
}
