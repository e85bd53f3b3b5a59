//! `explain`: every setting of a service and its source, and its state if it runs.
//!
//! It reads the present metadata. A running service may have started before an edit.

use clap::Args;

use super::exit::Exit;
use super::plan_args::StackArgs;
use super::{Global, block_on, load, print, stack};
use crate::view::explain::{json, render};

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The service to explain
    #[arg(value_name = "SERVICE")]
    service: String,
    /// Print the planned service and its state as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    stack: StackArgs,
}

pub(crate) fn run(global: &Global, args: &ExplainArgs) -> anyhow::Result<Exit> {
    let services = std::slice::from_ref(&args.service);
    let loaded = load::plan(global, services, |request| args.stack.shape(request))?;
    let running = block_on(stack::status(&loaded.paths))?;
    if args.json {
        if let Some(explained) = json(&loaded.plan, &args.service, running.as_ref()) {
            print::json_pretty(&explained)?;
        }
    } else if let Some(text) = render(&loaded.plan, &args.service, running.as_ref()) {
        print::out(&text)?;
    }
    Ok(Exit::DONE)
}
