//! Processes that were not started here: looked at, taken as runs, and signalled where
//! that is asked for.
//!
//! Such a process is only reached through the descriptor that the look opened, and
//! dropping the run leaves it to itself. How it ended is not known to anybody but its
//! parent.

use std::path::PathBuf;

use xtask_core::plan::Port;
use xtask_core::stack::effect::{ExpectedProgram, PreparedProbe};
use xtask_core::stack::{Command, Event, Exit, Run};
use xtask_core::terms::Name;

use crate::effects::World;
use crate::effects::active_run::{ActiveRun, Adopted, Process};
use crate::effects::process::inspect::{Inspection, find};
use crate::effects::process::run::stop_probes;
use crate::system::async_fd::async_fd;
use crate::system::socket;

impl World {
    pub(crate) fn inspect_holder(
        &mut self,
        service: Name,
        ports: &[Port],
        expected: Option<ExpectedProgram>,
    ) {
        let resolve = |port: &Port| socket::resolve(&port.host, port.number?).ok();
        let (program, variables) = match expected {
            Some(ExpectedProgram { program, path, cwd, variables }) => {
                let own = path.as_deref().map(std::ffi::OsStr::new);
                let path = own.or_else(|| self.environment.inherited("PATH"));
                (find(&program, path, &cwd), variables)
            }
            None => (None, Vec::new()),
        };
        let inspection = Inspection {
            addresses: ports.iter().filter_map(resolve).collect(),
            program,
            variables,
            mark: self.settings.mark.clone(),
        };
        let (events, holder_handles) = (self.events.clone(), self.holder_handles.clone());
        tokio::task::spawn_blocking(move || {
            let (result, found) = inspection.look();
            holder_handles.keep(&service, found);
            let _ = events.send(Event::HolderInspected { service, result });
        });
    }

    pub(crate) fn adopt(
        &mut self,
        service: Name,
        run: Run,
        pid: u32,
        command: &Command,
        probes: Vec<PreparedProbe>,
    ) {
        let events = self.events(&service, run);
        let found = self.holder_handles.take(&service, pid);
        let watching = found.and_then(|found| {
            let ending = async_fd(found.pidfd.try_clone().ok()?).ok()?;
            Some((found.pidfd, ending))
        });
        let Some((pidfd, ending)) = watching else {
            return events.start_failed(format!("process {pid} is gone"));
        };
        let mut active = ActiveRun::new(Process::Unmanaged, PathBuf::new());
        let (tasks, patterns) = (active.tasks.clone(), active.patterns.clone());
        let news = events.clone();
        let watch = tokio::spawn(async move {
            let _ = ending.readable().await;
            stop_probes(&tasks, &patterns, None);
            news.exited(Exit::Unknown);
            news.gone();
        });
        active.process = Process::Adopted(Adopted { pidfd, watch: watch.abort_handle() });
        events.started(pid);
        self.start_probes(&active, &events, command, probes);
        self.runs.insert((service, run), active);
    }
}
