//! `test`: the workspace's own tests, then `test-e2e`.

use clap::Args;

use super::Global;
use super::exit::Exit;

/// `test`
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Arguments for the test runner
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub(crate) fn run(_global: &Global, _args: &TestArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("`test` is not there yet")
}
