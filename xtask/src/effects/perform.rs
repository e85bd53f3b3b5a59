//! The one place where effects become deeds.
//!
//! [`World::perform`] never waits: what takes time is a task that ends in an event.
//! Tasks are `Send` and started with `tokio::spawn`; the runtime must be a
//! current-thread one and run on the process's main thread, because children ask to
//! die with the thread that forked them. Reports, and the end of the supervisor, are
//! the driver's.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use xtask_core::name::Name;
use xtask_core::plan::{Port, Probe as Kind};
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::{Command, Effect, Event, Run, Signal};

use super::Outlet;
use super::accept::Programs;
use super::environment::{Additions, Environment};
use super::exit::{Life, stop_probes};
use super::group::{self, Family, Leader};
use super::http::{self, Request};
use super::log_file::LogFile;
use super::logs::{Awaited, AwaitedLines, Pipe, Stream};
use super::notify::NotifySocket;
use super::probe::{Asking, ListenerOf, Probe, Question, Tasks, find_program};
use super::sockets::{self, Sockets};
use super::spawn::{self, Launch};

/// The longest path that the address of a Unix socket can hold, in bytes.
const LONGEST_SOCKET_PATH: usize = 103;

/// How long a zombie that nobody in this program waits for is left alone.
const ORPHAN_PAUSE: Duration = Duration::from_secs(1);

/// Where a world keeps its files, and how its children are known.
#[derive(Clone, Debug)]
pub(crate) struct WorldSettings {
    /// The stack's state folder: programs and logs go below it.
    pub(crate) state: PathBuf,
    /// A folder for sockets that only this user can enter; a short path.
    pub(crate) runtime: PathBuf,
    /// The value of `XTASK_MARK` in every child's environment.
    pub(crate) mark: String,
}

/// Processes, sockets, probes, logs and programs of one stack.
#[derive(Debug)]
pub(crate) struct World {
    settings: WorldSettings,
    events: UnboundedSender<Event>,
    environment: Environment,
    family: Family,
    pub(super) sockets: Sockets,
    programs: Arc<Mutex<Programs>>,
    logs: BTreeMap<Name, Arc<Mutex<LogFile>>>,
    runs: BTreeMap<(Name, Run), Live>,
    notify_sockets: u64,
    open_files: Option<libc::rlimit>,
}

/// A run that can still be signalled, or a probed service that has no process.
#[derive(Debug)]
struct Live {
    leader: Option<Arc<Leader>>,
    program: PathBuf,
    tasks: Tasks,
    awaited: AwaitedLines,
    /// The run owns it, and removes it in its end.
    notify: Weak<NotifySocket>,
}

impl World {
    /// A world without services. To be called inside the runtime.
    ///
    /// # Errors
    /// When a folder cannot be made, the runtime folder's path is too long for
    /// sockets, or signals cannot be received.
    pub(crate) fn new(settings: WorldSettings, events: UnboundedSender<Event>) -> io::Result<Self> {
        std::fs::create_dir_all(settings.state.join("logs"))?;
        std::fs::create_dir_all(&settings.runtime)?;
        if socket_path(&settings.runtime, u64::from(u32::MAX)).as_os_str().len()
            > LONGEST_SOCKET_PATH
        {
            let folder = settings.runtime.display();
            return Err(io::Error::other(format!("`{folder}` is too long a path for sockets")));
        }
        let family = Family::default();
        adopt_orphans(&family)?;
        let programs = Programs::new(settings.state.join("programs"))?;
        Ok(Self {
            environment: Environment::of_this_process(&settings.mark),
            programs: Arc::new(Mutex::new(programs)),
            settings,
            events,
            family,
            sockets: Sockets::default(),
            logs: BTreeMap::new(),
            runs: BTreeMap::new(),
            notify_sockets: 0,
            open_files: raise_open_files(),
        })
    }

