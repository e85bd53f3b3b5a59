//! `status`: what runs, from the supervisor's own state.

use clap::Args;

use super::exit::Exit;
use super::{Global, block_on, locate, print};
use crate::view;

/// `status`
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// As JSON: the stack, its supervisor, and each service with phase, pid, url and times
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &StatusArgs) -> anyhow::Result<Exit> {
    let paths = locate::stack_paths(global)?;
    block_on(async {
        let Some(snapshot) = locate::status(&paths).await? else {
            return Ok(locate::nothing_runs(&paths));
        };
        if args.json {
            print::json_pretty(&snapshot)?;
        } else {
            print::out(&view::status::status(&snapshot))?;
        }
        Ok(Exit::DONE)
    })
}
