//! `sweep`: cleans up after a supervisor and its guardian; hidden, replaces a killed sweeper.

use std::path::PathBuf;

use clap::Args;
use xtask_client::StackPaths;

use super::exit::Exit;
use crate::supervisor::companion::Scene;
use crate::supervisor::sweeper::sweep_after;
use crate::system::mark::Marks;

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// The folder of the stack
    #[arg(long, value_name = "PATH")]
    stack_dir: PathBuf,
    /// The folder of its sockets
    #[arg(long, value_name = "PATH")]
    runtime_dir: PathBuf,
    /// The process of the supervisor
    #[arg(long, value_name = "PID")]
    supervisor: u32,
}

pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<Exit> {
    let paths = StackPaths::at(&args.stack_dir);
    let marks = Marks::of(&paths);
    let scene = Scene { paths: &paths, runtime: &args.runtime_dir, marks: &marks };
    sweep_after(args.supervisor, &scene)?;
    Ok(Exit::DONE)
}
