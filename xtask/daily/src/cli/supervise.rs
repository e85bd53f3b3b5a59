//! `supervise`: runs the supervisor; hidden, started by [`crate::session::launch`].

use std::path::PathBuf;

use clap_builder::{ArgMatches, Command, value_parser};

use super::arguments::{Arguments, option, required};
use super::error::Failure;
use super::exit::Exit;
use crate::supervisor;
use crate::system::way_out::way_out_of_state;

/// `system::supervisors` reads the other arguments from the list of processes.
pub(crate) struct SuperviseArgs {
    stack_dir: PathBuf,
    until_pid: Option<u32>,
    record: Option<PathBuf>,
}

impl Arguments for SuperviseArgs {
    fn add(command: Command) -> Command {
        let path = value_parser!(PathBuf);
        command.args([
            option("stack-dir", "PATH", "The folder of the stack")
                .value_parser(path.clone())
                .required(true),
            option("workspace", "PATH", "The root of its workspace, for messages about held ports")
                .value_parser(path.clone()),
            option(
                "workspace-identity",
                "IDENTITY",
                "What a rename of the root keeps, for commands that look for the stack of a moved \
                 workspace",
            ),
            option("until-pid", "PID", "Shut down when this process exits")
                .value_parser(value_parser!(u32)),
            option(
                "record",
                "FILE",
                "Write every event and its effects to this file, as JSON lines",
            )
            .value_parser(path),
        ])
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            stack_dir: required(matches, "stack-dir"),
            until_pid: matches.remove_one("until-pid"),
            record: matches.remove_one("record"),
        }
    }
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
