//! Polls whether a service is ready: `http`, `tcp` and `command` probes.
//!
//! A probe repeats until it passes or is stopped, after 0.4 ms at first and 250 ms in the end. The
//! reducer decides when to give up. What an attempt saw is reported when it changes. The passive
//! probes, `notify` and `log`, are in `process::notify` and `logs::lines`.

mod error;
pub(crate) mod http;
pub(crate) mod question;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::task::JoinSet;
use xtask_control::process_stat::ProcessStat;
use xtask_core::stack::Exit;
use xtask_core::terms::host::callable_address;

pub(crate) use crate::effects::probe::error::Error;

use crate::effects::RunEvents;
use crate::effects::exit::{KillOnDrop, wait_for_exit};
use crate::effects::probe::http::{Queued, Request};
use crate::effects::spawn::{self, Exec, SpawnRequest};
use crate::system::group::Leader;
use crate::system::mark::Mark;
use crate::system::pause::Timer;
use crate::system::task;
use crate::system::{port_holder, proc, socket, tcp};

/// The first and the longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_micros(400), Duration::from_millis(250));

/// How long a refusal is not reported: nearly every program refuses the first attempt.
const UNREPORTED: Duration = Duration::from_millis(4);

/// How long one attempt to connect and get an answer may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a program must have been running before a listener outside of its process group counts.
/// A program that goes into the background exits before.
const BACKGROUND_TIME: Duration = Duration::from_secs(2);

const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct PollingProbe {
    pub(crate) events: RunEvents,
    pub(crate) index: usize,
    pub(crate) target: Target,
    pub(crate) listener: ExpectedListener,
}

/// What a probe polls, and what makes it pass.
#[derive(Debug)]
pub(crate) enum Target {
    /// An answer with one of these statuses, or any 2xx if there are none. The host is resolved for
    /// each attempt.
    Http {
        host: String,
        port: u16,
        request: Request,
        status: Vec<u16>,
        /// The first attempt, which was already sent.
        queued: Option<Queued>,
    },
    /// An accepted connection. The host is resolved for each attempt.
    Tcp {
        host: String,
        port: u16,
    },
    Command(Exec),
    /// The probe can never pass.
    Invalid(Error),
}

/// Which process must listen for an answer to count.
#[derive(Clone, Debug)]
pub(crate) enum ExpectedListener {
    /// Any process: the supervisor holds the socket, or the service is not managed.
    Any,
    /// A member of the run.
    Run(Arc<Leader>),
    /// A process in a container, by the first process of the container and the port inside.
    Container { init: u32, port: u16 },
}

/// The tasks of the probes of one run, which are stopped together.
#[derive(Clone, Debug)]
pub(crate) struct ProbeTasks(Arc<Mutex<Option<JoinSet<()>>>>);

impl ProbeTasks {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }

    /// Starts a probe, unless the tasks were stopped before.
    pub(crate) fn start(&self, probe: PollingProbe) {
        if let Some(tasks) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            tasks.spawn(task::boxed(probe.run()));
        }
    }

    /// Stops all tasks. No probe starts after this.
    pub(crate) fn stop(&self) {
        // The drop aborts them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl PollingProbe {
    pub(crate) async fn run(mut self) {
        if let Target::Invalid(error) = &self.target {
            return self.events.seen(self.index, error);
        }
        let mut last = String::new();
        let began = Instant::now();
        let mut timer = Timer::default();
        let (mut pause, longest) = PAUSES;
        loop {
            let seen = match self.attempt().await {
                Ok(()) => return self.events.passed(self.index),
                Err(Error::Refused) if began.elapsed() < UNREPORTED => None,
                Err(error) => Some(error.to_string()),
            };
            if let Some(seen) = seen.filter(|seen| *seen != last) {
                self.events.seen(self.index, &seen);
                last = seen;
            }
            timer.pause(pause).await;
            pause = (pause * 5 / 4).min(longest);
        }
    }

    async fn attempt(&mut self) -> Result<(), Error> {
        let address = match &mut self.target {
            Target::Invalid(_) => return Ok(()),
            Target::Command(command) => return attempt_command(command).await,
            Target::Tcp { host, port } => {
                let address = within_timeout(resolve(host, *port)).await?;
                let stream = within_timeout(http::connect(address)).await?;
                // A server that greets its caller is heard out.
                let _ = SockRef::from(&stream).shutdown(Shutdown::Write);
                task::spawn(http::finish(stream));
                address
            }
            Target::Http { host, port, request, status, queued } => {
                let address = within_timeout(resolve(host, *port)).await?;
                let answered = match queued.take() {
                    Some(queued) => request.answer(queued).await?,
                    None => within_timeout(request.get(address)).await?,
                };
                if !is_expected(status, answered) {
                    return Err(Error::Status(answered));
                }
                address
            }
        };
        if self.listener.is_at(address) {
            return Ok(());
        }
        let listener = self.listener.clone();
        // The check may read every process of the machine.
        task::spawn_blocking(move || listener.check(address)).await?
    }
}

