//! One run in a container, from its creation until the engine has removed it.
//!
//! The run's process on this machine is the engine's command line, attached to the container:
//! its pipes are the container's, and its exit is the container's exit. Killing it would not
//! end the container, so signals are commands to the engine. The reducer makes all decisions.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use xtask_core::stack::effect::{Container, ImageOrigin};
use xtask_core::stack::{Command, Exit, Signal};

use super::engine::Engine;
use super::socket_proxy::{ContainerTarget, SocketProxy};
use super::stack::StackContainers;
use crate::effects::RunEvents;
use crate::effects::exit::wait_for_exit;
use crate::effects::logs::Pipe;
use crate::effects::probe::{ExpectedListener, PollingProbe, Target};
use crate::effects::process::notify::NotifySocket;
use crate::effects::process::run::{OutputTasks, RunProbes};
use crate::effects::spawn::Inherited;
use crate::system::say;
use crate::system::task;

/// How long a cancelled start waits for the engine, which may obey a command line that was
/// killed.
pub(crate) const CANCEL_TIMEOUT: Duration = Duration::from_secs(3);

/// How often to look for the program that the first process of a container starts.
const LOOKS: u32 = 50;

const LOOK: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct ContainerHandle {
    signals: UnboundedSender<ContainerSignal>,
    ended: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerSignal {
    /// Cancel the start, unless the container runs.
    Cancel,
    Signal(Signal),
}

impl ContainerHandle {
    pub(crate) fn new() -> (Arc<Self>, UnboundedReceiver<ContainerSignal>) {
        let (signals, receiver) = unbounded_channel();
        (Arc::new(Self { signals, ended: AtomicBool::new(false) }), receiver)
    }

    /// Sends a signal. A run that has ended ignores it.
    pub(crate) fn send(&self, signal: ContainerSignal) {
        let _ = self.signals.send(signal);
    }

    /// Whether the engine has removed the container.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct ContainerRun {
    pub(crate) events: RunEvents,
    pub(crate) containers: Arc<StackContainers>,
    pub(crate) command: Command,
    pub(crate) container: Container,
    /// How long it may take until it is ready; pulling its image does not count.
    pub(crate) start_timeout: Duration,
    /// The sockets that it would inherit as a process: one for each of its ports, or none.
    pub(crate) sockets: Vec<OwnedFd>,
    pub(crate) handle: Arc<ContainerHandle>,
    /// The environment of the engine's command line.
    pub(crate) environment: Vec<CString>,
    /// The read ends of its standard output and error.
    pub(crate) pipes: [Pipe; 2],
    /// The write ends.
    pub(crate) ends: [OwnedFd; 2],
    pub(crate) notify: Option<Arc<NotifySocket>>,
    pub(crate) probes: RunProbes,
    pub(crate) targets: Vec<(usize, Target)>,
    /// The limit of open files to restore in the command line.
    pub(crate) inherited: Inherited,
}

impl ContainerRun {
    pub(crate) async fn run(self, mut signals: UnboundedReceiver<ContainerSignal>) {
        let name = self.containers.name_of(&self.events.service, self.events.run);
        let mut proxy = SocketProxy::new();
        let (engine, network, leader) = match self.start(&name, &mut signals).await {
            Ok(started) => started,
            Err(error) => {
                self.handle.ended.store(true, Ordering::Relaxed);
                return self.events.start_failed(error.text());
            }
        };
        // The pipes end only if the container holds the last write end.
        drop(self.ends);
        let output = OutputTasks::start(self.pipes, self.notify);
        let (runs, running) = watch::channel(false);
        let forwarding = task::spawn(forward_signals(
            engine.clone(),
            name.clone(),
            signals,
            running,
            proxy.gate(),
        ))
        .abort_handle();

        let blocked = |what: &str| seen(&self.events, &self.targets, what);
        // A container that ends at once may never be reported as running.
        let running = tokio::select! {
            running = engine.wait_until_running(&name, blocked) => Some(running),
            _ = wait_for_exit(&leader) => None,
        };
        if let Some(running) = &running {
            for (socket, port) in self.sockets.into_iter().zip(&self.container.ports) {
                let container = (&engine, name.as_str());
                if let Some(inside) =
                    ContainerTarget::of(port.inside, running, container, &network).await
                    && let Err(error) = proxy.accept(socket, inside)
                {
                    say(&format!("failed to accept connections for `{name}`: {error}"));
                }
            }
        }
        let init = running.map(|running| running.init);
        let pid = match init {
            Some(init) if self.container.origin == ImageOrigin::Built => program_below(init).await,
            Some(init) => init,
            None => leader.id().unsigned_abs(),
        };
        self.events.started(pid);
        let _ = runs.send(true);
        for (index, target) in self.targets {
            let listener = listener(&self.container, &target, init);
            self.probes.tasks.start(PollingProbe {
                events: self.events.clone(),
                index,
                target,
                listener,
            });
        }

        let exit = wait_for_exit(&leader).await;

        output.drain();
        self.probes.stop();
        self.events.exited(exit, None);
        leader.reap();
        // The engine removes a container that exits, but not if its command line was killed.
        if !matches!(exit, Exit::Code(_)) || init.is_none() {
            engine.remove(&name).await;
        }
        forwarding.abort();
        output.finish();
        self.handle.ended.store(true, Ordering::Relaxed);
        self.events.gone();
    }
}

/// Reports to all probes of a run what they wait for.
pub(crate) fn seen(events: &RunEvents, targets: &[(usize, Target)], what: &str) {
    for (index, _) in targets {
        events.seen(*index, what);
    }
}

/// Forwards signals to the engine, each as soon as the engine can obey it.
async fn forward_signals(
    engine: Engine,
    name: String,
    mut signals: UnboundedReceiver<ContainerSignal>,
    running: watch::Receiver<bool>,
    gate: watch::Sender<bool>,
) {
    let mut stopping = false;
    while let Some(signal) = signals.recv().await {
        stopping |= matches!(signal, ContainerSignal::Signal(Signal::Stop(_) | Signal::Kill));
        // A run whose start was cancelled too late serves until it is stopped.
        if signal != ContainerSignal::Cancel {
            // Callers in the queue wait for the next run, or until this one resumes.
            gate.send_replace(signal == ContainerSignal::Signal(Signal::Resume) && !stopping);
        }
        let (engine, name, mut running) = (engine.clone(), name.clone(), running.clone());
        task::spawn(async move {
            match signal {
                ContainerSignal::Signal(Signal::Stop(signal)) => {
                    // The engine signals only a container that runs.
                    let _ = running.wait_for(|running| *running).await;
                    // Suspended processes handle a signal only after they resume.
                    let _ = engine.try_run(&["unpause", &name]).await;
                    let _ = engine.try_run(&["kill", "--signal", &signal, &name]).await;
                }
                ContainerSignal::Cancel => {
                    // A container that runs gets a stop signal instead.
                    let runs = running.wait_for(|running| *running);
                    if tokio::time::timeout(CANCEL_TIMEOUT, runs).await.is_err() {
                        engine.remove(&name).await;
                    }
                }
                ContainerSignal::Signal(Signal::Pause) => {
                    let _ = engine.try_run(&["pause", &name]).await;
                }
                ContainerSignal::Signal(Signal::Resume) => {
                    let _ = engine.try_run(&["unpause", &name]).await;
                }
                ContainerSignal::Signal(Signal::Kill) => {
                    if engine.run(&["kill", "--signal", "KILL", &name]).await.is_err() {
                        engine.remove(&name).await;
                    }
                }
            }
        });
    }
}

/// The child of a container's first process, or else that process itself.
async fn program_below(init: u32) -> u32 {
    for _ in 0..LOOKS {
        let path = format!("/proc/{init}/task/{init}/children");
        let Ok(children) = std::fs::read_to_string(path) else { break };
        if let Some(pid) = children.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
            return pid;
        }
        tokio::time::sleep(LOOK).await;
    }
    init
}

