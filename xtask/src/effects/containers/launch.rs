//! Starting a run in a container: what is prepared at once, before the engine is asked.
//!
//! The rest takes time and is a task of its own; see [`ContainerRun`].

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use xtask_core::plan::Probe as Kind;
use xtask_core::stack::effect::{Container, PreparedProbe};
use xtask_core::stack::{Command, Run};
use xtask_core::terms::Name;

use crate::effects::World;
use crate::effects::active_run::{ActiveRun, Process};
use crate::effects::containers::engine::Engine;
use crate::effects::containers::run::{ContainerHandle, ContainerRun};
use crate::effects::logs::lines::LogPatterns;
use crate::effects::process::environment::Additions;
use crate::system::sweep::MARK;

impl World {
    pub(crate) fn try_contain(
        &mut self,
        service: &Name,
        run: Run,
        command: &Command,
        container: &Container,
        mut probes: Vec<PreparedProbe>,
        start_timeout: Duration,
    ) -> Result<(), String> {
        let events = self.events(service, run);
        let engine = Engine::find().map_err(|error| error.to_string())?;
        let failed = |error: std::io::Error| format!("cannot start `{service}`: {error}");
        let notify = self.notify_socket(&events, command, &probes).map_err(failed)?;
        let patterns = LogPatterns::default();
        let (pipes, ends) = self.pipes(&events, &patterns).map_err(failed)?;
        let name = self.containers.name_of(service, run);
        for prepared in &mut probes {
            if let Kind::Command { .. } = prepared.probe {
                // It asks where the service is, not here.
                let exec = [engine.program().display().to_string(), "exec".into(), name.clone()];
                prepared.command.splice(0..0, exec);
            }
        }
        // The command line of the engine gets nothing that is meant for the container.
        let bare =
            Command { env: Vec::new(), sockets: Vec::new(), cwd: "/".into(), ..command.clone() };
        let targets = self.targets(&events, probes, &bare, &patterns);
        let inherited = self.sockets.inherited(service, &command.sockets);
        let inherited =
            inherited.ok_or_else(|| format!("`{service}` inherits sockets that are not bound"))?;
        let sockets = inherited.iter().map(BorrowedFd::try_clone_to_owned);
        let sockets = sockets.collect::<Result<_, _>>().map_err(failed)?;
        if command.sockets.is_empty() {
            self.sockets.share(service);
        }
        let (handle, signals) = ContainerHandle::new();
        let active = ActiveRun {
            patterns: Arc::clone(&patterns),
            notify: notify.as_ref().map(Arc::downgrade).unwrap_or_default(),
            ..ActiveRun::new(
                Process::Container(Arc::clone(&handle)),
                command.program.clone().into(),
            )
        };
        // What it leaves running may serve other people's containers too, and is not ours.
        let unmarked = vec![(MARK.to_owned(), String::new())];
        let none = Command { watchdog_us: None, env: unmarked, ..bare };
        let life = ContainerRun {
            events,
            containers: Arc::clone(&self.containers),
            command: command.clone(),
            container: container.clone(),
            start_timeout,
            sockets,
            handle,
            environment: self.environment.of(&none, &Additions::default()),
            pipes,
            ends,
            notify,
            patterns,
            targets: targets.into_iter().map(|(index, _, target)| (index, target)).collect(),
            tasks: active.tasks.clone(),
            open_files: self.open_files,
        };
        tokio::spawn(life.run(signals));
        self.runs.insert((service.clone(), run), active);
        Ok(())
    }
}
