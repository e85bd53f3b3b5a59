//! `cargo xtask`: starts, watches and tests the services of a workspace.
//!
//! The tool knows the workspace only through Cargo and its metadata.
//!
//! Three programs are made of this library: `xtask` with the commands of every day, and
//! `xtask-testing` and `cargo-services`, which add theirs to them with [`run_with`]. Only these
//! programs use what is public.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![expect(missing_docs, reason = "only the commands of this workspace use the library")]
#![allow(rustdoc::private_intra_doc_links, reason = "its documents are for those who change it")]

pub mod cli;
mod driver;
pub mod effects;
#[cfg(test)]
mod sample;
pub mod session;
mod supervisor;
pub mod system;
pub mod view;
pub mod workspace;

use std::process::ExitCode;

/// Runs the command that the arguments of this process name. One that is not of every day is
/// executed by a program that cargo builds when it is first used.
#[must_use]
pub fn run() -> ExitCode {
    run_with::<cli::Elsewhere>()
}

/// Runs the command that the arguments of this process name: one of this library or of `More`, or
/// one that another program has.
#[must_use]
pub fn run_with<More: cli::MoreCommands>() -> ExitCode {
    let exit = match cli::Elsewhere::named(More::PROGRAM) {
        Some(command) => command.execute().unwrap_or_else(|error| cli::error::report(&error)),
        None => cli::run::<More>(),
    };
    exit.into()
}
