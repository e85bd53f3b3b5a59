//! `explain`: every setting of a service and its source, and why it is not ready.

use clap::Args;

use super::exit::Exit;
use super::up::PlanArgs;
use super::{Global, load};

/// `explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The service
    #[arg(value_name = "SERVICE")]
    service: String,
    /// As JSON: the service's part of the plan, and its state if it runs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    plan: PlanArgs,
}

pub(crate) fn run(global: &Global, args: &ExplainArgs) -> anyhow::Result<Exit> {
    let _ = load::plan(global, &args.plan, std::slice::from_ref(&args.service), &[])?;
    let _ = args.json;
    Ok(Exit::DONE)
}