/// The listener that a probe requires: the engine accepts connections for a container that
/// does not listen yet, and closes them again.
fn listener(container: &Container, target: &Target, init: Option<u32>) -> ExpectedListener {
    let Target::Tcp { port: outside, .. } = target else { return ExpectedListener::Any };
    let port = container.ports.iter().find(|port| port.outside == *outside);
    match (port, init) {
        (Some(port), Some(init)) if init > 0 => {
            ExpectedListener::Container { init, port: port.inside }
        }
        _ => ExpectedListener::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::containers::engine::EngineKind;

    #[tokio::test]
    async fn proxy_accepts_until_a_stop() {
        use ContainerSignal::Cancel;
        let [kill, pause, resume] = [Signal::Kill, Signal::Pause, Signal::Resume]
            .map(|signal| move || ContainerSignal::Signal(signal.clone()));
        let term = || ContainerSignal::Signal(Signal::Stop("SIGTERM".to_owned()));
        let cases = [
            (vec![Cancel], true),
            (vec![Cancel, pause(), resume()], true),
            (vec![Cancel, term()], false),
            (vec![pause()], false),
            (vec![term(), resume()], false),
            (vec![kill(), resume()], false),
        ];
        for (given, open) in cases {
            let shown = format!("{given:?}");
            let (signals, receiver) = unbounded_channel();
            given.into_iter().for_each(|signal| signals.send(signal).unwrap());
            drop(signals);
            // Every command succeeds and does nothing.
            let engine = Engine::at("true".into(), EngineKind::Docker);
            let (_runs, running) = watch::channel(true);
            let gate = watch::Sender::new(true);
            forward_signals(engine, "safe".to_owned(), receiver, running, gate.clone()).await;
            assert_eq!(*gate.borrow(), open, "{shown}");
        }
    }
}
