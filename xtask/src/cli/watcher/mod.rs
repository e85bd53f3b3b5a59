//! `watcher`, an internal command: the process that `up --watch` starts. It builds each edit and
//! gives the supervisor the new programs.
//!
//! `xtask/daily/src/cli/up/watch` starts it, and decides when. It is a rare command because most
//! stacks are not watched, and its libraries would delay the first `up` of a clone.

mod cargo;
mod planned;
mod rounds;

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use xtask::cli::up::watch::{WatchLog, WatchSettings};
use xtask::cli::{Exit, block_on, error};
use xtask_control::StackPaths;

#[derive(Debug, Args)]
pub(crate) struct WatcherArgs {
    /// The folder of the stack
    #[arg(long, value_name = "PATH")]
    stack_dir: PathBuf,
}

pub(crate) fn run(args: &WatcherArgs) -> anyhow::Result<Exit> {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).context("failed to read the settings")?;
    let settings: WatchSettings =
        serde_json::from_slice(&input).context("failed to parse the settings")?;
    let paths = StackPaths::at(&args.stack_dir);
    let watched = block_on(rounds::watch(&paths, settings));
    // The user reads the log of the watcher, not its standard error.
    if let Err(error) = &watched {
        WatchLog::new(&paths).say(&format!("the watcher ends: {error:#}"));
        return Ok(error::exit_of(error));
    }
    Ok(Exit::DONE)
}