impl ExpectedListener {
    /// Whether the expected process listens at `address`, as far as a few system calls show it.
    fn is_at(&self, address: SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Run(leader) => {
                port_holder::is_held_by(leader, address) && is_in_group(leader.id(), leader)
            }
            Self::Container { .. } => false,
        }
    }

    /// Checks that the expected process listens at `address`.
    pub(crate) fn check(&self, address: SocketAddr) -> Result<(), Error> {
        let leader = match self {
            Self::Any => return Ok(()),
            Self::Container { init, port } => {
                return match tcp::listens_in(*init, *port) {
                    Some(false) => Err(Error::Refused),
                    Some(true) | None => Ok(()),
                };
            }
            Self::Run(leader) => leader,
        };
        if let Some(pid) = port_holder::member_at(address, leader) {
            let is_young = || proc::age(leader.id()).is_none_or(|age| age < BACKGROUND_TIME);
            let is_background = !is_in_group(pid, leader) && is_young();
            return if is_background { Err(Error::Background(pid)) } else { Ok(()) };
        }
        match port_holder::of(address) {
            Some(holder) => Err(Error::OtherListener { port: address.port(), holder }),
            // A member with more rights than this process hides its sockets.
            None if port_holder::hides_sockets(leader) => Ok(()),
            None => Err(Error::HiddenListener(address.port())),
        }
    }
}

fn is_in_group(pid: i32, leader: &Leader) -> bool {
    ProcessStat::of(pid).is_some_and(|stat| stat.group == leader.id())
}

async fn attempt_command(command: &Exec) -> Result<(), Error> {
    let exit = tokio::time::timeout(COMMAND_TIMEOUT, run(command));
    let failed = |error| {
        let program = command.program.to_string_lossy().into_owned();
        Error::Command { program, error }
    };
    match exit.await.map_err(|_| Error::CommandTimeout)?.map_err(failed)? {
        Exit::Code(0) => Ok(()),
        exit => Err(Error::Exit(exit)),
    }
}

async fn run(exec: &Exec) -> io::Result<Exit> {
    let null = std::fs::File::options().write(true).open("/dev/null")?;
    let output = [null.as_fd(), null.as_fd()];
    let leader = spawn::start(&SpawnRequest {
        exec,
        mark: Mark::Absent,
        pid_variables: &[],
        input: None,
        output,
        sockets: Vec::new(),
    });
    let child = KillOnDrop(Arc::new(leader.map_err(|failure| failure.error)?));
    Ok(wait_for_exit(&child.0).await)
}

/// Whether a status is one of these, or any 2xx if there are none.
fn is_expected(statuses: &[u16], answered: u16) -> bool {
    match statuses {
        [] => (200..300).contains(&answered),
        listed => listed.contains(&answered),
    }
}

/// The address at which to call a host.
async fn resolve(host: &str, port: u16) -> Result<SocketAddr, Error> {
    match socket::lookup(host, port).await {
        Ok(address) => Ok(callable_address(address)),
        Err(error) => Err(Error::Resolve { host: host.to_owned(), error }),
    }
}

async fn within_timeout<T, E: Into<Error>>(
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    let answered = tokio::time::timeout(CALL_TIMEOUT, call).await;
    answered.map_err(|_| Error::Timeout(CALL_TIMEOUT))?.map_err(Into::into)
}
