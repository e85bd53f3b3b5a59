//! A connection to a running supervisor: calls with their answers, and a stream of changes.
//!
//! It never starts a supervisor.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, test_kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use xtask_core::snapshot::{Snapshot, ToolVersion};
use xtask_core::terms::Name;

use crate::called_as::named_json;
use crate::paths::{Endpoint, StackPaths};
use crate::protocol::{Answer, Ask, Call, Reply, Request, VERSION, other_version, tool_version};

/// Why a request to a supervisor failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control socket failed.
    #[error("the control socket `{path}` failed")]
    Socket {
        /// The path of the socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A process of another user listens on the control socket.
    #[error("the control socket `{path}` belongs to another user, number {user}")]
    Foreign {
        /// The path of the socket.
        path: PathBuf,
        /// The user id.
        user: u32,
    },
    /// The supervisor runs, but its socket is gone. Most likely the system removed
    /// `XDG_RUNTIME_DIR` when the user's last session ended.
    #[error(
        "supervisor {pid} of stack `{stack}` cannot be reached, because its socket `{socket}` is gone; \
         `kill {pid}` stops the stack in order"
    )]
    Unreachable {
        /// The supervisor's pid.
        pid: u32,
        /// The stack's name.
        stack: String,
        /// The path of the socket.
        socket: PathBuf,
    },
    /// The supervisor exited, possibly in the middle of a call.
    #[error("the supervisor exited")]
    Gone,
    /// The supervisor refused the request; the reason is one line.
    #[error("{0}")]
    Refused(String),
    /// Another version of the tool started the stack, and does not answer this request.
    #[error("{}", other_version(supervisor, &tool_version()))]
    OtherVersion {
        /// The version of the supervisor.
        supervisor: ToolVersion,
    },
    /// The start of an answer that the protocol does not allow, or the parser's error.
    #[error("unexpected answer of the supervisor: {0}")]
    Unexpected(String),
    /// No supervisor of this stack is running.
    #[error("nothing is running as stack `{0}`")]
    NothingRuns(String),
    /// The stack has no such service.
    #[error("no service `{service}` in stack `{stack}`")]
    UnknownService {
        /// The requested name.
        service: String,
        /// The stack's name.
        stack: String,
    },
    /// The service has no port.
    #[error("service `{0}` has no address")]
    NoAddress(String),
    /// The service failed or was stopped.
    #[error("service `{service}` is {phase}: {reason}")]
    NotReady {
        /// The service's name.
        service: String,
        /// Its current phase.
        phase: &'static str,
        /// Why it is not ready.
        reason: String,
    },
}

/// An open connection to a supervisor.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    socket: PathBuf,
    /// The incomplete line; kept here so that a cancelled wait loses no bytes.
    partial: Vec<u8>,
    last_id: u64,
    /// Answers that arrived while [`Connection::call`] waited for another one.
    backlog: VecDeque<Answer>,
    /// The version of the supervisor, once it has told one with another protocol.
    other_version: Option<ToolVersion>,
}

impl Connection {
    /// Connects to the supervisor of a stack; `None` if none is running.
    ///
    /// # Errors
    /// When a supervisor runs but cannot be reached.
    pub async fn open(paths: &StackPaths) -> Result<Option<Self>, Error> {
        match paths.read_endpoint() {
            Some(endpoint) => Self::open_at(paths, endpoint).await,
            None => Ok(None),
        }
    }

