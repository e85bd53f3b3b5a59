//! `cargo xtask ci`: what has to hold before a change is taken, one step after another.
//!
//! It installs nothing and knows nothing of any service that runs it elsewhere.

use clap::Args;

use super::exit::Exit;
use super::test::{all as all_tests, passed, selected, step};
use super::test_e2e::runner::Selection;
use super::test_e2e::workspace::Tested;
use super::{Global, block_on, print, stack};
use crate::view::style;

/// A step that is one cargo command.
struct Step {
    name: &'static str,
    words: &'static [&'static str],
    /// A variable to which warnings are added as errors.
    flags: Option<&'static str>,
    /// What its failure means.
    failed: Exit,
}

const STEPS: [Step; 4] = [
    Step { name: "format", words: &["fmt", "--all", "--check"], flags: None, failed: Exit::FAILED },
    // Clippy ends in the same way for what does not compile and for what could be better.
    Step {
        name: "build",
        words: &["check", "--workspace", "--all-targets"],
        flags: None,
        failed: Exit::BUILD,
    },
    Step {
        name: "clippy",
        words: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        flags: None,
        failed: Exit::FAILED,
    },
    Step {
        name: "docs",
        words: &["doc", "--workspace", "--no-deps"],
        flags: Some("RUSTDOCFLAGS"),
        failed: Exit::FAILED,
    },
];

/// `ci`
#[derive(Debug, Args)]
pub(crate) struct CiArgs {}

pub(crate) fn run(global: &Global, _args: &CiArgs) -> anyhow::Result<Exit> {
    stack::refuse_name(global, "ci")?;
    let tested = Tested::find(global)?;
    block_on(all(&tested))
}

/// Runs every step until one fails, and returns the exit code.
async fn all(tested: &Tested) -> anyhow::Result<Exit> {
    for Step { name, words, flags, failed } in STEPS {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let variables: Vec<_> = flags.iter().map(|name| (*name, with_denied(name))).collect();
        match passed(step(name, &tested.root, &words, &variables).await?) {
            Exit::DONE => {}
            Exit::FAILED => return Ok(tell(name, failed)),
            interrupted => return Ok(tell(name, interrupted)),
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
    print::progress(style::GOOD, "Passed", "format, build, clippy, docs and tests");
    Ok(exit)
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
