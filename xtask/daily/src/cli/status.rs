//! `status`: the services of a running stack, as its supervisor reports them, or all stacks.
//!
//! It asks each service that can be asked once, so that a frozen one is not shown as ready.

use clap::Args;
use xtask_client::protocol::Ask;

use super::error::Error;
use super::exit::Exit;
use super::{Global, all, block_on, place, print, stack};
use crate::view;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print the stack, its supervisor and each service with phase, pid, url and times as JSON
    #[arg(long)]
    json: bool,
    /// Show the stacks of all workspaces, also those that are down and have data or logs
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(global: &Global, args: &StatusArgs) -> anyhow::Result<Exit> {
    if args.all {
        return all::status(global, args.json);
    }
    let paths = place::find_stack(global)?.paths;
    block_on(async {
        let status = stack::status(&paths, Ask::All).await?;
        let snapshot = status.ok_or_else(|| Error::NothingRuns { stack: paths.stack() })?;
        if args.json {
            print::json_pretty(&view::status::masked(&snapshot))?;
        } else {
            print::out(&view::status::status(&snapshot))?;
        }
        Ok(Exit::DONE)
    })
}
