//! A connection to a supervisor: calls and their answers, and changes as they come.
//!
//! It finds a running supervisor and never starts one.

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, test_kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use xtask_core::snapshot::Snapshot;

use crate::paths::{Endpoint, StackPaths};
use crate::protocol::{Answer, Call, Reply, Request, VERSION};

/// What can go wrong between a client and a supervisor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system's words on the socket.
    #[error("the control socket `{path}` failed")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else listens where the supervisor should.
    #[error("the control socket `{path}` belongs to another user, number {user}")]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// The number of the user.
        user: u32,
    },
    /// The supervisor lives, and its socket is gone: with `XDG_RUNTIME_DIR`, most likely,
    /// when the user's last session ended.
    #[error(
        "supervisor {pid} of stack `{stack}` cannot be reached, as its socket `{socket}` is gone; \
         `kill {pid}` stops the stack in order"
    )]
    Unreachable {
        /// The supervisor's process.
        pid: u32,
        /// The stack.
        stack: String,
        /// Where the socket was.
        socket: PathBuf,
    },
    /// The supervisor is gone, or went away in the middle of a call.
    #[error("the supervisor went away")]
    Gone,
    /// The supervisor said no.
    #[error("{message}")]
    Refused {
        /// Its words.
        message: String,
    },
    /// The supervisor said something else than the protocol allows.
    #[error("the supervisor answered with something unexpected: {what}")]
    Unexpected {
        /// What it said, cut short.
        what: String,
    },
    /// Nothing is running where something was asked for.
    #[error("nothing is running as stack `{stack}`")]
    NothingRuns {
        /// The stack.
        stack: String,
    },
    /// There is no such service in the stack.
    #[error("no service `{service}` in stack `{stack}`")]
    UnknownService {
        /// The name asked for.
        service: String,
        /// The stack.
        stack: String,
    },
    /// A service has no address.
    #[error("service `{service}` has no address")]
    NoAddress {
        /// The service.
        service: String,
    },
    /// A service will not get ready.
    #[error("service `{service}` is {phase}: {reason}")]
    NotReady {
        /// The service.
        service: String,
        /// Its phase.
        phase: String,
        /// Why.
        reason: String,
    },
    /// A file or variable that describes the stack cannot be used.
    #[error("cannot read `{path}`")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// An open connection to a supervisor.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    socket: PathBuf,
    /// The line that is being received; kept here so that a cancelled wait loses nothing.
    partial: Vec<u8>,
    last_id: u64,
    /// Answers that came while another one was waited for.
    backlog: VecDeque<Answer>,
}

impl Connection {
    /// Connects to the supervisor of a stack; none if nothing runs there.
    ///
    /// # Errors
    /// When a supervisor is there and cannot be reached. One that has just gone is none.
    pub async fn open(paths: &StackPaths) -> Result<Option<Self>, Error> {
        let Some(endpoint) = paths.read_endpoint() else { return Ok(None) };
        match UnixStream::connect(&endpoint.socket).await {
            Ok(stream) => match stream.peer_cred() {
                // It is told everything that the plan sets, secrets too.
                Ok(peer) if peer.uid() != rustix::process::geteuid().as_raw() => {
                    Err(Error::Foreign { path: endpoint.socket, user: peer.uid() })
                }
                Ok(_) => Ok(Some(Self::from_stream(stream, endpoint.socket))),
                Err(source) => Err(Error::Socket { path: endpoint.socket, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_alive(paths, &endpoint) => {
                Err(Error::Unreachable {
                    pid: endpoint.pid,
                    stack: paths.stack(),
                    socket: endpoint.socket,
                })
            }
            Err(error) if is_nobody(&error) => Ok(None),
            Err(source) => Err(Error::Socket { path: endpoint.socket, source }),
        }
    }

    /// A connection over a stream that is open already; `socket` is only for messages.
    #[must_use]
    pub fn from_stream(stream: UnixStream, socket: PathBuf) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            writer,
            socket,
            partial: Vec::new(),
            last_id: 0,
            backlog: VecDeque::new(),
        }
    }

    /// Sends a request and returns the number that its replies carry.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub async fn send(&mut self, request: Request) -> Result<u64, Error> {
        self.last_id += 1;
        let call = Call { version: VERSION, id: self.last_id, request };
        let mut line = serde_json::to_vec(&call)
            .map_err(|error| Error::Unexpected { what: error.to_string() })?;
        line.push(b'\n');
        match self.writer.write_all(&line).await {
            Ok(()) => Ok(self.last_id),
            Err(source) => Err(self.last_words().await.unwrap_or_else(|| self.failure(source))),
        }
    }

