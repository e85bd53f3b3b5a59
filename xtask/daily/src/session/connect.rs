//! A watching connection to a running stack, and the end of its processes.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Signal, pidfd_send_signal};

use xtask_control::StackPaths;
use xtask_control::connection::{self, Connection, update};
use xtask_control::paths::Endpoint;
use xtask_control::protocol::{Ask, Reply, Request};
use xtask_core::plan::{KeptFlags, Service};
use xtask_core::snapshot::Snapshot;
use xtask_core::terms::Name;

use super::Error;
use crate::supervisor::leftovers::Leftovers;
use crate::supervisor::lock::Lock;
use crate::system::pidfd::{self, ExitWatch};
use crate::system::proc;
use crate::system::supervisors::{self, control_socket};

/// A wait longer than this is reported.
const SLOW: Duration = Duration::from_secs(1);

pub struct Session {
    pub paths: StackPaths,
    /// Has sent `Watch`, so that every change of the stack arrives.
    pub connection: Connection,
    /// The state at the last message.
    pub snapshot: Snapshot,
    pub supervisor: Supervisor,
    /// Whether this session started the supervisor.
    pub launched: bool,
    /// What an earlier supervisor left when it was killed.
    pub(crate) leftovers: Option<Leftovers>,
}

impl Session {
    /// Sends a request and applies every change up to its answer, so that the snapshot is not
    /// older than the request.
    ///
    /// # Errors
    /// When the supervisor is gone or refuses.
    pub async fn request(&mut self, request: Request) -> Result<(), connection::Error> {
        let id = self.connection.send(request).await?;
        loop {
            let answer = self.connection.next().await?.ok_or(connection::Error::Gone)?;
            match answer.reply {
                Reply::Refused { message } if answer.id == id => {
                    return Err(connection::Error::Refused(message));
                }
                Reply::Done if answer.id == id => return Ok(()),
                reply => drop(update(&mut self.snapshot, reply)),
            }
        }
    }
}

/// The processes of a supervisor and its guardian.
pub struct Supervisor {
    pub(super) processes: Vec<ExitWatch>,
    /// The sweeper, which forked the guardian, if it is a child of this process.
    pub(super) child: Option<std::process::Child>,
}

impl Supervisor {
    pub(super) fn of(snapshot: &Snapshot) -> Result<Self, Error> {
        let pids = [Some(snapshot.supervisor_pid), snapshot.guardian_pid];
        let processes = pids.into_iter().flatten().map(ExitWatch::new).collect::<io::Result<_>>();
        let processes = processes.map_err(Error::system("watch the supervisor's processes"))?;
        Ok(Self { processes, child: None })
    }

    /// Waits until both processes have exited.
    pub async fn exited(&mut self) {
        for process in &self.processes {
            process.exited().await;
        }
        // The guardian exits after the sweeper, unless it was killed.
        if let Some(child) = &mut self.child {
            let _ = child.try_wait();
        }
    }
}

/// Waits without a deadline, and calls `on_slow` once if the wait takes longer than a second.
pub async fn notify_if_slow<T>(awaited: impl Future<Output = T>, on_slow: impl FnOnce()) -> T {
    let mut awaited = std::pin::pin!(awaited);
    match tokio::time::timeout(SLOW, awaited.as_mut()).await {
        Ok(it) => it,
        Err(_) => {
            on_slow();
            awaited.await
        }
    }
}

