//! Performs effects.
//!
//! [`World::perform`] never waits: what takes time is a task that ends in an event. Tasks are
//! `Send` and start with `tokio::spawn`. The runtime must be a current-thread runtime on the main
//! thread, because the kernel kills children when the thread that forked them ends. The driver
//! performs reports and the end of the supervisor.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xtask_core::sorted::{SortedMap, SortedSet};

use tokio::sync::mpsc::UnboundedSender;
use xtask_core::plan::Port;
use xtask_core::stack::effect::{ImageWanted, PreparedProbe};
use xtask_core::stack::stopped_text;
use xtask_core::stack::{
    Artifact, BindFailure, Command, Effect, Event, LinkedProgram, Run, ServiceAddress, Signal,
};
use xtask_core::terms::Name;

use super::RunEvents;
use super::containers::run::ContainerSignal;
use super::containers::stack::StackContainers;
use super::done::mark_done;
use super::error::Error;
use super::probe::{self, ExpectedListener, PollingProbe};
use super::process::orphans;
use super::sockets::{self, Sockets};
use crate::effects::active_run::{ActiveRun, Process};
use crate::effects::logs::file::{LogFile, WriteChange};
use crate::effects::process::adopt::HolderHandles;
use crate::effects::process::environment::Contexts;
use crate::effects::process::reaper::Reaper;
use crate::effects::programs::Programs;
use crate::system::context;
use crate::system::limits::raise_open_files;
use crate::system::mark::{Mark, Marks};
use crate::system::members::{Orphans, pids_of, stopped_of};
use crate::system::proc;
use crate::system::say;
use crate::system::task;
use crate::system::traffic::TrafficQuery;

/// The longest path of a Unix socket, in bytes.
const LONGEST_SOCKET_PATH: usize = 103;

/// The folders of a world, and the marks of its children.
#[derive(Clone, Debug)]
pub(crate) struct WorldSettings {
    /// The state folder of the stack, with programs and logs below it.
    pub(crate) state: PathBuf,
    /// A folder for sockets that only this user can enter; its path must be short.
    pub(crate) runtime: PathBuf,
    /// Every child has the newest in its environment.
    pub(crate) marks: Marks,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) settings: WorldSettings,
    pub(crate) events: UnboundedSender<Event>,
    pub(crate) contexts: Contexts,
    pub(crate) sockets: Sockets,
    pub(crate) containers: Arc<StackContainers>,
    programs: Arc<Mutex<Programs>>,
    logs: SortedMap<Name, Arc<Mutex<LogFile>>>,
    pub(crate) runs: SortedMap<(Name, Run), ActiveRun>,
    /// How many runs there are when those that have ended are forgotten.
    forget_at: usize,
    pub(crate) holder_handles: HolderHandles,
    /// Each request that is queued on a port holds one handle.
    pub(crate) queued: SortedMap<u16, Arc<()>>,
    pub(crate) notify_sockets: u64,
    pub(crate) reaper: Reaper,
    /// Runs whose logs name a stopped process.
    stopped: SortedSet<(Name, Run)>,
}

