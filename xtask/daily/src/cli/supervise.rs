//! `supervise`: runs the supervisor; hidden, started by [`crate::session::launch`].

use std::path::PathBuf;

use clap::Args;

use super::error::Failure;
use super::exit::Exit;
use crate::supervisor;
use crate::system::way_out::way_out_of_state;

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
    supervisor::run(&args.stack_dir, args.until_pid, args.record.as_deref()).map_err(failure)?;
    Ok(Exit::DONE)
}

/// The client has checked that it can write the record, so the file is one of the stack's.
fn failure(error: anyhow::Error) -> anyhow::Error {
    let system = error.chain().find_map(|cause| cause.downcast_ref());
    match system.and_then(way_out_of_state) {
        Some(hint) => Failure::new(Exit::FAILED, format!("{error:#}")).hint(hint).into(),
        None => error,
    }
}
