//! `status`: the services of a running stack, as its supervisor reports them, or all stacks.
//!
//! It asks each service that can be asked once, so that a frozen one is not shown as ready.

use std::path::Path;

use clap_builder::{ArgMatches, Command};
use xtask_control::protocol::Ask;
use xtask_control::sources;
use xtask_core::plan::KeptFlags;
use xtask_core::snapshot::{ProgramFiles, Snapshot};

use super::arguments::{Arguments, flag};
use super::exit::Exit;
use super::{Global, all, block_on, place, print, stack};
use crate::session::connect;
use crate::system::{memory, proc};
use crate::view;

pub(crate) struct StatusArgs {
    json: bool,
    all: bool,
}

impl Arguments for StatusArgs {
    fn add(command: Command) -> Command {
        command.args([
            flag(
                "json",
                "Print the stack, its supervisor and each service with phase, pid, url and times \
                 as JSON",
            ),
            flag(
                "all",
                "Show the stacks of all workspaces, also those that are down and have data or logs",
            ),
        ])
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self { json: matches.get_flag("json"), all: matches.get_flag("all") }
    }
}

pub(crate) fn run(global: &Global, args: &StatusArgs) -> anyhow::Result<Exit> {
    if args.all {
        return all::status(global, args.json);
    }
    let paths = place::find_stack(global)?.paths;
    block_on(async {
        let status = stack::status(&paths, Ask::All).await?;
        let mut snapshot = status.ok_or_else(|| stack::nothing_runs(&paths))?;
        let flags = connect::kept_flags(&paths, || stack::report_silence(&paths)).await?;
        snapshot.kept_flags = flags.and_then(|(flags, _)| flags.shown(&KeptFlags::default()));
        measure(&mut snapshot);
        if args.json {
            print::json_pretty(&view::status::masked(&snapshot))?;
        } else {
            print::out(&view::status::status(&snapshot))?;
        }
        Ok(Exit::DONE)
    })
}

/// Adds what is read from the system: uptime, memory, and sources that are newer than what runs.
pub(crate) fn measure(snapshot: &mut Snapshot) {
    let leaders: Vec<i32> = snapshot.runs().map(|(leader, _)| leader).collect();
    let memory = memory::of_runs(&leaders);
    for service in &mut snapshot.services {
        let Some(pid) = service.pid.and_then(|pid| i32::try_from(pid).ok()) else { continue };
        service.uptime_ms = proc::age(pid).and_then(|age| u64::try_from(age.as_millis()).ok());
        service.memory_bytes = memory.get(&pid).copied();
        service.newer_source = service.program.as_ref().and_then(newer_source);
    }
}

fn newer_source(program: &ProgramFiles) -> Option<String> {
    let built = std::fs::metadata(&program.kept).and_then(|kept| kept.modified()).ok()?;
    let source = sources::newer(Path::new(&program.linked), built)?;
    Some(source.display().to_string())
}
