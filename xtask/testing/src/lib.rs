//! The commands that run tests: `test-e2e`, `test` and `ci`.
//!
//! No stack needs them, so the first `up` of a clone does not compile them. The program `xtask`
//! builds this one when one of them is first used.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![allow(rustdoc::private_intra_doc_links, reason = "its documents are for those who change it")]

mod ci;
#[cfg(test)]
#[expect(dead_code, reason = "the library `xtask` uses the rest")]
#[path = "../../daily/src/sample.rs"]
mod sample;
mod skipped;
mod test;
mod test_e2e;

use clap::Subcommand;
use xtask::cli::{Exit, Global, MoreCommands, Program};

/// The commands that run tests. `--help` lists `test` and `ci` under "More", so clap hides them.
#[derive(Debug, Subcommand)]
pub enum Testing {
    /// Run the end-to-end tests on an isolated stack
    ///
    /// Starts a new stack, runs all tests on it and deletes it. The files of a failed run are kept
    /// for a day.
    ///
    /// Example: `%xtask% test-e2e --stacks 2`
    TestE2e(test_e2e::TestE2eArgs),
    /// Run the end-to-end tests, then the workspace's tests
    ///
    /// Runs `test-e2e`, then the tests that `cargo test` runs by default. Stops at the first
    /// failure.
    ///
    /// Example: `%xtask% test`
    #[command(hide = true)]
    Test(test::TestArgs),
    /// Run the checks and tests of continuous integration
    ///
    /// Runs format, clippy, docs and all tests, and stops at the first failure.
    ///
    /// Example: `%xtask% ci`
    #[command(hide = true)]
    Ci(ci::CiArgs),
}

impl MoreCommands for Testing {
    const PROGRAM: Program = Program::Testing;

    fn run(self, global: &Global) -> anyhow::Result<Exit> {
        skipped::reported(|| match self {
            Self::TestE2e(args) => test_e2e::run(global, &args),
            Self::Test(args) => test::run(global, &args),
            Self::Ci(args) => ci::run(global, &args),
        })
    }
}
