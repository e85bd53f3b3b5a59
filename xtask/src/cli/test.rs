//! `cargo xtask test`: the tests of the workspace, then the end-to-end tests.
//!
//! Cargo and the runner print their own summaries; nothing is counted here.

use std::path::Path;

use anyhow::Context;
use cargo_metadata::{MetadataCommand, TargetKind};
use xtask_client::harness::cargo;

use super::exit::Exit;
use super::interrupt::Interrupts;
use super::test_e2e::{self, TestE2eArgs};
use super::test_process::{Ended, spawn, wait};
use super::test_runner::{Runner, Selection, Verdict};
use crate::view::style;

/// Runs all tests of the workspace at `root` and returns the exit code. `e2e` is the package
/// with the end-to-end tests, if there is one.
pub(crate) async fn run(root: &Path, e2e: Option<&str>) -> anyhow::Result<Exit> {
    let runner = Runner::find();
    let selection = Selection::AllBut(e2e);
    let ended = step("tests", root, &runner.run(selection, None, &[]), &[]).await?;
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
    if has_examples(root)? {
        let mut words = vec!["test", "--doc", "--workspace"];
        words.extend(e2e.iter().flat_map(|package| ["--exclude", package]));
        let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
        let exit = passed(step("tests in documentation", root, &words, &[]).await?);
        if exit != Exit::DONE {
            return Ok(exit);
        }
    }
    match e2e {
        Some(package) => {
            announce("end-to-end tests", "cargo xtask test-e2e");
            test_e2e::run(root, package, &TestE2eArgs::default()).await
        }
        None => Ok(Exit::DONE),
    }
}

/// Runs one cargo command with these variables added, and says first what it is for.
pub(crate) async fn step(
    name: &str,
    root: &Path,
    words: &[String],
    variables: &[(&str, String)],
) -> anyhow::Result<Ended> {
    announce(name, &format!("cargo {}", words.join(" ")));
    let mut interrupts = Interrupts::new()?;
    let mut command = tokio::process::Command::from(cargo(root));
    command.args(words).envs(variables.iter().map(|(name, value)| (name, value)));
    let child = spawn(&mut command).context("cannot start cargo")?;
    Ok(wait(child, &mut interrupts, None, |_| {}).await?)
}

/// The exit code for a command that can only succeed or fail.
pub(crate) fn passed(ended: Ended) -> Exit {
    match ended {
        Ended { interrupted: Some(exit), .. } => exit,
        Ended { interrupted: None, code: Some(0) } => Exit::DONE,
        Ended { interrupted: None, code: _ } => Exit::FAILED,
    }
}

fn announce(name: &str, command: &str) {
    style::say(style::BUSY, "Step", &format!("{name}: `{command}`"));
}

/// Whether there is a library whose documentation may hold examples; cargo refuses to look
/// for them where there is none.
fn has_examples(root: &Path) -> anyhow::Result<bool> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let mut targets = metadata.packages.iter().flat_map(|package| &package.targets);
    Ok(targets.any(|target| target.doctest && !target.kind.contains(&TargetKind::ProcMacro)))
}
