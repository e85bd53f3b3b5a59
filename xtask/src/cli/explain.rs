//! `explain`: every setting of a service and its source, and how it stands if it runs.
//!
//! The settings are those of the metadata now; what runs may have been started before
//! an edit, which `up` would make current.

use clap::Args;

use super::exit::Exit;
use super::plan_args::{PlaceArgs, PlanArgs};
use super::{Global, block_on, load, locate, print};
use crate::view::explain::{json, render};

/// `explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// As JSON: what was decided about the service, and its state if it runs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plan: PlanArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(crate) fn run(global: &Global, args: &ExplainArgs) -> anyhow::Result<Exit> {
    let services = std::slice::from_ref(&args.service);
    let loaded =
        match load::plan(global, &args.plan, services, |request| args.place.shape(request))? {
            Ok(loaded) => loaded,
            Err(exit) => return Ok(exit),
        };
    let running = block_on(locate::status(&loaded.paths))?;
    if args.json {
        if let Some(explained) = json(&loaded.plan, &args.service, running.as_ref()) {
            print::json_pretty(&explained)?;
        }
    } else if let Some(text) = render(&loaded.plan, &args.service, running.as_ref()) {
        print::out(&text)?;
    }
    Ok(Exit::DONE)
}
