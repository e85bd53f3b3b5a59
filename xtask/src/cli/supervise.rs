//! `supervise`: the supervisor itself; hidden, started by `up`.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use crate::supervisor;

/// `supervise`
#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    /// The folder of the stack
    #[arg(long, value_name = "PATH")]
    stack_dir: PathBuf,
    /// The root of its workspace; shown to whoever asks who holds a port
    #[arg(long, value_name = "PATH")]
    workspace: Option<PathBuf>,
    /// Shut down when this process is gone
    #[arg(long, value_name = "PID")]
    until_pid: Option<u32>,
    /// Write every event and its effects there, a JSON line each
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

pub(crate) fn run(args: &SuperviseArgs) -> anyhow::Result<Exit> {
    supervisor::run(&supervisor::Settings {
        folder: args.stack_dir.clone(),
        until_pid: args.until_pid,
        record: args.record.clone(),
    })?;
    Ok(Exit::DONE)
}
