//! `status`: the services of a running stack, as its supervisor reports them.

use clap::Args;

use super::error::Error;
use super::exit::Exit;
use super::{Global, block_on, print, stack};
use crate::view;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Print the stack, its supervisor and each service with phase, pid, url and times as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &StatusArgs) -> anyhow::Result<Exit> {
    let paths = stack::stack_paths(global)?;
    block_on(async {
        let status = stack::status(&paths).await?;
        let snapshot = status.ok_or_else(|| Error::NothingRuns { stack: paths.stack() })?;
        if args.json {
            print::json_pretty(&snapshot)?;
        } else {
            print::out(&view::status::status(&snapshot))?;
        }
        Ok(Exit::DONE)
    })
}
