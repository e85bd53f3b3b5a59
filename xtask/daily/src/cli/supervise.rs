//! `supervise`: runs the supervisor; hidden, started by [`crate::session::launch`].

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use crate::supervisor;

#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    /// The folder of the stack
    #[arg(long, value_name = "PATH")]
    stack_dir: PathBuf,
    /// The root of its workspace, for messages about held ports
    #[arg(long, value_name = "PATH")]
    workspace: Option<PathBuf>,
    /// What a rename of the root keeps, for commands that look for the stack of a moved workspace
    #[arg(long, value_name = "IDENTITY")]
    workspace_identity: Option<String>,
    /// Shut down when this process exits
    #[arg(long, value_name = "PID")]
    until_pid: Option<u32>,
    /// Write every event and its effects to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

pub(crate) fn run(args: &SuperviseArgs) -> anyhow::Result<Exit> {
    supervisor::run(&args.stack_dir, args.until_pid, args.record.as_deref())?;
    Ok(Exit::DONE)
}
