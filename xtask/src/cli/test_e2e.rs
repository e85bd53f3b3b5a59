//! `test-e2e`: the end-to-end tests against an isolated copy of the stack.

use clap::Args;

use super::Global;
use super::exit::Exit;

/// `test-e2e`
#[derive(Debug, Args)]
pub(crate) struct TestE2eArgs {
    /// Only tests whose name contains this
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// Leave the stack up
    #[arg(long)]
    keep: bool,
    /// Activate an overlay of the metadata
    #[arg(long, value_name = "NAME")]
    with: Vec<String>,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    /// Arguments for the test runner
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub(crate) fn run(_global: &Global, _args: &TestE2eArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("`test-e2e` is not there yet")
}