    /// Why a supervisor that reads no more has closed the connection, if it said so.
    async fn last_words(&mut self) -> Option<Error> {
        loop {
            match self.receive().await {
                Ok(Some(answer)) => self.backlog.push_back(answer),
                Err(refused @ Error::Refused { .. }) => return Some(refused),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Sends a request and waits for its first reply. Others that come meanwhile are
    /// kept for [`Connection::next`].
    ///
    /// # Errors
    /// When the supervisor is gone or refuses.
    pub async fn call(&mut self, request: Request) -> Result<Reply, Error> {
        let id = self.send(request).await?;
        loop {
            let answer = self.receive().await?.ok_or(Error::Gone)?;
            if answer.id != id {
                self.backlog.push_back(answer);
                continue;
            }
            return match answer.reply {
                Reply::Refused { message } => Err(Error::Refused { message }),
                reply => Ok(reply),
            };
        }
    }

    /// The state of the stack.
    ///
    /// # Errors
    /// As for [`Connection::call`].
    pub async fn status(&mut self) -> Result<Snapshot, Error> {
        match self.call(Request::Status).await? {
            Reply::Snapshot(snapshot) => Ok(snapshot),
            other => Err(unexpected(&other)),
        }
    }

    /// The next answer; none when the supervisor closed the connection. Nothing is
    /// lost when the wait is given up.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn next(&mut self) -> Result<Option<Answer>, Error> {
        match self.backlog.pop_front() {
            Some(answer) => Ok(Some(answer)),
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Result<Option<Answer>, Error> {
        match self.reader.read_until(b'\n', &mut self.partial).await {
            Ok(_) if self.partial.last() == Some(&b'\n') => {}
            Ok(_) => return Ok(None),
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(source) => return Err(self.failure(source)),
        }
        let line = std::mem::take(&mut self.partial);
        match serde_json::from_slice(&line) {
            // To no call of ours: the connection itself is turned away.
            Ok(Answer { id: 0, reply: Reply::Refused { message } }) => {
                Err(Error::Refused { message })
            }
            Ok(answer) => Ok(Some(answer)),
            Err(error) => Err(Error::Unexpected { what: error.to_string() }),
        }
    }

    fn failure(&self, source: io::Error) -> Error {
        if is_nobody(&source) {
            Error::Gone
        } else {
            Error::Socket { path: self.socket.clone(), source }
        }
    }
}

/// The state after a [`Reply::Snapshot`] or [`Reply::Changed`] was taken in; true if
/// the reply was one of them.
pub fn update(snapshot: &mut Snapshot, reply: Reply) -> bool {
    match reply {
        Reply::Snapshot(whole) => *snapshot = whole,
        Reply::Changed { state, services } => {
            snapshot.state = state;
            // They were seen before this change, and nobody has looked since.
            snapshot.deadlocks.clear();
            for service in services {
                match snapshot.services.iter_mut().find(|known| known.name == service.name) {
                    Some(known) => *known = service,
                    None => snapshot.services.push(service),
                }
            }
        }
        Reply::Done | Reply::Report(_) | Reply::Refused { .. } => return false,
    }
    true
}

/// An error for a reply that does not belong to its request.
#[must_use]
pub fn unexpected(reply: &Reply) -> Error {
    let mut what = serde_json::to_string(reply).unwrap_or_default();
    if let Some((cut, _)) = what.char_indices().nth(200) {
        what.truncate(cut);
    }
    Error::Unexpected { what }
}

/// Whether a supervisor lives: it holds the stack's lock. One that dies leaves the lock to
/// those that clean up behind it, and its number to nobody who holds it.
fn is_alive(paths: &StackPaths, endpoint: &Endpoint) -> bool {
    let number = i32::try_from(endpoint.pid).ok().and_then(Pid::from_raw);
    let is_there = number.is_some_and(|number| test_kill_process(number).is_ok());
    let lock = File::open(paths.lock()).map(|lock| lock.try_lock_shared());
    is_there && matches!(lock, Ok(Err(TryLockError::WouldBlock)))
}

/// Whether an error of a socket means that nobody is at the other end.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
    )
}
