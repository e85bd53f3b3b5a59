//! Starts one run in a container: pull the image, create the container, attach the engine's
//! command line. A signal can cancel it at any time.
//!
//! [`create`] chooses the container's settings. [`super::run`] watches the container.

use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use xtask_core::stack::Signal;
use xtask_core::stack::effect::ImageOrigin;

use super::ContainerError;
use super::create;
use super::engine::{Engine, PULL_TIMEOUT};
use super::run::{CANCEL_TIMEOUT, ContainerRun, ContainerSignal, seen};
use super::stack::Network;
use super::volumes;
use crate::effects::process::notify::NotifySocket;
use crate::effects::spawn::{self, Exec, SpawnRequest};
use crate::system::group::Leader;
use crate::system::mark::Mark;
use crate::system::say;

/// After how long the probes report that the engine has not created the container.
const SLOW: Duration = Duration::from_secs(3);

/// How long the engine may take to remove the container of a failed start. Together with
/// [`CANCEL_TIMEOUT`] it is shorter than the time after which a cancelled start counts as lost.
const REMOVAL_TIMEOUT: Duration = Duration::from_millis(1500);

impl ContainerRun {
    /// Creates and starts the container, attached, unless a signal cancels that.
    pub(crate) async fn start(
        &self,
        name: &str,
        signals: &mut UnboundedReceiver<ContainerSignal>,
    ) -> Result<(Engine, Network, Arc<Leader>), ContainerError> {
        let engine = self.containers.engine().await?;
        if self.container.origin == ImageOrigin::Foreign {
            tokio::select! {
                pulled = self.pull(engine) => pulled?,
                () = cancelled(signals) => return Err(ContainerError::Cancelled),
            }
        }
        let mut creating = Box::pin(self.create(engine, name));
        let created = tokio::select! {
            created = &mut creating => created,
            () = cancelled(signals) => {
                let _ = tokio::time::timeout(CANCEL_TIMEOUT, &mut creating).await;
                Err(ContainerError::Cancelled)
            }
        };
        // A command line that still runs would create its container after the removal.
        drop(creating);
        let started = match created {
            Ok(network) => self.attach(engine, name).map(|leader| (network, leader)),
            Err(error) => Err(error),
        };
        if started.is_err() {
            remove_soon(engine, name).await;
        }
        started.map(|(network, leader)| (engine.clone(), network, leader))
    }

    /// Pulls a missing image. That time does not count against the start timeout.
    async fn pull(&self, engine: &Engine) -> Result<(), ContainerError> {
        let image = &self.container.image;
        if engine.has_image(image).await? {
            return Ok(());
        }
        self.events.status(format!("pulling image `{image}`"));
        self.events.extend(PULL_TIMEOUT + self.start_timeout);
        let pulled = engine.pull(image).await;
        self.events.status(String::new());
        self.events.extend(self.start_timeout);
        pulled.map_err(|source| ContainerError::Pull { image: image.clone(), source })
    }

    async fn create(&self, engine: &Engine, name: &str) -> Result<Network, ContainerError> {
        let create = async {
            let network = self.containers.network().await?.clone();
            for neighbour in &self.container.neighbours {
                self.containers.forward_to(neighbour).await?;
            }
            volumes::prepare(&self.containers, &self.container, self.notify.as_deref()).await?;
            let wanted = create::NewContainer {
                service: &self.events.service,
                name,
                command: &self.command,
                container: &self.container,
                notify: self.notify.as_deref().map(NotifySocket::path),
            };
            create::create(engine, &self.containers, &network, &wanted).await?;
            Ok(network)
        };
        let mut create = pin!(create);
        if let Ok(created) = tokio::time::timeout(SLOW, &mut create).await {
            return created;
        }
        seen(&self.events, &self.targets, "the engine has not created its container yet");
        create.await
    }

    /// Starts the engine's command line, which starts the container and stays attached.
    fn attach(&self, engine: &Engine, name: &str) -> Result<Arc<Leader>, ContainerError> {
        let attached = self.try_attach(engine, name);
        attached.map_err(ContainerError::io("start", engine.program()))
    }

    fn try_attach(&self, engine: &Engine, name: &str) -> io::Result<Arc<Leader>> {
        let program = engine.program();
        let args = [&*program.to_string_lossy(), "start", "--attach", name];
        let exec = Exec::new(program, args, self.environment.clone(), "/", self.inherited.clone())
            .map_err(io::Error::other)?;
        let leader = spawn::start(&SpawnRequest {
            exec: &exec,
            mark: Mark::Absent,
            pid_variables: &[],
            input: None,
            output: [self.ends[0].as_fd(), self.ends[1].as_fd()],
            sockets: Vec::new(),
        });
        leader.map(Arc::new).map_err(|failure| failure.error)
    }
}

async fn remove_soon(engine: &Engine, name: &str) {
    if tokio::time::timeout(REMOVAL_TIMEOUT, engine.remove(name)).await.is_err() {
        say(&format!("container `{name}` may be left: the engine takes too long to remove it"));
    }
}

/// Waits for a signal that cancels a start. The others have no effect yet.
async fn cancelled(signals: &mut UnboundedReceiver<ContainerSignal>) {
    loop {
        match signals.recv().await {
            Some(ContainerSignal::Signal(Signal::Pause | Signal::Resume)) => {}
            Some(_) => return,
            None => return std::future::pending().await,
        }
    }
}
