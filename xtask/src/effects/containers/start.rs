//! The start of one run in a container, from nothing to the engine's command line that is
//! attached to it; it can be called off at any time.
//!
//! What the container is like stands in [`create`], and what becomes of it in
//! [`super::run`].

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use xtask_core::stack::effect::ImageOrigin;

use super::create;
use super::engine::{Engine, PULL_TIMEOUT};
use super::run::{ContainerRun, ContainerSignal, LAST_WAIT, seen};
use super::stack::Network;
use super::volumes;
use crate::effects::exit::wait_for_exec;
use crate::effects::process::notify::NotifySocket;
use crate::effects::spawn;
use crate::effects::spawn::SpawnRequest;
use crate::system::group::Leader;
use crate::system::say;

/// How long the engine may take to make a container before that is said.
const SLOW: Duration = Duration::from_secs(3);

/// How long the engine may take to remove what a start that came to nothing has made. With
/// [`LAST_WAIT`] it is shorter than the time after which a start that was called off is lost.
const LAST_REMOVAL: Duration = Duration::from_millis(1500);

impl ContainerRun {
    /// Makes the container and starts it, attached, unless that is called off.
    pub(crate) async fn start(
        &self,
        name: &str,
        signals: &mut UnboundedReceiver<ContainerSignal>,
    ) -> Result<(Engine, Network, Arc<Leader>), String> {
        const CALLED_OFF: &str = "it was told to stop before it was started";
        let engine = self.containers.engine().await?;
        if self.container.origin == ImageOrigin::Foreign {
            tokio::select! {
                fetched = self.pull(engine) => fetched?,
                () = called_off(signals) => return Err(CALLED_OFF.to_owned()),
            }
        }
        let mut making = Box::pin(self.make(engine, name));
        let made = tokio::select! {
            made = &mut making => made,
            () = called_off(signals) => {
                let _ = tokio::time::timeout(LAST_WAIT, &mut making).await;
                Err(CALLED_OFF.to_owned())
            }
        };
        // A command line that still runs would make its container after the removal.
        drop(making);
        let started = match made {
            Ok(network) => self.attach(engine, name).await.map(|leader| (network, leader)),
            Err(why) => Err(why),
        };
        if started.is_err() {
            remove_soon(engine, name).await;
        }
        started.map(|(network, leader)| (engine.clone(), network, leader))
    }

    /// Gets an image that is not here. The time for that is not the service's.
    async fn pull(&self, engine: &Engine) -> Result<(), String> {
        let image = &self.container.image;
        if engine.has_image(image).await.map_err(|error| error.to_string())? {
            return Ok(());
        }
        self.events.status(format!("fetching the image `{image}`"));
        self.events.extend(PULL_TIMEOUT + self.start_timeout);
        let fetched = engine.pull(image).await;
        self.events.status(String::new());
        self.events.extend(self.start_timeout);
        fetched.map_err(|error| format!("the image `{image}` is not here, and {error}"))
    }

    /// Makes the container and what it needs beside it.
    async fn make(&self, engine: &Engine, name: &str) -> Result<Network, String> {
        let make = async {
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
        let mut make = pin!(make);
        if let Ok(made) = tokio::time::timeout(SLOW, &mut make).await {
            return made;
        }
        seen(&self.events, &self.targets, "the engine has not made its container yet");
        make.await
    }

    /// Starts the engine's command line that starts the container and stays with it.
    async fn attach(&self, engine: &Engine, name: &str) -> Result<Arc<Leader>, String> {
        let attached = self.try_attach(engine, name).await;
        attached.map_err(|error| format!("cannot start `{}`: {error}", engine.program().display()))
    }

    async fn try_attach(&self, engine: &Engine, name: &str) -> io::Result<Arc<Leader>> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
        let program = text(engine.program().as_os_str().as_bytes())?;
        let words = ["start", "--attach", name];
        let words = words.iter().map(|word| text(word.as_bytes()));
        let args = std::iter::once(Ok(program.clone())).chain(words).collect::<io::Result<_>>()?;
        let spawned = spawn::start(&SpawnRequest {
            program,
            args,
            env: self.environment.clone(),
            pid_variables: &[],
            cwd: c"/".to_owned(),
            output: [self.ends[0].as_fd(), self.ends[1].as_fd()],
            sockets: Vec::new(),
            open_files: self.open_files,
        })?;
        let leader = Arc::new(spawned.leader);
        let executed = wait_for_exec(&leader, spawned.exec_report).await;
        executed.map(|()| leader).map_err(|failure| failure.error)
    }
}

/// Removes what a start that came to nothing may have made.
async fn remove_soon(engine: &Engine, name: &str) {
    if tokio::time::timeout(LAST_REMOVAL, engine.remove(name)).await.is_err() {
        say(&format!("container `{name}` may be left: the engine takes too long to remove it"));
    }
}

/// Waits until a start is not wanted any more. There is nothing yet that another order could
/// be for.
async fn called_off(signals: &mut UnboundedReceiver<ContainerSignal>) {
    loop {
        match signals.recv().await {
            Some(ContainerSignal::Cancel | ContainerSignal::Stop(_) | ContainerSignal::Kill) => {
                return;
            }
            Some(ContainerSignal::Pause | ContainerSignal::Resume) => {}
            None => return std::future::pending().await,
        }
    }
}
