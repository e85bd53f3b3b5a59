//! Inspects and adopts processes that this supervisor did not spawn.
//!
//! An adopted process is signalled through its pidfd only. It keeps running when the run is
//! dropped. Its exit status is unknown, because only its parent receives that.

use std::path::{Path, PathBuf};

use xtask_core::plan::Port;
use xtask_core::stack::effect::{ExpectedProgram, PreparedProbe};
use xtask_core::stack::{Command, Event, Exit, Run};
use xtask_core::terms::Name;

use crate::effects::World;
use crate::effects::active_run::{ActiveRun, Adopted, Process};
use crate::effects::error::Error;
use crate::effects::process::inspect::Inspection;
use crate::effects::process::launch::find_program;
use crate::effects::process::run::stop_probes;
use crate::system::pidfd::ExitWatch;
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
                (
                    find_program(&program, path, &cwd)
                        .ok()
                        .map(|found| Path::new(&cwd).join(found)),
                    variables,
                )
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
            let (result, found) = inspection.run();
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
            let exit = ExitWatch::of(found.pidfd.try_clone().ok()?).ok()?;
            Some((found.pidfd, exit))
        });
        let Some((pidfd, exit)) = watching else {
            return events.start_failed(Error::AdoptEnded(pid));
        };
        let mut active = ActiveRun::new(Process::Unmanaged, PathBuf::new());
        let (tasks, patterns) = (active.tasks.clone(), active.patterns.clone());
        let run_events = events.clone();
        let watch = tokio::spawn(async move {
            exit.exited().await;
            stop_probes(&tasks, &patterns, None);
            run_events.exited(Exit::Unknown);
            run_events.gone();
        });
        active.process = Process::Adopted(Adopted { pidfd, watch: watch.abort_handle() });
        events.started(pid);
        self.start_probes(&active, &events, command, probes);
        self.runs.insert((service, run), active);
    }
}
