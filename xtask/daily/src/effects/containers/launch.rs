//! Prepares a run in a container: pipes, sockets and probes.
//!
//! The engine's commands take time and run in a task; see [`ContainerRun`].

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use xtask_core::plan::Probe as Kind;
use xtask_core::stack::effect::{Container, PreparedProbe};
use xtask_core::stack::{Command, Run};
use xtask_core::terms::Name;

use crate::effects::World;
use crate::effects::active_run::{ActiveRun, Process};
use crate::effects::containers::ContainerError;
use crate::effects::containers::engine::Engine;
use crate::effects::containers::run::{ContainerHandle, ContainerRun};
use crate::effects::error::Error;
use crate::effects::process::run::RunProbes;
use crate::system::mark::Mark;
use crate::system::task;

impl World {
    pub(crate) fn try_start_container(
        &mut self,
        service: &Name,
        run: Run,
        command: &Command,
        container: &Container,
        mut probes: Vec<PreparedProbe>,
        start_timeout: Duration,
    ) -> Result<(), Error> {
        let events = self.events(service, run);
        let engine = Engine::path().map_err(ContainerError::from)?;
        let failed = |error| Error::Start { subject: service.to_string(), error };
        let notify = self.notify_socket(&events, command, &probes).map_err(failed)?;
        let run_probes = RunProbes::new(notify.as_ref());
        let (pipes, ends) = self.pipes(&events, &run_probes.patterns).map_err(failed)?;
        let name = self.containers.name_of(service, run);
        for prepared in &mut probes {
            if let Kind::Command { .. } = prepared.probe {
                // The command runs where the service runs.
                let exec = [engine.display().to_string(), "exec".into(), name.clone()];
                prepared.command.splice(0..0, exec);
            }
        }
        // The environment of the container is not that of the engine's command line.
        let bare =
            Command { env: Vec::new(), sockets: Vec::new(), cwd: "/".into(), ..command.clone() };
        let targets = self.targets(&events, probes, &bare, &run_probes.patterns);
        let inherited = self.sockets.inherited(service, &command.sockets);
        let inherited = inherited.ok_or_else(|| Error::Unbound(service.clone()))?;
        let sockets = inherited.iter().map(BorrowedFd::try_clone_to_owned);
        let sockets = sockets.collect::<Result<_, _>>().map_err(failed)?;
        if command.sockets.is_empty() {
            self.sockets.share(service);
        }
        let (handle, signals) = ContainerHandle::new();
        let active = ActiveRun {
            process: Process::Container(Arc::clone(&handle)),
            program: command.program.clone().into(),
            probes: run_probes.clone(),
        };
        // An engine takes variables as text.
        let env = self.contexts.set_by(command).into_iter();
        let env = env.map(|(name, value)| (name, value.to_string_lossy().into_owned()));
        // Processes that it starts may serve other containers. The sweep must not kill them.
        let mark = Mark::Absent;
        let none = Command { watchdog_us: None, ..bare };
        let container_run = ContainerRun {
            events,
            containers: Arc::clone(&self.containers),
            command: Command { env: env.collect(), ..command.clone() },
            container: container.clone(),
            start_timeout,
            sockets,
            handle,
            environment: self.contexts.environment(&none, None, None, &mark),
            pipes,
            ends,
            notify,
            probes: run_probes,
            targets: targets.into_iter().map(|(index, _, target)| (index, target)).collect(),
            inherited: self.contexts.inherited(command),
        };
        task::spawn(container_run.run(signals));
        self.runs.insert((service.clone(), run), active);
        Ok(())
    }
}
