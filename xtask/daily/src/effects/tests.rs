//! Tests of [`World`] with real processes, sockets and files.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use xtask_control::process_stat::ProcessStat;
use xtask_core::plan::{Port, Probe};
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::{BindFailure, Command, Effect, Event, Exit, Run, Signal};
use xtask_core::terms::{Name, Place};
use xtask_logs::{Merge, More, Reader, Start};

use super::{World, WorldSettings};
use crate::system::mark::Marks;

/// The longest wait of a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A world in a folder of its own.
struct Fixture {
    folder: tempfile::TempDir,
    world: World,
    events: mpsc::UnboundedReceiver<Event>,
}

/// Runs a test in a runtime like that of the supervisor.
fn with_world<F: Future<Output = ()>>(test: impl FnOnce(Fixture) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let settings = WorldSettings {
            state: folder.path().join("state"),
            runtime: folder.path().join("run"),
            marks: Marks::test(&mark(folder.path())),
        };
        let world = World::new(settings, sender).unwrap();
        let fixture = Fixture { folder, world, events };
        tokio::time::timeout(PATIENCE * 2, test(fixture)).await.expect("the test hangs");
    });
}

impl Fixture {
    /// The next event.
    async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("no event")
            .expect("the world has ended")
    }

    /// What `wanted` returns for the first matching event; earlier events are dropped.
    async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            let event = self.next().await;
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    async fn until_started(&mut self) -> u32 {
        self.until(|event| match event {
            Event::Started { pid, .. } => Some(Ok(*pid)),
            Event::StartFailed { error, .. } => Some(Err(error.clone())),
            _ => None,
        })
        .await
        .unwrap()
    }

    async fn until_exited(&mut self) -> Exit {
        self.until(|event| match event {
            Event::Exited { exit, .. } => Some(*exit),
            _ => None,
        })
        .await
    }

    async fn until_gone(&mut self) {
        self.until(|event| matches!(event, Event::Gone { .. }).then_some(())).await;
    }

    async fn until_passed(&mut self) -> usize {
        self.until(|event| match event {
            Event::ProbePassed { probe, .. } => Some(*probe),
            Event::Exited { exit, .. } => panic!("the run exited: {exit:?}"),
            _ => None,
        })
        .await
    }

    async fn until_seen(&mut self) -> String {
        self.until(|event| match event {
            Event::ProbeSeen { seen, .. } => Some(seen.clone()),
            _ => None,
        })
        .await
    }

    /// Kills the run, and fails the test if a probe passes before the run is gone.
    async fn is_killed_before_a_probe_passes(&mut self) {
        self.signal(1, Signal::Kill);
        let passed = |event: &Event| match event {
            Event::ProbePassed { .. } => Some(true),
            Event::Gone { .. } => Some(false),
            _ => None,
        };
        assert!(!self.until(passed).await);
    }

    /// Runs a command to its end. Returns its exit and the texts of its log.
    async fn run(&mut self, command: Command) -> (Exit, Vec<String>) {
        self.spawn(1, command, Vec::new());
        let exit = self.until_exited().await;
        self.until_gone().await;
        (exit, self.log())
    }

    fn spawn(&mut self, run: Run, command: Command, probes: Vec<PreparedProbe>) {
        let (log, start_timeout) = (Default::default(), PATIENCE);
        let service = name();
        self.world.perform(Effect::Spawn { service, run, command, probes, log, start_timeout });
    }

    async fn bind(&mut self, ports: Vec<Port>, listen: bool) -> Vec<u16> {
        self.world.perform(Effect::Bind { service: name(), ports, listen });
        match self.next().await {
            Event::Bound { ports, .. } => ports,
            other => panic!("{other:?}"),
        }
    }

    fn signal(&mut self, run: Run, signal: Signal) {
        self.world.perform(Effect::Signal { service: name(), run, signal });
    }

    /// The texts of the log, oldest first, rotated files included.
    fn log(&self) -> Vec<String> {
        let log = self.folder.path().join("state/logs/a.log");
        let mut logs = Merge::default();
        logs.add("a", Reader::new(&log, &Start::Beginning).unwrap());
        let mut texts = Vec::new();
        let all = logs.read(usize::MAX, &mut |_, line| texts.push(line.text_lossy().into_owned()));
        assert_eq!(all.unwrap(), More::No);
        texts
    }
}

/// A mark that differs from those of other tests.
fn mark(folder: &std::path::Path) -> String {
    format!("{}.1f", folder.file_name().unwrap().to_string_lossy().trim_start_matches('.'))
}

fn name() -> Name {
    Name::from("a")
}

fn shell(script: &str) -> Command {
    command("sh", &["-c", script])
}

pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    Command {
        program: program.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        cwd: "/".to_owned(),
        ..Command::default()
    }
}

fn port(name: &str) -> Port {
    let declared = Place { file: String::new(), line: 1 };
    Port { name: name.to_owned(), host: "127.0.0.1".to_owned(), number: None, declared }
}

fn probe(index: usize, probe: Probe, port: Option<u16>) -> PreparedProbe {
    let address = port.map(|port| ("127.0.0.1".to_owned(), port));
    PreparedProbe { index, probe, address, command: Vec::new(), queued: false }
}

/// Whether a process exists and is not a zombie.
fn is_running(pid: &str) -> bool {
    ProcessStat::of(pid).is_some_and(|stat| !stat.is_zombie())
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "timeout: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

mod logs;
mod members;
mod misbehaving;
mod probes;
mod processes;