/// Connects to the supervisor of a stack and watches it; none if nothing runs. A slow answer
/// calls `on_slow`.
pub async fn connect(paths: &StackPaths, on_slow: impl FnOnce()) -> Result<Option<Session>, Error> {
    let Some(connection) = open(paths).await? else { return Ok(None) };
    match notify_if_slow(watch(connection), on_slow).await {
        Ok((connection, snapshot)) => Ok(Some(Session {
            paths: paths.clone(),
            connection,
            supervisor: Supervisor::of(&snapshot)?,
            snapshot,
            launched: false,
            leftovers: None,
        })),
        // The supervisor exited between the connection and the answer.
        Err(connection::Error::Gone) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The state of a running stack after services were asked; none if nothing runs. A slow answer
/// calls `on_slow`.
pub async fn status(
    paths: &StackPaths,
    ask: Ask,
    on_slow: impl FnOnce(),
) -> Result<Option<Snapshot>, Error> {
    let Some(mut connection) = open(paths).await? else { return Ok(None) };
    match notify_if_slow(connection.ask(ask), on_slow).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        // The supervisor exited between the connection and the answer.
        Err(connection::Error::Gone) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A service of a running stack as its present run was started; none without a run.
pub async fn started_as(paths: &StackPaths, name: &Name) -> Result<Option<Service>, Error> {
    let Some(mut connection) = open(paths).await? else { return Ok(None) };
    match connection.call(Request::StartedAs { service: name.clone() }).await {
        Ok(Reply::StartedAs { service }) => Ok(service.map(|service| *service)),
        Ok(_) | Err(connection::Error::Gone) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The flags that a running stack keeps, and the services that should run; none if nothing runs.
/// A supervisor of another build may know no such request.
pub async fn kept_flags(
    paths: &StackPaths,
    on_slow: impl FnOnce(),
) -> Result<Option<(KeptFlags, Vec<Name>)>, Error> {
    let Some(mut connection) = open(paths).await? else { return Ok(None) };
    match notify_if_slow(connection.call(Request::Flags), on_slow).await {
        Ok(Reply::Flags { flags, running }) => Ok(Some((*flags, running))),
        Ok(_) | Err(connection::Error::Refused(_) | connection::Error::Gone) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a connection through the endpoint, or through the socket itself if the endpoint was
/// deleted.
async fn open(paths: &StackPaths) -> Result<Option<Connection>, connection::Error> {
    if let Some(connection) = Connection::open(paths).await? {
        return Ok(Some(connection));
    }
    let Some(socket) = control_socket(&paths.short_name()) else { return Ok(None) };
    // The pid is only for a socket that is gone, and this one listens.
    Connection::open_at(paths, Endpoint { pid: 0, socket }).await
}

/// The folder of a running stack that was deleted: that of the stack, or that of its data.
pub fn deleted_folder(paths: &StackPaths) -> Option<PathBuf> {
    if !paths.is_locked() {
        return Some(paths.folder().to_path_buf());
    }
    Some(paths.data()).filter(|data| !data.exists())
}

/// Ends a supervisor that cannot be reached through its socket: it stops the stack in order, or
/// with `now` at once.
/// Waits for supervisor and guardian. Returns whether the supervisor was running.
pub async fn stop_by_signal(paths: &StackPaths, pid: i32, now: bool) -> Result<bool, Error> {
    let is_ours = |pid| supervisors::of(pid).is_some_and(|found| found.folder == paths.folder());
    // The pid may have been reused before the descriptor was opened, so check afterwards.
    let Some(supervisor) = pidfd::open(pid).filter(|_| is_ours(pid)) else { return Ok(false) };
    let guardian = proc::parent(pid).filter(|parent| is_ours(*parent)).and_then(pidfd::open);
    if pidfd_send_signal(&supervisor, Signal::TERM).is_err() {
        return Ok(false);
    }
    if now {
        // The second request to stop kills. The same signal again might be merged with the first.
        let _ = pidfd_send_signal(&supervisor, Signal::INT);
    }
    for process in std::iter::once(supervisor).chain(guardian) {
        let process = ExitWatch::of(process);
        process.map_err(Error::system("watch the supervisor's processes"))?.exited().await;
    }
    Ok(true)
}

pub(super) async fn watch(
    mut connection: Connection,
) -> Result<(Connection, Snapshot), connection::Error> {
    let snapshot = connection.snapshot(Request::Watch).await?;
    Ok((connection, snapshot))
}

/// Waits for a lock of the stack and takes it.
pub(crate) async fn lock(path: &std::path::Path) -> Result<Lock, Error> {
    Lock::turn(path).await.map_err(Error::path("lock", path))
}
