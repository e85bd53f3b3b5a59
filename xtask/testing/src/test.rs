//! `cargo xtask test`: the end-to-end tests, then every other test that cargo runs by default.
//!
//! A tier is an integration test with `test = false` in its manifest: cargo runs it only by name,
//! and so does this command. Cargo and the runner print their own summaries.

use std::path::Path;

use clap::Args;

use crate::test_e2e::program::{ProgramExit, spawn};
use crate::test_e2e::runner::{Runner, Selection, Tests, Verdict};
use crate::test_e2e::workspace::Tested;
use crate::test_e2e::{self, TestE2eArgs};
use xtask::cli::Exit;
use xtask::cli::error::{Failure, meant_or};
use xtask::cli::interrupt::Interrupts;
use xtask::cli::stack::cargo_for;
use xtask::cli::{Global, block_on, print, stack};
use xtask::view::style;
use xtask::workspace;

#[derive(Debug, Args)]
pub struct TestArgs {
    /// Run these tiers instead: test binaries with `test = false`, by name [default: the end-to-end
    /// tests, then what `cargo test` runs]
    #[arg(value_name = "TIER")]
    tiers: Vec<String>,
    /// Arguments for the runner: for `cargo nextest run`, or else for the test binaries
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &TestArgs) -> anyhow::Result<Exit> {
    stack::refuse_name(global, "test")?;
    let tested = Tested::find(global)?;
    if args.tiers.is_empty() {
        return block_on(all(&tested, &args.args));
    }
    if let Some(unknown) = args.tiers.iter().find(|name| !tested.tiers.contains(name)) {
        return Err(no_tier(unknown, &tested.tiers).into());
    }
    block_on(selected("tests", &tested.root, Selection::Tiers(&args.tiers), &args.args))
}

fn no_tier(name: &str, known: &[String]) -> Failure {
    let hint = match known {
        [] => "a tier is a test with `test = false` in its manifest".to_owned(),
        known => meant_or(name, known, || format!("the tiers are {}", known.join(", "))),
    };
    Failure::new(Exit::USAGE, format!("no tier of tests is named `{name}`")).hint(hint)
}

/// Runs the end-to-end tests, then every test that cargo runs by default, until one kind fails.
pub(crate) async fn all(tested: &Tested, runner_args: &[String]) -> anyhow::Result<Exit> {
    let Tested { root, e2e, has_examples, tiers: _ } = tested;
    let e2e = e2e.as_deref();
    if let Some(package) = e2e {
        announce("end-to-end tests", "%xtask% test-e2e");
        let exit = test_e2e::test(root, package, &TestE2eArgs::default()).await?;
        if exit != Exit::DONE {
            return Ok(exit);
        }
    }
    let exit = selected("tests", root, Selection::AllBut(e2e), runner_args).await?;
    if exit != Exit::DONE || !has_examples {
        return Ok(exit);
    }
    let mut words = vec!["test", "--doc", "--workspace"];
    words.extend(e2e.iter().flat_map(|package| ["--exclude", package]));
    let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
    Ok(passed(step("examples in documentation", root, &words, &[]).await?))
}

/// Builds and runs the selected tests.
pub(crate) async fn selected(
    name: &str,
    root: &Path,
    selection: Selection<'_>,
    runner_args: &[String],
) -> anyhow::Result<Exit> {
    let runner = Runner::find();
    if let Some(words) = runner.build(selection) {
        let ended = step("build of the tests", root, &words, &[]).await?;
        if passed(ended) != Exit::DONE {
            return Ok(ended.interrupted.unwrap_or(Exit::BUILD));
        }
    }
    let words = runner.run(selection, &Tests::ALL, runner_args);
    let ended = step(name, root, &words, &[]).await?;
    Ok(match (ended.interrupted, runner.verdict(ended.code)) {
        (Some(exit), _) => exit,
        // A workspace may have no tests except the end-to-end tests.
        (None, Verdict::Passed | Verdict::NothingRun) => Exit::DONE,
        (None, Verdict::NotBuilt) => Exit::BUILD,
        (None, Verdict::Failed) => Exit::FAILED,
    })
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
    let words = words.iter().map(String::as_str);
    let mut command = tokio::process::Command::from(cargo_for(root, words));
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let program = spawn(&mut command).map_err(workspace::no_cargo)?;
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
    print::progress(style::BUSY, "Step", &format!("{name}: `{command}`"));
}
