//! Processes that were not started here: looked at, taken as runs, and signalled where
//! that is asked for.
//!
//! Such a process is only reached through the descriptor that the look opened, and
//! dropping the run leaves it to itself. How it ended is not known to anybody but its
//! parent.

use std::path::PathBuf;

use xtask_core::plan::Port;
use xtask_core::stack::effect::{Like, PreparedProbe};
use xtask_core::stack::{Command, Event, Exit, Run};
use xtask_core::terms::Name;

use crate::effects::World;
use crate::effects::process::life::stop_probes;
use crate::effects::process::stranger;
use crate::effects::process::stranger::Question;
use crate::effects::runs::{Adopted, Live, Process};
use crate::system::socket;
use crate::system::watched::watched;

impl World {
    pub(crate) fn look(&mut self, service: Name, ports: &[Port], like: Option<Like>) {
        let resolve = |port: &Port| socket::resolve(&port.host, port.number?).ok();
        let (program, variables) = match like {
            Some(Like { program, path, cwd, variables }) => {
                let own = path.as_deref().map(std::ffi::OsStr::new);
                let path = own.or_else(|| self.environment.inherited("PATH"));
                (stranger::find(&program, path, &cwd), variables)
            }
            None => (None, Vec::new()),
        };
        let question = Question {
            addresses: ports.iter().filter_map(resolve).collect(),
            program,
            variables,
            mark: self.settings.mark.clone(),
        };
        let (events, strangers) = (self.events.clone(), self.strangers.clone());
        tokio::task::spawn_blocking(move || {
            let (occupant, found) = question.look();
            strangers.keep(&service, found);
            let _ = events.send(Event::Looked { service, occupant });
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
        let outlet = self.outlet(&service, run);
        let found = self.strangers.take(&service, pid);
        let watching = found.and_then(|found| {
            let ending = watched(found.pidfd.try_clone().ok()?).ok()?;
            Some((found.pidfd, ending))
        });
        let Some((pidfd, ending)) = watching else {
            return outlet.start_failed(format!("process {pid} is gone"));
        };
        let mut live = Live::new(Process::Unknown, PathBuf::new());
        let (tasks, awaited) = (live.tasks.clone(), live.awaited.clone());
        let news = outlet.clone();
        let watch = tokio::spawn(async move {
            let _ = ending.readable().await;
            stop_probes(&tasks, &awaited, None);
            news.exited(Exit::Unknown);
            news.gone();
        });
        live.process = Process::Adopted(Adopted { pidfd, watch: watch.abort_handle() });
        outlet.started(pid);
        self.ask(&live, &outlet, command, probes);
        self.runs.insert((service, run), live);
    }
}