    /// Does what the reducer asks. What comes of it arrives as events.
    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Accept { service, path } => self.accept(service, PathBuf::from(path)),
            Effect::Bind { service, ports, listen } => self.bind(service, &ports, listen),
            Effect::Unbind { service } => self.sockets.unbind(&service),
            Effect::Spawn { service, run, command, probes } => {
                self.spawn(service, run, &command, probes);
            }
            Effect::Probe { service, run, probes } => self.probe(service, run, probes),
            Effect::StopProbes { service, run } => self.stop_probes(service, run),
            Effect::Signal { service, run, signal } => self.signal(service, run, &signal),
            Effect::Report(_) | Effect::End => {}
        }
    }

    /// Kills the present run of a service, as a crash would: a fault for tests.
    pub(crate) fn kill_run(&self, service: &Name) {
        let runs = self.runs.range((service.clone(), 0)..=(service.clone(), Run::MAX));
        let mut leaders = runs.filter_map(|(_, live)| live.leader.as_ref());
        if let Some(leader) = leaders.find(|leader| matches!(leader.exit(), Ok(None))) {
            leader.signal(rustix::process::Signal::KILL);
        }
    }

    fn accept(&self, service: Name, path: PathBuf) {
        let (programs, events) = (Arc::clone(&self.programs), self.events.clone());
        let in_use: BTreeSet<PathBuf> = self
            .runs
            .values()
            .filter(|live| live.is_alive())
            .map(|live| live.program.clone())
            .collect();
        tokio::task::spawn_blocking(move || {
            let mut programs = programs.lock().unwrap_or_else(PoisonError::into_inner);
            let event = match programs.accept(&service, &path, &in_use) {
                Ok(artifact) => Event::Accepted { service, artifact },
                Err(message) => Event::BuildFailed { service, message },
            };
            let _ = events.send(event);
        });
    }

    fn bind(&mut self, service: Name, ports: &[Port], listen: bool) {
        let event = match self.sockets.bind(&service, ports, listen) {
            Ok(ports) => Event::Bound { service, ports },
            Err(failure) => Event::BindFailed { service, failure },
        };
        let _ = self.events.send(event);
    }

    fn signal(&self, service: Name, run: Run, signal: &Signal) {
        use rustix::process::Signal as Number;
        let Some(live) = self.runs.get(&(service, run)) else { return };
        let Some(leader) = &live.leader else { return };
        match signal {
            Signal::Kill => leader.signal(Number::KILL),
            Signal::Stop(name) => {
                leader.signal(number(name).unwrap_or(Number::TERM));
                // Whoever is suspended would not see it before it is woken.
                leader.signal(Number::CONT);
            }
        }
    }

    fn stop_probes(&mut self, service: Name, run: Run) {
        let key = (service, run);
        if let Some(live) = self.runs.get(&key) {
            stop_probes(&live.tasks, &live.awaited, live.notify.upgrade().as_deref());
            if live.leader.is_none() {
                self.runs.remove(&key);
            }
        }
    }

    fn probe(&mut self, service: Name, run: Run, probes: Vec<PreparedProbe>) {
        let outlet = self.outlet(&service, run);
        let command = Command {
            program: String::new(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            sockets: Vec::new(),
            notify: false,
            watchdog_us: None,
        };
        let live = Live::new(None, PathBuf::new());
        for prepared in probes {
            if let Some(question) = self.question(&prepared, &command, None) {
                let listener = ListenerOf::Anyone;
                let (index, outlet) = (prepared.index, outlet.clone());
                live.tasks.start(Probe { outlet, index, question, listener });
            } else {
                outlet.seen(prepared.index, "only a service that is started can do this".into());
            }
        }
        self.runs.insert((service, run), live);
    }

    fn spawn(&mut self, service: Name, run: Run, command: &Command, probes: Vec<PreparedProbe>) {
        self.runs.retain(|_, live| live.is_alive());
        if let Err(error) = self.try_spawn(&service, run, command, probes) {
            self.outlet(&service, run).start_failed(error);
        }
    }

    fn try_spawn(
        &mut self,
        service: &Name,
        run: Run,
        command: &Command,
        probes: Vec<PreparedProbe>,
    ) -> Result<(), String> {
        let outlet = self.outlet(service, run);
        let system = |error: io::Error| format!("cannot start `{}`: {error}", command.program);
        let program =
            find_program(&command.program, self.environment.get(command, "PATH"), &command.cwd)?;

        let notify = self.notify_socket(&outlet, command, &probes).map_err(system)?;
        let awaited = AwaitedLines::default();
        let log = self.log(service);
        let (out, out_end) = spawn::close_on_exec_pipe().map_err(system)?;
        let (err, err_end) = spawn::close_on_exec_pipe().map_err(system)?;
        let pipe = |fd, stream| {
            Pipe::new(fd, stream, outlet.clone(), Arc::clone(&log), Arc::clone(&awaited))
        };
        let pipes =
            [pipe(out, Stream::Out).map_err(system)?, pipe(err, Stream::Err).map_err(system)?];

        let additions = Additions { notify: notify.as_deref().map(NotifySocket::path) };
        let env = self.environment.of(command, &additions);
        // Before the process is there, so that the first accept answers.
        let questions = self.questions(&outlet, probes, command, &env, &awaited);

        if command.sockets.is_empty() {
            self.sockets.release(service);
        }
        let sockets = self
            .sockets
            .inherited(service, &command.sockets)
            .ok_or_else(|| format!("`{service}` inherits sockets that are not bound"))?;
        let forked = spawn::start(&Launch {
            program: text(program.as_os_str())?,
            args: arguments(&command.program, &command.args)?,
            env,
            pid_variables: pid_variables(command),
            cwd: text(OsStr::new(&command.cwd))?,
            output: [out_end.as_fd(), err_end.as_fd()],
            sockets,
            open_files: self.open_files,
        })
        .map_err(system)?;

        let leader = Arc::new(Leader::new(forked.pid, self.family.clone()));
        let live = Live {
            awaited: Arc::clone(&awaited),
            notify: notify.as_ref().map(Arc::downgrade).unwrap_or_default(),
            ..Live::new(Some(Arc::clone(&leader)), program.clone())
        };
        let probes = questions
            .into_iter()
            .map(|(index, own, question)| {
                let listener = if own && cfg!(target_os = "linux") {
                    ListenerOf::Group(Arc::clone(&leader))
                } else {
                    ListenerOf::Anyone
                };
                Probe { outlet: outlet.clone(), index, question, listener }
            })
            .collect();
        let life = Life {
            outlet,
            leader,
            outcome: forked.outcome,
            program: program.to_string_lossy().into_owned(),
            cwd: command.cwd.clone(),
            pipes,
            notify,
            awaited,
            probes,
            tasks: live.tasks.clone(),
        };
        tokio::spawn(life.run());
        self.runs.insert((service.clone(), run), live);
        Ok(())
    }

    /// The probes of a run that ask: index, whether the run must listen itself, and
    /// the question. Log probes are entered into `awaited` instead.
    fn questions(
        &self,
        outlet: &Outlet,
        probes: Vec<PreparedProbe>,
        command: &Command,
        env: &[CString],
        awaited: &AwaitedLines,
    ) -> Vec<(usize, bool, Question)> {
        let mut questions = Vec::new();
        for prepared in probes {
            if let Kind::Log { pattern } = &prepared.probe {
                match regex::bytes::Regex::new(pattern) {
                    Ok(pattern) => awaited
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(Awaited { probe: prepared.index, pattern }),
                    Err(error) => {
                        let why = format!("`{pattern}` is no regular expression: {error}");
                        questions.push((prepared.index, false, Question::Impossible(why)));
                    }
                }
            } else if let Some(question) = self.question(&prepared, command, Some(env)) {
                let own = prepared.address.as_ref().is_some_and(|(_, port)| {
                    !prepared.queued && !self.sockets.listens(&outlet.service, *port)
                });
                questions.push((prepared.index, own, question));
            }
        }
        questions
    }

    /// What a prepared probe asks; none for those that only wait.
    fn question(
        &self,
        prepared: &PreparedProbe,
        command: &Command,
        env: Option<&[CString]>,
    ) -> Option<Question> {
        let address = || {
            let (host, port) = prepared.address.as_ref().ok_or("no address to probe")?;
            sockets::resolve(host, *port)
                .map(|address| (address, host))
                .map_err(|error| format!("cannot resolve `{host}`: {error}"))
        };
        let question = match &prepared.probe {
            Kind::Notify | Kind::Log { .. } => return None,
            Kind::Http { path, status, .. } => address().map(|(address, host)| {
                let request = Request::new(address, host, path);
                let queued = prepared.queued.then(|| request.queue().ok()).flatten();
                Question::Http { request, status: status.clone(), queued }
            }),
            Kind::Tcp { .. } => {
                address().map(|(address, _)| Question::Tcp { address: http::callable(address) })
            }
            Kind::Command { .. } => {
                let own = || self.environment.of(command, &Additions::default());
                self.asking(prepared, command, env.map_or_else(own, <[CString]>::to_vec))
            }
        };
        Some(question.unwrap_or_else(Question::Impossible))
    }

    fn asking(
        &self,
        prepared: &PreparedProbe,
        command: &Command,
        env: Vec<CString>,
    ) -> Result<Question, String> {
        let (name, args) = prepared.command.split_first().ok_or("an empty command")?;
        let program = find_program(name, self.environment.get(command, "PATH"), &command.cwd)?;
        Ok(Question::Command(Asking {
            program: text(program.as_os_str())?,
            args: arguments(name, args)?,
            env,
            cwd: text(OsStr::new(&command.cwd))?,
            family: self.family.clone(),
        }))
    }

    fn notify_socket(
        &mut self,
        outlet: &Outlet,
        command: &Command,
        probes: &[PreparedProbe],
    ) -> io::Result<Option<Arc<NotifySocket>>> {
        if !command.notify {
            return Ok(None);
        }
        let waits = |prepared: &&PreparedProbe| matches!(prepared.probe, Kind::Notify);
        let ready = probes.iter().filter(waits).map(|prepared| prepared.index).collect();
        self.notify_sockets += 1;
        let path = socket_path(&self.settings.runtime, self.notify_sockets);
        NotifySocket::bind(path, outlet.clone(), ready).map(|socket| Some(Arc::new(socket)))
    }

    fn log(&mut self, service: &Name) -> Arc<Mutex<LogFile>> {
        let logs = self.settings.state.join("logs");
        let new = || Arc::new(Mutex::new(LogFile::new(&logs, service)));
        Arc::clone(self.logs.entry(service.clone()).or_insert_with(new))
    }

    fn outlet(&self, service: &Name, run: Run) -> Outlet {
        Outlet { events: self.events.clone(), service: service.clone(), run }
    }
}

