//! Finding out whether a service is ready by command_target it: `http`, `tcp` and `command`.
//!
//! A probe asks again, 1 ms later at first and 250 ms in the end, until it passes or
//! is stopped; when to give up is the reducer's business. What it saw instead is told
//! when it changes. The probes that only wait (`notify`, `log`) are elsewhere.

pub(crate) mod http;

use std::ffi::CString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use xtask_core::stack::Exit;
use xtask_core::terms::duration::spell;
use xtask_core::terms::host::callable_address;

use crate::effects::RunEvents;
use crate::effects::exit::KillOnDrop;
use crate::effects::probe::http::{Queued, Request};
use crate::effects::spawn::SpawnRequest;
use crate::effects::{exit, spawn};
use crate::system::group::Leader;
use crate::system::{listeners, port_holder, socket};

/// The first pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How long one attempt to connect and get an answer may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a probing command may run.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// A probe that asks.
#[derive(Debug)]
pub(crate) struct PollingProbe {
    /// Where its news goes.
    pub(crate) events: RunEvents,
    /// Its index.
    pub(crate) index: usize,
    /// What it asks.
    pub(crate) target: Target,
    /// Whose answer counts.
    pub(crate) listener: ExpectedListener,
}

/// What a probe asks.
#[derive(Debug)]
pub(crate) enum Target {
    /// For an answer with one of these statuses.
    Http {
        /// Whom it asks; a name is looked up for each attempt.
        host: String,
        /// See `host`.
        port: u16,
        /// The request.
        request: Request,
        /// The statuses that count.
        status: Vec<u16>,
        /// The first attempt, sent already.
        queued: Option<Queued>,
    },
    /// For an accepted connection.
    Tcp {
        /// Where; a name is looked up for each attempt.
        host: String,
        /// See `host`.
        port: u16,
    },
    /// A command for exit code 0.
    Command(CommandTarget),
    /// Nothing: it can never pass, and says why.
    Impossible(String),
}

/// A command that is run as a probe.
#[derive(Debug)]
pub(crate) struct CommandTarget {
    /// The program's path.
    pub(crate) program: CString,
    /// Its arguments, the first being its own name.
    pub(crate) args: Vec<CString>,
    /// Its environment.
    pub(crate) env: Vec<CString>,
    /// Its folder.
    pub(crate) cwd: CString,
    /// The limit of open files to go back to.
    pub(crate) open_files: Option<libc::rlimit>,
}

/// Whose listener makes an answer count.
#[derive(Clone, Debug)]
pub(crate) enum ExpectedListener {
    /// Anybody's: the supervisor itself holds the socket, or nobody is managed.
    Any,
    /// One of this run's group.
    Group(Arc<Leader>),
    /// One in a container, by the container's first process and the number inside.
    Container { init: u32, port: u16 },
}

/// The probing tasks of one run, which end together.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProbeTasks(Arc<Mutex<Option<Vec<AbortHandle>>>>);

impl ProbeTasks {
    /// No tasks yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    /// Starts a probe, unless they were stopped before.
    pub(crate) fn start(&self, probe: PollingProbe) {
        if let Some(tasks) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            tasks.push(tokio::spawn(probe.run()).abort_handle());
        }
    }

    /// Ends them, and lets none start any more.
    pub(crate) fn stop(&self) {
        let tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        for task in tasks.unwrap_or_default() {
            task.abort();
        }
    }
}

