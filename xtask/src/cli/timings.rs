//! `timings`: the last start of a stack as an HTML page, or as data.
//!
//! `up` keeps the times of its starts in the stack's folder, so this command starts nothing and
//! asks no supervisor.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use xtask::cli::error::Failure;
use xtask::cli::{Exit, Global, place, print};
use xtask::view::style::GOOD;
use xtask::view::words::command_for;
use xtask_control::timings::Starts;

use crate::view::timings;

#[derive(Debug, Args)]
pub(crate) struct TimingsArgs {
    /// Print the last start as JSON
    #[arg(long, conflicts_with = "output")]
    json: bool,
    /// Write the page to this file [default: `timings.html` in the stack's folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(global: &Global, args: &TimingsArgs) -> anyhow::Result<Exit> {
    let paths = place::stack_paths(global)?;
    let stack = paths.stack();
    let starts = Starts::read(&paths).starts;
    let Some(last) = starts.last() else {
        let text = format!("no start of stack `{stack}` was measured");
        return Err(Failure::new(Exit::NOTHING_RUNS, text)
            .hint(command_for(&stack, "up") + " measures each start of a service")
            .into());
    };
    if args.json {
        print::json_pretty(last)?;
        return Ok(Exit::DONE);
    }
    let file = args.output.clone().unwrap_or_else(|| paths.folder().join("timings.html"));
    let page = timings::page(&stack, &starts).unwrap_or_default();
    let failed = || format!("failed to write `{}`", file.display());
    std::fs::write(&file, page).with_context(failed)?;
    let file = std::path::absolute(&file).with_context(failed)?;
    print::progress(GOOD, "Timings", &format!("file://{}", file.display()));
    Ok(Exit::DONE)
}