    /// As [`Connection::open`], with the endpoint of the supervisor.
    pub async fn open_at(paths: &StackPaths, endpoint: Endpoint) -> Result<Option<Self>, Error> {
        match UnixStream::connect(&endpoint.socket).await {
            Ok(stream) => match stream.peer_cred() {
                // Requests contain the plan, with its secrets.
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
            Err(error) if is_disconnected(&error) => Ok(None),
            Err(source) => Err(Error::Socket { path: endpoint.socket, source }),
        }
    }

    /// A connection over an open stream; `socket` appears in errors.
    pub fn from_stream(stream: UnixStream, socket: PathBuf) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::with_capacity(64 * 1024, reader),
            writer,
            socket,
            partial: Vec::new(),
            last_id: 0,
            backlog: VecDeque::new(),
            other_version: None,
        }
    }

    /// Sends a request and returns the id that its replies repeat.
    ///
    /// # Errors
    /// When the supervisor has exited, has refused the connection, or has another version of the
    /// protocol in which the request may differ.
    pub async fn send(&mut self, request: Request) -> Result<u64, Error> {
        if let Some(supervisor) = &self.other_version
            && !request.is_for_all_versions()
        {
            return Err(Error::OtherVersion { supervisor: supervisor.clone() });
        }
        self.last_id += 1;
        let tool = Some(tool_version().version);
        let call = Call { version: VERSION, tool, id: self.last_id, request };
        let mut line = serde_json::to_vec(&call).map_err(malformed)?;
        line.push(b'\n');
        match self.write(&line).await {
            Ok(()) => Ok(self.last_id),
            Err(source) => Err(self.refusal().await.unwrap_or_else(|| self.failure(source))),
        }
    }

    /// Asks the supervisor to stop the whole stack; with `now` it kills all processes at once.
    /// Later answers report what stops. It succeeds if the supervisor has exited already.
    ///
    /// # Errors
    /// When the supervisor refuses the connection, or its socket fails.
    pub async fn shut_down(&mut self, now: bool) -> Result<(), Error> {
        match self.send(Request::Shutdown { now }).await {
            Ok(_) | Err(Error::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes a request. It takes answers meanwhile: a supervisor whose answers are not read stops
    /// reading requests, and both would wait for ever.
    async fn write(&mut self, mut line: &[u8]) -> io::Result<()> {
        while !line.is_empty() {
            let Self { reader, writer, partial, backlog, .. } = self;
            tokio::select! {
                biased;
                written = writer.write(line) => line = &line[written?..],
                read = reader.read_until(b'\n', partial) => {
                    // The refusal that precedes an end of the connection is read afterwards.
                    let is_complete = read.is_ok() && partial.last() == Some(&b'\n');
                    match is_complete.then(|| serde_json::from_slice::<Answer>(partial)) {
                        Some(Ok(answer)) if answer.id != 0 => {
                            partial.clear();
                            backlog.push_back(answer);
                        }
                        _ => return writer.write_all(line).await,
                    }
                }
            }
        }
        Ok(())
    }

    /// The refusal that a supervisor sent before it closed the connection, if it sent one.
    async fn refusal(&mut self) -> Option<Error> {
        loop {
            match self.receive().await {
                Ok(Some(answer)) => self.backlog.push_back(answer),
                Err(refused @ Error::Refused(_)) => return Some(refused),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Sends a request and waits for its first reply. [`Connection::next`] returns other answers
    /// that arrive meanwhile.
    ///
    /// # Errors
    /// When the supervisor has exited or refuses the request.
    pub async fn call(&mut self, request: Request) -> Result<Reply, Error> {
        let id = self.send(request).await?;
        loop {
            let answer = self.receive().await?.ok_or(Error::Gone)?;
            if answer.id != id {
                self.backlog.push_back(answer);
                continue;
            }
            return match answer.reply {
                Reply::Refused { message } => Err(Error::Refused(message)),
                reply => Ok(reply),
            };
        }
    }

    /// The state of the stack. The errors are those of [`Connection::call`].
    pub async fn status(&mut self) -> Result<Snapshot, Error> {
        self.ask(Ask::No).await
    }

    /// The state of the stack, after these services were asked whether they still answer. The
    /// errors are those of [`Connection::call`].
    pub async fn ask(&mut self, ask: Ask) -> Result<Snapshot, Error> {
        self.snapshot(Request::Status { ask, sockets: true }).await
    }

    /// As [`Connection::ask`], without what the sockets of the machine show.
    pub async fn still_answer(&mut self, services: Vec<Name>) -> Result<Snapshot, Error> {
        let ask = Ask::Only(services);
        self.snapshot(Request::Status { ask, sockets: false }).await
    }

    /// Like [`Connection::call`], for [`Request::Status`] and [`Request::Watch`].
    pub async fn snapshot(&mut self, request: Request) -> Result<Snapshot, Error> {
        match self.call(request).await? {
            Reply::Snapshot(snapshot) => {
                let other = |tool: &ToolVersion| tool.protocol != VERSION;
                self.other_version = snapshot.tool.clone().filter(other);
                Ok(snapshot)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The next answer; `None` when the supervisor has closed the connection. Cancelling the wait
    /// loses no answer.
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
            Err(error) if is_disconnected(&error) => return Ok(None),
            Err(source) => return Err(self.failure(source)),
        }
        let line = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&line);
        match serde_json::from_str(&named_json(&line)) {
            // Id 0 is no call: the supervisor refuses the connection itself.
            Ok(Answer { id: 0, reply: Reply::Refused { message } }) => Err(Error::Refused(message)),
            Ok(answer) => Ok(Some(answer)),
            Err(error) => Err(malformed(error)),
        }
    }

    fn failure(&self, source: io::Error) -> Error {
        if is_disconnected(&source) {
            Error::Gone
        } else {
            Error::Socket { path: self.socket.clone(), source }
        }
    }
}

/// Applies a [`Reply::Snapshot`], [`Reply::Changed`] or [`Reply::Watch`] to the snapshot; true if
/// the reply is one of them.
pub fn update(snapshot: &mut Snapshot, reply: Reply) -> bool {
    match reply {
        Reply::Snapshot(whole) => *snapshot = whole,
        Reply::Changed { state, services } => {
            snapshot.state = state;
            // They may be out of date after this change.
            snapshot.deadlocks.clear();
            for service in services {
                match snapshot.services.iter_mut().find(|known| known.name == service.name) {
                    Some(known) => *known = service,
                    None => snapshot.services.push(service),
                }
            }
        }
        Reply::Watch { watch } => snapshot.watch = watch,
        Reply::Done
        | Reply::StartedAs { .. }
        | Reply::Flags { .. }
        | Reply::Report(_)
        | Reply::Refused { .. } => {
            return false;
        }
    }
    true
}

/// An error for a reply that does not belong to its request.
pub fn unexpected(reply: &Reply) -> Error {
    let mut answer = serde_json::to_string(reply).unwrap_or_default();
    if let Some((cut, _)) = answer.char_indices().nth(200) {
        answer.truncate(cut);
    }
    Error::Unexpected(answer)
}

fn malformed(error: serde_json::Error) -> Error {
    Error::Unexpected(error.to_string())
}

/// Whether the supervisor runs: its pid exists and the stack's lock is held. After its death the
/// guardian holds the lock, but the pid does not exist.
fn is_alive(paths: &StackPaths, endpoint: &Endpoint) -> bool {
    let pid = i32::try_from(endpoint.pid).ok().and_then(Pid::from_raw);
    let exists = pid.is_some_and(|pid| test_kill_process(pid).is_ok());
    exists && paths.is_locked()
}

/// Whether a socket's error means that no process is connected to the other end.
fn is_disconnected(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More answers than a socket holds, and more requests.
    const COUNT: usize = 20_000;

    #[tokio::test]
    async fn requests_and_answers_do_not_wait_for_each_other() {
        let (client, supervisor) = UnixStream::pair().unwrap();
        let supervisor = tokio::spawn(async move {
            let (reader, mut writer) = supervisor.into_split();
            let answer = serde_json::to_vec(&Answer { id: 7, reply: Reply::Done }).unwrap();
            for _ in 0..COUNT {
                writer.write_all(&answer).await.unwrap();
                writer.write_all(b"\n").await.unwrap();
            }
            let mut requests = BufReader::new(reader).lines();
            for _ in 0..COUNT {
                assert!(requests.next_line().await.unwrap().is_some());
            }
        });
        let mut connection = Connection::from_stream(client, "control".into());
        for _ in 0..COUNT {
            connection.send(Request::Flags).await.unwrap();
        }
        for _ in 0..COUNT {
            assert_eq!(connection.next().await.unwrap().unwrap().id, 7);
        }
        supervisor.await.unwrap();
        assert!(connection.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn supervisor_that_exited_is_shut_down() {
        let (client, supervisor) = UnixStream::pair().unwrap();
        drop(supervisor);
        let mut connection = Connection::from_stream(client, "control".into());
        connection.shut_down(false).await.unwrap();
        assert!(matches!(connection.send(Request::Flags).await, Err(Error::Gone)));
    }
}