impl World {
    /// A world without services. Call this inside the runtime.
    pub(crate) fn new(settings: WorldSettings, events: UnboundedSender<Event>) -> io::Result<Self> {
        std::fs::create_dir_all(settings.state.join("logs"))?;
        std::fs::create_dir_all(&settings.runtime)?;
        let socket = socket_path(&settings.runtime, u64::from(u32::MAX));
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            let folder = settings.runtime.display();
            return Err(io::Error::other(format!("the path `{folder}` is too long for sockets")));
        }
        orphans::adopt()?;
        survive_limits_of_size();
        raise_open_files();
        let programs = Programs::new(settings.state.join("programs"))?;
        Ok(Self {
            contexts: Contexts::new(context::of_this_process()),
            containers: Arc::new(StackContainers::of(&settings.state, settings.marks.clone())),
            programs: Arc::new(Mutex::new(programs)),
            settings,
            events,
            sockets: Sockets::default(),
            logs: SortedMap::new(),
            runs: SortedMap::new(),
            forget_at: 0,
            holder_handles: HolderHandles::default(),
            queued: SortedMap::new(),
            notify_sockets: 0,
            reaper: Reaper::start()?,
            stopped: SortedSet::new(),
        })
    }

    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Accept { service, program, image } => self.accept(service, program, image),
            Effect::Bind { service, ports, listen } => self.bind(service, &ports, listen),
            Effect::CheckPorts { service, ports } => {
                let mut failures = sockets::check(&ports);
                failures.iter_mut().for_each(|failure| self.name_sibling(failure));
                let _ = self.events.send(Event::PortsChecked { service, failures });
            }
            Effect::Unbind { service } => self.sockets.unbind(&service),
            Effect::InspectHolder { service, ports, expected } => {
                self.inspect_holder(service, &ports, expected)
            }
            Effect::Adopt { service, run, pid, command, probes } => {
                self.adopt(service, run, pid, &command, probes);
            }
            Effect::Release { service, run } => drop(self.runs.remove(&(service, run))),
            Effect::Spawn { service, run, command, probes, log, start_timeout } => {
                let file = self.log(&service);
                file.lock().unwrap_or_else(PoisonError::into_inner).limits = log;
                self.spawn(service, run, &command, probes, start_timeout);
            }
            Effect::CancelStart { service, run } => self.cancel_start(service, run),
            Effect::Probe { service, run, context, probes } => {
                self.probe(service, run, context, probes);
            }
            Effect::MarkDone { service } => {
                if let Err(error) = mark_done(&self.settings.state, &service) {
                    say(&format!("failed to record that `{service}` is done: {error}"));
                }
            }
            Effect::StopProbes { service, run } => self.stop_probes(service, run),
            Effect::CheckHealth { service, run, probe } => self.check_health(&service, run, probe),
            Effect::Signal { service, run, signal } => self.signal(service, run, signal),
            Effect::Report(_) | Effect::End => {}
        }
    }

    /// A query of the calls to these addresses and of the callers that wait there.
    pub(crate) fn traffic_query(&self, addresses: Vec<ServiceAddress>) -> TrafficQuery {
        let leaders = self.runs.iter().filter_map(|((service, _), active)| match &active.process {
            Process::Child(leader) if !leader.is_reaped() => {
                Some((Arc::clone(leader), service.clone()))
            }
            _ => None,
        });
        let own = |handle: &Arc<()>| u32::try_from(Arc::strong_count(handle) - 1);
        let queued = self.queued.iter();
        let queued = queued.map(|(port, handle)| (*port, own(handle).unwrap_or(u32::MAX)));
        TrafficQuery { leaders: leaders.collect(), addresses, queued: queued.collect() }
    }

    /// Kills what runs left behind. Returns whether nothing of the stack is left.
    pub(crate) fn end(&mut self) -> bool {
        self.runs.retain(|_, active| active.is_active());
        let orphans_ended = orphans::end(&self.settings.marks);
        self.containers.end();
        orphans_ended && self.runs.is_empty()
    }

    /// Whether a signal has stopped a process of a run. The log of the service names it once.
    pub(crate) fn note_stopped(&mut self, service: &Name, run: Run) -> bool {
        let key = (service.clone(), run);
        let Some(ActiveRun { process: Process::Child(leader), .. }) = self.runs.get(&key) else {
            return false;
        };
        let Some(pid) = stopped_of(&pids_of(leader, &Orphans::look())) else {
            self.stopped.remove(&key);
            return false;
        };
        if self.stopped.insert(key) {
            let log = self.log(service);
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            match log.note(run, &stopped_text(pid)) {
                WriteChange::None => {}
                WriteChange::Failed(error) => self.events(service, run).log_trouble(Some(error)),
                WriteChange::Recovered => self.events(service, run).log_trouble(None),
            }
        }
        true
    }

    /// Forwards the messages of all notify sockets that have arrived.
    pub(crate) fn read_notifications(&self) {
        self.runs.values().for_each(|active| active.probes.read_notifications());
    }

    fn accept(&self, service: Name, program: LinkedProgram, wanted: Option<ImageWanted>) {
        let (programs, events) = (Arc::clone(&self.programs), self.events.clone());
        let active = self.runs.values().filter(|active| active.is_active());
        let in_use: SortedSet<PathBuf> = active.map(|active| active.program.clone()).collect();
        let containers = Arc::clone(&self.containers);
        let name = service.clone();
        let keeping = task::spawn_blocking(move || {
            let mut programs = programs.lock().unwrap_or_else(PoisonError::into_inner);
            let path = PathBuf::from(&program.path);
            let accepted = programs.accept(&name, program, &in_use);
            let folder = programs.folder().to_path_buf();
            accepted.map_err(|error| Error::KeepProgram { path, folder, error })
        });
        task::spawn(async move {
            let kept = keeping.await.unwrap_or_else(|error| Err(Error::Task(error)));
            let event = match with_image(&containers, &service, kept, wanted).await {
                Ok(artifact) => Event::Accepted { service, artifact },
                Err(error) => Event::BuildFailed { service, message: error.to_string() },
            };
            let _ = events.send(event);
        });
    }

    fn bind(&mut self, service: Name, ports: &[Port], listen: bool) {
        let event = match self.sockets.bind(&service, ports, listen) {
            Ok(ports) => Event::Bound { service, ports },
            Err(mut others) => {
                others.iter_mut().for_each(|failure| self.name_sibling(failure));
                let failure = others.remove(0);
                Event::BindFailed { service, failure, others }
            }
        };
        let _ = self.events.send(event);
    }

    /// Adds the service to a port holder of this very stack.
    fn name_sibling(&self, failure: &mut BindFailure) {
        let BindFailure::Held { port, holder: Some(holder), .. } = failure else { return };
        let pid = i32::try_from(holder.pid).unwrap_or_default();
        let Some(stack) =
            holder.stack.as_mut().filter(|stack| stack.supervisor == Some(std::process::id()))
        else {
            return;
        };
        let line = proc::ancestry(pid);
        let of_run = self.runs.iter().find_map(|((service, _), active)| match &active.process {
            Process::Child(leader) if line.contains(&leader.id()) => Some(service),
            _ => None,
        });
        stack.service = of_run.or_else(|| self.sockets.listener_of(*port)).cloned();
    }

    fn signal(&self, service: Name, run: Run, signal: Signal) {
        use rustix::process::{Signal as Number, pidfd_send_signal};
        let Some(active) = self.runs.get(&(service, run)) else { return };
        if let Process::Container(handle) = &active.process {
            return handle.send(ContainerSignal::Signal(signal));
        }
        let send = |number| match &active.process {
            Process::Unmanaged | Process::Container(_) => {}
            Process::Child(leader) => self.reaper.signal(leader, number),
            Process::Adopted { pidfd, .. } => {
                let _ = pidfd_send_signal(pidfd, number);
            }
        };
        match signal {
            Signal::Kill => send(Number::KILL),
            Signal::Pause => send(Number::STOP),
            Signal::Resume => send(Number::CONT),
            Signal::Stop(name) => {
                let number = signal_number(&name).unwrap_or(Number::TERM);
                if let Process::Child(leader) = &active.process {
                    return self.reaper.stop(leader, number);
                }
                send(number);
                // A stopped process does not receive it before it continues.
                send(Number::CONT);
            }
        }
    }

    /// Cancels the start of a container. A process starts within a moment, and is signalled then.
    fn cancel_start(&self, service: Name, run: Run) {
        if let Some(active) = self.runs.get(&(service, run))
            && let Process::Container(handle) = &active.process
        {
            handle.send(ContainerSignal::Cancel);
        }
    }

    fn stop_probes(&mut self, service: Name, run: Run) {
        let key = (service, run);
        if let Some(active) = self.runs.get(&key) {
            active.probes.stop();
            if let Process::Unmanaged = active.process {
                self.runs.remove(&key);
            }
        }
    }

    fn probe(&mut self, service: Name, run: Run, context: u64, probes: Vec<PreparedProbe>) {
        let events = self.events(&service, run);
        let command = Command { cwd: "/".to_owned(), context, ..Command::default() };
        let active = ActiveRun::not_spawned(Process::Unmanaged);
        self.start_probes(&active, &events, &command, probes);
        if let Some(before) = self.runs.insert((service, run), active) {
            before.probes.stop();
        }
    }

    /// Starts the probes of a run that was not spawned here.
    pub(crate) fn start_probes(
        &mut self,
        active: &ActiveRun,
        events: &RunEvents,
        command: &Command,
        probes: Vec<PreparedProbe>,
    ) {
        for prepared in probes {
            if let Some(target) = self.target(events, &prepared, command) {
                let listener = ExpectedListener::Any;
                let (index, events) = (prepared.index, events.clone());
                active.probes.tasks.start(PollingProbe { events, index, target, listener });
            } else {
                events.seen(prepared.index, probe::Error::NotStarted);
            }
        }
    }

    /// Forgets runs that have ended, once there are as many runs again as after the last time.
    fn forget_ended(&mut self) {
        if self.runs.len() >= self.forget_at {
            self.runs.retain(|_, active| active.is_active());
            self.forget_at = self.runs.len() * 2 + 16;
        }
    }

    fn spawn(
        &mut self,
        service: Name,
        run: Run,
        command: &Command,
        probes: Vec<PreparedProbe>,
        start_timeout: Duration,
    ) {
        self.forget_ended();
        if command.container.is_none()
            && command.sockets.is_empty()
            && !self.sockets.reclaim(&service)
        {
            let _ = self.events.send(Event::PortsLost { service, run });
            return;
        }
        let started = match &command.container {
            None => self.try_spawn(&service, run, command, probes),
            Some(container) => {
                self.try_start_container(&service, run, command, container, probes, start_timeout)
            }
        };
        if let Err(error) = started {
            self.events(&service, run).start_failed(error);
        }
    }

    pub(crate) fn log(&mut self, service: &Name) -> Arc<Mutex<LogFile>> {
        let logs = self.settings.state.join("logs");
        let new = || Arc::new(Mutex::new(LogFile::new(&logs, service)));
        Arc::clone(self.logs.entry(service.clone()).or_insert_with(new))
    }

    /// The mark of what a run starts.
    pub(crate) fn mark_of(&self, events: &RunEvents) -> Mark {
        Mark::of_run(self.settings.marks.newest(), &events.service, events.run)
    }

    pub(crate) fn events(&self, service: &Name, run: Run) -> RunEvents {
        RunEvents { events: self.events.clone(), service: service.clone(), run }
    }
}