impl Live {
    fn new(leader: Option<Arc<Leader>>, program: PathBuf) -> Self {
        Self {
            leader,
            program,
            tasks: Tasks::new(),
            awaited: AwaitedLines::default(),
            notify: Weak::new(),
        }
    }

    /// Whether it can still be signalled, or is probed without a process.
    fn is_alive(&self) -> bool {
        self.leader.as_ref().is_none_or(|leader| !leader.is_reaped())
    }
}

/// Short, as addresses of Unix sockets are.
fn socket_path(runtime: &Path, number: u64) -> PathBuf {
    runtime.join(format!("n{number}"))
}

fn pid_variables(command: &Command) -> &'static [&'static str] {
    match (command.sockets.is_empty(), command.watchdog_us) {
        (true, None) => &[],
        (false, None) => &["LISTEN_PID"],
        (true, Some(_)) => &["WATCHDOG_PID"],
        (false, Some(_)) => &["LISTEN_PID", "WATCHDOG_PID"],
    }
}

fn arguments(program: &str, args: &[String]) -> Result<Vec<CString>, String> {
    std::iter::once(program)
        .chain(args.iter().map(String::as_str))
        .map(|argument| text(OsStr::new(argument)))
        .collect()
}

fn text(text: &OsStr) -> Result<CString, String> {
    CString::new(text.as_bytes())
        .map_err(|_| format!("`{}` holds a NUL byte", text.to_string_lossy()))
}

/// The number of a signal by name, with or without `SIG`.
fn number(name: &str) -> Option<rustix::process::Signal> {
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

/// Becomes the parent of whatever services leave behind, and reaps it. Children that
/// other parts of this program started are theirs to wait for: a zombie is only taken
/// when it has been left alone for [`ORPHAN_PAUSE`].
fn adopt_orphans(family: &Family) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())?;
    let family = family.clone();
    tokio::spawn(async move {
        while ended.recv().await.is_some() {
            let mut known = BTreeSet::new();
            loop {
                known = group::reap_orphans(&family, &known);
                if known.is_empty() {
                    break;
                }
                tokio::time::sleep(ORPHAN_PAUSE).await;
            }
        }
    });
    Ok(())
}

/// Raises the limit of open files, as every run needs half a dozen. Returns the one
/// that children go back to.
fn raise_open_files() -> Option<libc::rlimit> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    setrlimit(Resource::Nofile, raised).ok()?;
    let limit =
        |limit: Option<u64>| limit.map_or(libc::RLIM_INFINITY, |limit| limit as libc::rlim_t);
    Some(libc::rlimit { rlim_cur: limit(before.current), rlim_max: limit(before.maximum) })
}
