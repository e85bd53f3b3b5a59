//! `cargo xtask test`: the tests of the workspace, then the end-to-end tests.
//!
//! Cargo and the runner print their own summaries; nothing is counted here.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use xtask_client::harness::cargo;

use super::exit::Exit;
use super::interrupt::Interrupts;
use super::test_e2e::program::{ProgramExit, spawn};
use super::test_e2e::runner::{Runner, Selection, Tests, Verdict};
use super::test_e2e::workspace::Tested;
use super::test_e2e::{self, TestE2eArgs};
use super::{Global, block_on, print, stack};
use crate::view::style;

/// `test`
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Arguments for the runner: for `cargo nextest run`, or else for the test binaries
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &TestArgs) -> anyhow::Result<Exit> {
    stack::refuse_name(global, "test")?;
    let tested = Tested::find(global)?;
    block_on(all(&tested, &args.args))
}

/// Runs every test of the workspace until one kind fails, and returns the exit code.
pub(crate) async fn all(tested: &Tested, runner_args: &[String]) -> anyhow::Result<Exit> {
    let Tested { root, e2e, has_examples } = tested;
    let e2e = e2e.as_deref();
    let runner = Runner::find();
    if let Some(words) = runner.build(Selection::AllBut(e2e)) {
        let ended = step("build of the tests", root, &words, &[]).await?;
        if passed(ended) != Exit::DONE {
            return Ok(ended.interrupted.unwrap_or(Exit::BUILD));
        }
    }
    let words = runner.run(Selection::AllBut(e2e), &Tests::ALL, runner_args);
    let ended = step("tests", root, &words, &[]).await?;
    let exit = match (ended.interrupted, runner.verdict(ended.code)) {
        (Some(exit), _) => exit,
        // A workspace may have none but the end-to-end tests.
        (None, Verdict::Passed | Verdict::NothingRun) => Exit::DONE,
        (None, Verdict::NotBuilt) => Exit::BUILD,
        (None, Verdict::Failed) => Exit::FAILED,
    };
    if exit != Exit::DONE {
        return Ok(exit);
    }
    if *has_examples {
        let mut words = vec!["test", "--doc", "--workspace"];
        words.extend(e2e.iter().flat_map(|package| ["--exclude", package]));
        let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
        let exit = passed(step("examples in documentation", root, &words, &[]).await?);
        if exit != Exit::DONE {
            return Ok(exit);
        }
    }
    let Some(package) = e2e else { return Ok(Exit::DONE) };
    announce("end-to-end tests", "cargo xtask test-e2e");
    test_e2e::test(root, package, &TestE2eArgs::default()).await
}

/// Runs one cargo command with these variables added, and says first what it is for.
pub(crate) async fn step(
    name: &str,
    root: &Path,
    words: &[String],
    variables: &[(&str, String)],
) -> anyhow::Result<ProgramExit> {
    announce(name, &format!("cargo {}", words.join(" ")));
    let mut interrupts = Interrupts::new()?;
    let mut command = tokio::process::Command::from(cargo(root));
    command.args(words).envs(variables.iter().map(|(name, value)| (name, value)));
    let program = spawn(&mut command).context("failed to start cargo")?;
    Ok(program.wait(&mut interrupts, None, |_| {}).await?)
}

/// The exit code for a command that can only succeed or fail.
pub(crate) fn passed(ended: ProgramExit) -> Exit {
    match ended {
        ProgramExit { interrupted: Some(exit), .. } => exit,
        ProgramExit { interrupted: None, code: Some(0) } => Exit::DONE,
        ProgramExit { interrupted: None, code: _ } => Exit::FAILED,
    }
}

fn announce(name: &str, command: &str) {
    print::say(style::BUSY, "Step", &format!("{name}: `{command}`"));
}