impl PollingProbe {
    /// Asks until the answer is right.
    pub(crate) async fn run(mut self) {
        let mut last = String::new();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.attempt().await {
                Ok(()) => return self.events.passed(self.index),
                Err(seen) if seen != last => {
                    self.events.seen(self.index, seen.clone());
                    last = seen;
                }
                Err(_) => {}
            }
            if matches!(self.target, Target::Impossible(_)) {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 5 / 4).min(LONGEST_PAUSE);
        }
    }

    /// One attempt; an error is what was seen instead.
    async fn attempt(&mut self) -> Result<(), String> {
        let address = match &mut self.target {
            Target::Impossible(why) => return Err(why.clone()),
            Target::Command(command_target) => return command_target.ask().await,
            Target::Tcp { host, port } => {
                let address = within_timeout(lookup(host, *port)).await?;
                within_timeout(TcpStream::connect(address)).await?;
                address
            }
            Target::Http { host, port, request, status, queued } => {
                let address = within_timeout(lookup(host, *port)).await?;
                let answered = match queued.take() {
                    Some(queued) => request.answer(queued).await.map_err(|error| words(&error))?,
                    None => within_timeout(request.get(address)).await?,
                };
                if !status.contains(&answered) {
                    return Err(format!("status {answered}"));
                }
                address
            }
        };
        let listener = self.listener.clone();
        // It may look at every process of the machine.
        let checked = tokio::task::spawn_blocking(move || listener.check(address)).await;
        checked.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl ExpectedListener {
    /// Whether an answer at `address` counts; an error says who gave it.
    pub(crate) fn check(&self, address: SocketAddr) -> Result<(), String> {
        let leader = match self {
            Self::Any => return Ok(()),
            Self::Container { init, port } => {
                return match listeners::listens_in(*init, *port) {
                    Some(false) => Err("connection refused".to_owned()),
                    Some(true) | None => Ok(()),
                };
            }
            Self::Group(leader) => leader,
        };
        if port_holder::is_in_group(address, leader.pid().as_raw_nonzero().get()) {
            return Ok(());
        }
        let port = address.port();
        match port_holder::of(address) {
            Some(holder) => Err(format!(
                "port {port} is served by another program: pid {} (`{}`) of user `{}`",
                holder.pid, holder.command, holder.user
            )),
            // A program that has more rights than we do shows nobody what it holds.
            None if port_holder::hides_in_group(leader.pid().as_raw_nonzero().get()) => Ok(()),
            None => Err(format!("port {port} is served by another program")),
        }
    }
}

impl CommandTarget {
    async fn ask(&self) -> Result<(), String> {
        let name = self.program.to_string_lossy();
        match tokio::time::timeout(COMMAND_TIMEOUT, self.exit()).await {
            Err(_) => Err(format!("did not end within {}", spell(COMMAND_TIMEOUT))),
            Ok(Err(error)) => Err(format!("cannot run `{name}`: {error}")),
            Ok(Ok(Exit::Code(0))) => Ok(()),
            Ok(Ok(Exit::Code(code))) => Err(format!("exited with status {code}")),
            Ok(Ok(Exit::Signal(signal))) => Err(format!("ended by signal {signal}")),
            Ok(Ok(Exit::Unknown)) => Err("ended, and nobody told how".to_owned()),
        }
    }

    async fn exit(&self) -> io::Result<Exit> {
        let null = std::fs::File::options().write(true).open("/dev/null")?;
        let spawned = spawn::start(&SpawnRequest {
            program: self.program.clone(),
            args: self.args.clone(),
            env: self.env.clone(),
            pid_variables: &[],
            cwd: self.cwd.clone(),
            output: [null.as_fd(), null.as_fd()],
            sockets: Vec::new(),
            open_files: self.open_files,
        })?;
        let child = KillOnDrop(Arc::new(spawned.leader));
        if let Some(failure) = exit::exec_failure(spawned.exec_report).await? {
            return Err(io::Error::from_raw_os_error(failure.errno));
        }
        Ok(exit::wait_for_exit(&child.0).await)
    }
}

/// Where a host is called.
async fn lookup(host: &str, port: u16) -> io::Result<SocketAddr> {
    let unknown = |error: io::Error| io::Error::other(format!("cannot resolve `{host}`: {error}"));
    socket::lookup(host, port).await.map(callable_address).map_err(unknown)
}

async fn within_timeout<T>(call: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(|error| words(&error)),
        Err(_) => Err(format!("no answer within {}", spell(CALL_TIMEOUT))),
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

/// Where a program of that name is, for somebody with this `PATH` in this folder.
///
/// # Errors
/// One line that names the program.
pub(crate) fn find_program(
    name: &str,
    path: Option<&std::ffi::OsStr>,
    cwd: &str,
) -> Result<PathBuf, String> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    which::which_in(name, path, cwd)
        .map_err(|_| format!("program `{name}` is in no folder of `PATH`"))
}
