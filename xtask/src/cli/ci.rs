//! `ci`: what continuous integration runs.

use clap::Args;

use super::Global;
use super::exit::Exit;

/// `ci`
#[derive(Debug, Args)]
pub(crate) struct CiArgs {}

pub(crate) fn run(_global: &Global, _args: &CiArgs) -> anyhow::Result<Exit> {
    anyhow::bail!("`ci` is not there yet")
}