/// The artifact, with its image if one is wanted.
async fn with_image(
    containers: &StackContainers,
    service: &Name,
    kept: Result<Artifact, Error>,
    wanted: Option<ImageWanted>,
) -> Result<Artifact, Error> {
    let mut artifact = kept?;
    if let Some(wanted) = wanted {
        artifact.image =
            Some(containers.image(service, &artifact, &wanted).await.map_err(Error::Container)?);
    }
    Ok(artifact)
}

/// A short path, because the paths of Unix sockets are limited.
pub(crate) fn socket_path(runtime: &Path, number: u64) -> PathBuf {
    runtime.join(format!("n{number}"))
}

/// Kills what runs left behind in sessions of their own.
impl Drop for World {
    fn drop(&mut self) {
        self.end();
    }
}

/// A signal by name, with or without `SIG`.
fn signal_number(name: &str) -> Option<rustix::process::Signal> {
    use rustix::process::Signal as Number;
    Some(match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => Number::HUP,
        "INT" => Number::INT,
        "QUIT" => Number::QUIT,
        "ABRT" => Number::ABORT,
        "KILL" => Number::KILL,
        "USR1" => Number::USR1,
        "USR2" => Number::USR2,
        "ALRM" => Number::ALARM,
        "TERM" => Number::TERM,
        "CONT" => Number::CONT,
        "WINCH" => Number::WINCH,
        _ => return None,
    })
}

/// Makes a write beyond the file size limit an error; by default it kills the process.
fn survive_limits_of_size() {
    // SAFETY: an ignored signal runs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
