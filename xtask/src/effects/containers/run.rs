//! The life of one run in a container: made, started, watched, and gone when the engine
//! has removed it.
//!
//! The run's process here is the engine's command line, attached: its pipes are the
//! container's, and its end is the container's end. Killing it would not end the
//! container, so that signals are signals to the engine. Nothing is decided here.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use xtask_core::stack::effect::{Container, ImageOrigin};
use xtask_core::stack::{Command, Exit};

use super::engine::Engine;
use super::running::wait_until_running;
use super::socket_proxy::{ContainerTarget, SocketProxy};
use super::stack::StackContainers;
use crate::effects::RunEvents;
use crate::effects::exit::wait_for_exit;
use crate::effects::logs::Pipe;
use crate::effects::logs::lines::LogPatterns;
use crate::effects::probe::{ExpectedListener, PollingProbe, ProbeTasks, Target};
use crate::effects::process::notify::NotifySocket;
use crate::effects::process::run::{OutputTasks, stop_probes};
use crate::system::say;

/// How long the engine is waited for once nobody wants the container any more: a command line
/// that is ended itself may be obeyed all the same.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(3);

/// How often the first process of a container is looked at until it has started the program.
const LOOKS: u32 = 50;

/// The pause between two such looks.
const LOOK: Duration = Duration::from_millis(2);

/// A run in a container, as whoever signals it knows it.
#[derive(Debug)]
pub(crate) struct ContainerHandle {
    signals: UnboundedSender<ContainerSignal>,
    over: AtomicBool,
}

/// What the engine is to do with a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContainerSignal {
    /// Give up its start, as long as it has not begun to run.
    Cancel,
    /// Send the stop signal of that name.
    Stop(String),
    /// End it.
    Kill,
    /// Suspend all in it.
    Pause,
    /// Wake it.
    Resume,
}

impl ContainerHandle {
    /// A run that begins, and where its signals arrive.
    pub(crate) fn new() -> (Arc<Self>, UnboundedReceiver<ContainerSignal>) {
        let (signals, receiver) = unbounded_channel();
        (Arc::new(Self { signals, over: AtomicBool::new(false) }), receiver)
    }

    /// Gives an order. One that is over takes none.
    pub(crate) fn send(&self, signal: ContainerSignal) {
        let _ = self.signals.send(signal);
    }

