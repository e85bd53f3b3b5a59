//! `check`: mistakes in the metadata, and the repair of cycles.

use clap::Args;

use super::exit::Exit;
use super::up::PlanArgs;
use super::{Global, load};

/// `check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Turn the smallest set of `depends-on` into `uses` that makes cycles startable
    #[arg(long)]
    fix: bool,
    #[command(flatten)]
    plan: PlanArgs,
}

pub(crate) fn run(global: &Global, args: &CheckArgs) -> anyhow::Result<Exit> {
    let _ = args.fix;
    let _ = load::plan(global, &args.plan, &[], &[])?;
    Ok(Exit::DONE)
}
