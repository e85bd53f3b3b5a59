//! `sweep`: cleans up after a supervisor and its guardian; hidden, replaces a killed sweeper.

use std::path::PathBuf;

use clap_builder::{ArgMatches, Command, value_parser};
use xtask_control::StackPaths;

use super::arguments::{Arguments, option, required};
use super::exit::Exit;
use crate::supervisor::companion::Scene;
use crate::supervisor::sweeper::sweep_after;
use crate::system::mark::Marks;

pub(crate) struct SweepArgs {
    stack_dir: PathBuf,
    runtime_dir: PathBuf,
    supervisor: u32,
}

impl Arguments for SweepArgs {
    fn add(command: Command) -> Command {
        let path = value_parser!(PathBuf);
        command.args(
            [
                option("stack-dir", "PATH", "The folder of the stack").value_parser(path.clone()),
                option("runtime-dir", "PATH", "The folder of its sockets").value_parser(path),
                option("supervisor", "PID", "The process of the supervisor")
                    .value_parser(value_parser!(u32)),
            ]
            .map(|option| option.required(true)),
        )
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            stack_dir: required(matches, "stack-dir"),
            runtime_dir: required(matches, "runtime-dir"),
            supervisor: required(matches, "supervisor"),
        }
    }
}

pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<Exit> {
    let paths = StackPaths::at(&args.stack_dir);
    let marks = Marks::of(&paths);
    let scene = Scene { paths: &paths, runtime: &args.runtime_dir, marks: &marks };
    sweep_after(args.supervisor, &scene)?;
    Ok(Exit::DONE)
}