    /// Whether the container is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Everything that belongs to one run in a container.
#[derive(Debug)]
pub(crate) struct ContainerRun {
    /// Where its news goes.
    pub(crate) events: RunEvents,
    /// What it shares with the others of its stack.
    pub(crate) containers: Arc<StackContainers>,
    /// What runs in it.
    pub(crate) command: Command,
    /// How it is made.
    pub(crate) container: Container,
    /// How long it may take until it is ready, once its image is here.
    pub(crate) start_timeout: Duration,
    /// The sockets that it would inherit as a process, one for each of its ports, or none.
    pub(crate) sockets: Vec<OwnedFd>,
    /// Its own state.
    pub(crate) handle: Arc<ContainerHandle>,
    /// The environment of the engine's command line.
    pub(crate) environment: Vec<CString>,
    /// Its standard output and error, and the ends to write to.
    pub(crate) pipes: [Pipe; 2],
    /// See `pipes`.
    pub(crate) ends: [OwnedFd; 2],
    /// Where it reports about itself.
    pub(crate) notify: Option<Arc<NotifySocket>>,
    /// The lines that log probes wait for.
    pub(crate) patterns: LogPatterns,
    /// What its probes ask, by index.
    pub(crate) targets: Vec<(usize, Target)>,
    /// The probes that were started.
    pub(crate) tasks: ProbeTasks,
    /// The limit of open files to go back to.
    pub(crate) open_files: Option<libc::rlimit>,
}

impl ContainerRun {
    /// From nothing to the container's removal. `signals` are what it is told to do.
    pub(crate) async fn run(self, mut signals: UnboundedReceiver<ContainerSignal>) {
        let name = self.containers.name_of(&self.events.service, self.events.run);
        let mut proxy = SocketProxy::new();
        let (engine, network, leader) = match self.start(&name, &mut signals).await {
            Ok(started) => started,
            Err(why) => {
                self.handle.over.store(true, Ordering::Relaxed);
                return self.events.start_failed(why);
            }
        };
        // The end of what it prints is seen once nobody but it could write.
        drop(self.ends);
        let output = OutputTasks::start(self.pipes, self.notify);
        let (runs, running) = watch::channel(false);
        let forwarding = tokio::spawn(forward_signals(
            engine.clone(),
            name.clone(),
            signals,
            running,
            proxy.gate(),
        ))
        .abort_handle();

        let blocked = |what: &str| seen(&self.events, &self.targets, what);
        // One that ends at once may never be seen to run.
        let running = tokio::select! {
            running = wait_until_running(&engine, &name, blocked) => Some(running),
            _ = wait_for_exit(&leader) => None,
        };
        if let Some(running) = &running {
            for (socket, port) in self.sockets.into_iter().zip(&self.container.ports) {
                let container = (&engine, name.as_str());
                if let Some(inside) =
                    ContainerTarget::of(port.inside, running, container, &network).await
                    && let Err(error) = proxy.accept(socket, inside)
                {
                    say(&format!("no caller of `{name}` is accepted: {error}"));
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
            self.tasks.start(PollingProbe { events: self.events.clone(), index, target, listener });
        }

        let exit = wait_for_exit(&leader).await;

        output.drain();
        stop_probes(&self.tasks, &self.patterns, output.notify.as_deref());
        self.events.exited(exit);
        leader.reap();
        // The engine removes what has ended; this is for a command line that was ended itself.
        if !matches!(exit, Exit::Code(_)) || init.is_none() {
            engine.remove(&name).await;
        }
        forwarding.abort();
        output.finish();
        self.handle.over.store(true, Ordering::Relaxed);
        self.events.gone();
    }
}

/// What stands in the way of all probes of a run.
pub(crate) fn seen(events: &RunEvents, targets: &[(usize, Target)], what: &str) {
    for (index, _) in targets {
        events.seen(*index, what);
    }
}

/// Passes signals to the engine, each as soon as it can be obeyed.
async fn forward_signals(
    engine: Engine,
    name: String,
    mut signals: UnboundedReceiver<ContainerSignal>,
    running: watch::Receiver<bool>,
    gate: watch::Sender<bool>,
) {
    let mut stopping = false;
    while let Some(signal) = signals.recv().await {
        stopping |= matches!(signal, ContainerSignal::Stop(_) | ContainerSignal::Kill);
        // One that was called off too late may yet serve, until it is told to stop.
        if signal != ContainerSignal::Cancel {
            // Whoever has not been let in yet waits for the next run, or until it is woken.
            gate.send_replace(signal == ContainerSignal::Resume && !stopping);
        }
        let (engine, name, mut running) = (engine.clone(), name.clone(), running.clone());
        tokio::spawn(async move {
            match signal {
                ContainerSignal::Stop(signal) => {
                    // A container that does not run yet cannot be signalled.
                    let _ = running.wait_for(|running| *running).await;
                    // Whoever is suspended would not see it before it is woken.
                    let _ = engine.try_run(&["unpause", &name]).await;
                    let _ = engine.try_run(&["kill", "--signal", &signal, &name]).await;
                }
                ContainerSignal::Cancel => {
                    // As soon as it runs it is told to stop, as any other.
                    let runs = running.wait_for(|running| *running);
                    if tokio::time::timeout(LAST_WAIT, runs).await.is_err() {
                        engine.remove(&name).await;
                    }
                }
                ContainerSignal::Pause => drop(engine.try_run(&["pause", &name]).await),
                ContainerSignal::Resume => drop(engine.try_run(&["unpause", &name]).await),
                ContainerSignal::Kill => {
                    let killed = engine.run(&["kill", "--signal", "KILL", &name]).await;
                    if killed.is_err() {
                        engine.remove(&name).await;
                    }
                }
            }
        });
    }
}

/// The program that the first process of a container has started, or else that itself.
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

/// Whose listener makes an answer count: the engine accepts connections for a container
/// that does not listen yet, and closes them again.
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

    #[tokio::test]
    async fn callers_are_let_in_until_a_stop_and_not_after_it() {
        use ContainerSignal::{Cancel, Kill, Pause, Resume, Stop};
        let term = || Stop("SIGTERM".to_owned());
        let cases = [
            (vec![Cancel], true),
            (vec![Cancel, Pause, Resume], true),
            (vec![Cancel, term()], false),
            (vec![Pause], false),
            (vec![term(), Resume], false),
            (vec![Kill, Resume], false),
        ];
        for (given, open) in cases {
            let shown = format!("{given:?}");
            let (signals, receiver) = unbounded_channel();
            given.into_iter().for_each(|signal| signals.send(signal).unwrap());
            drop(signals);
            // It does everything that it is told, and nothing.
            let engine = Engine::at("true".into());
            let (_runs, running) = watch::channel(true);
            let gate = watch::Sender::new(true);
            forward_signals(engine, "safe".to_owned(), receiver, running, gate.clone()).await;
            assert_eq!(*gate.borrow(), open, "{shown}");
        }
    }
}
