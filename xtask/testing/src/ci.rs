//! `cargo xtask ci`: what has to hold before a change is taken, one step after another.
//!
//! It installs nothing and knows nothing of any service that runs it elsewhere.

use std::process::Stdio;

use clap::Args;

use crate::test::{all as all_tests, passed, selected, step};
use crate::test_e2e::runner::Selection;
use crate::test_e2e::workspace::Tested;
use xtask::cli::Exit;
use xtask::cli::{Global, block_on, print, stack};
use xtask::view::style;
use xtask::workspace;

/// The name of each step and its cargo command.
const STEPS: [(&str, &str); 3] = [
    ("format", "fmt --all --check"),
    ("clippy", "clippy --workspace --all-targets -- -D warnings"),
    ("docs", "doc --workspace --no-deps"),
];

/// What clippy compiles, without its lints.
const COMPILE: &str = "check --quiet --workspace --all-targets";

#[derive(Debug, Args)]
pub struct CiArgs {}

pub(crate) fn run(global: &Global, _args: &CiArgs) -> anyhow::Result<Exit> {
    stack::refuse_name(global, "ci")?;
    let tested = Tested::find(global)?;
    block_on(all(&tested))
}

/// Runs every step until one fails, and returns the exit code.
async fn all(tested: &Tested) -> anyhow::Result<Exit> {
    for (name, command) in STEPS {
        let words: Vec<_> = command.split(' ').map(str::to_owned).collect();
        // Only `docs` reads it.
        let flags = ("RUSTDOCFLAGS", with_denied("RUSTDOCFLAGS"));
        match passed(step(name, &tested.root, &words, &[flags]).await?) {
            Exit::DONE => {}
            Exit::FAILED if name == "clippy" && !compiles(tested).await? => {
                return Ok(tell("build", Exit::BUILD));
            }
            failed => return Ok(tell(name, failed)),
        }
    }
    let mut exit = all_tests(tested, &[]).await?;
    if exit == Exit::DONE && !tested.tiers.is_empty() {
        let tiers = Selection::Tiers(&tested.tiers);
        exit = selected("tiers of tests", &tested.root, tiers, &[]).await?;
    }
    if exit != Exit::DONE {
        return Ok(tell("tests", exit));
    }
    print::progress(style::GOOD, "Passed", "format, clippy, docs and tests");
    Ok(exit)
}

/// Whether the code that clippy refused compiles. Clippy exits with one code for both, and has
/// printed the errors.
async fn compiles(tested: &Tested) -> anyhow::Result<bool> {
    let mut command =
        tokio::process::Command::from(stack::cargo_for(&tested.root, COMPILE.split(' ')));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().await.map_err(workspace::no_cargo)?.success())
}

fn tell(step: &str, exit: Exit) -> Exit {
    print::progress(style::BAD, "Failed", &format!("step `{step}`; nothing after it was tried"));
    exit
}

/// The flags that the caller set, and warnings as errors.
fn with_denied(variable: &str) -> String {
    let flags = std::env::var(variable).unwrap_or_default();
    format!("{flags} -D warnings").trim_start().to_owned()
}
