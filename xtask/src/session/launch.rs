//! Finds the supervisor of a stack, or starts it; for clients.
//!
//! A supervisor is this same program, started again with a hidden command. Clients
//! take turns here, so that two of them never start two.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as BlockingStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::UnixStream;
use xtask_client::StackPaths;
use xtask_client::connection::{Connection, Error, unexpected, update};
use xtask_client::protocol::{Reply, Request};
use xtask_client::snapshot::{Snapshot, State};

use crate::supervisor::leftovers::{Leftovers, clean_locked};
use crate::supervisor::lock::Lock;
use crate::system::pidfd::ExitWatch;
use crate::system::sweep::MARK;

/// A supervisor's log that is longer is put aside when the next one starts.
const LONGEST_LOG_BYTES: u64 = 1024 * 1024;

/// How long others are waited for without a word.
const SILENCE: Duration = Duration::from_secs(1);

/// What a supervisor that has to be started is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaunchSettings {
    /// The root of the workspace.
    pub workspace: PathBuf,
    /// Shut down when this process is gone.
    pub until_pid: Option<u32>,
    /// Write every event and its effects there; an absolute path.
    pub record: Option<PathBuf>,
}

/// A watching connection to a supervisor.
pub(crate) struct Session {
    /// Where the stack keeps its files.
    pub paths: StackPaths,
    /// The connection; it is watching.
    pub connection: Connection,
    /// The state as it was found.
    pub snapshot: Snapshot,
    /// The supervisor's process.
    pub supervisor: Supervisor,
    /// Whether it was started for this session.
    pub launched: bool,
    /// What a supervisor that died before had left.
    pub leftovers: Option<Leftovers>,
}

impl Session {
    /// Asks for something and takes in every change up to the answer, so that the state
    /// is no older than the request.
    ///
    /// # Errors
    /// When the supervisor is gone or refuses.
    pub(crate) async fn order(&mut self, request: Request) -> Result<(), Error> {
        let id = self.connection.send(request).await?;
        loop {
            let answer = self.connection.next().await?.ok_or(Error::Gone)?;
            match answer.reply {
                Reply::Refused { message } if answer.id == id => {
                    return Err(Error::Refused { message });
                }
                Reply::Done if answer.id == id => return Ok(()),
                reply => drop(update(&mut self.snapshot, reply)),
            }
        }
    }
}

/// The processes of a supervisor and its guardian, for waiting until they are gone.
pub(crate) struct Supervisor {
    processes: Vec<ExitWatch>,
    child: Option<std::process::Child>,
}

impl Supervisor {
    fn of(snapshot: &Snapshot) -> anyhow::Result<Self> {
        let pids = [Some(snapshot.supervisor_pid), snapshot.guardian_pid];
        let processes = pids.into_iter().flatten().map(ExitWatch::new).collect::<io::Result<_>>();
        Ok(Self { processes: processes.context("cannot watch the supervisor")?, child: None })
    }

    /// Waits until both processes are gone.
    pub(crate) async fn gone(&mut self) {
        for process in &self.processes {
            process.exited().await;
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// What a client waits for that takes longer than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The supervisor's first answer.
    Answer,
    /// The end of the stack, or of what cleans up behind it.
    End,
}

/// Waits as long as it takes, and calls `speak` once when that is longer than it should be.
pub(crate) async fn patiently<T>(awaited: impl Future<Output = T>, speak: impl FnOnce()) -> T {
    let mut awaited = std::pin::pin!(awaited);
    match tokio::time::timeout(SILENCE, awaited.as_mut()).await {
        Ok(it) => it,
        Err(_) => {
            speak();
            awaited.await
        }
    }
}

/// Connects to the supervisor of a stack and watches it; none if nothing runs. `silent` is
/// called when it does not answer.
pub(crate) async fn connect(
    paths: &StackPaths,
    silent: impl FnOnce(),
) -> anyhow::Result<Option<Session>> {
    let Some(connection) = Connection::open(paths).await? else { return Ok(None) };
    match patiently(watch(connection), silent).await {
        Ok((connection, snapshot)) => {
            let supervisor = Supervisor::of(&snapshot)?;
            let session = Session {
                paths: paths.clone(),
                connection,
                snapshot,
                supervisor,
                launched: false,
                leftovers: None,
            };
            Ok(Some(session))
        }
        // It went between the connection and the answer.
        Err(Error::Gone) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Connects to the supervisor of a stack, starting it if nothing runs. One that is
/// on its way out is waited for. `waiting` hears what takes long.
pub(crate) async fn connect_or_launch(
    paths: &StackPaths,
    settings: &LaunchSettings,
    mut waiting: impl FnMut(Wait),
) -> anyhow::Result<Session> {
    paths.create().with_context(|| format!("cannot make `{}`", paths.folder().display()))?;
    loop {
        let lock = paths.launch_lock();
        let turn =
            Lock::turn(&lock).await.with_context(|| format!("cannot lock `{}`", lock.display()))?;
        match connect(paths, || waiting(Wait::Answer)).await? {
            Some(session) if session.snapshot.state != State::Stopping => return Ok(session),
            Some(mut session) => {
                drop(turn);
                waiting(Wait::End);
                while let Ok(Some(_)) = session.connection.next().await {}
                session.supervisor.gone().await;
            }
            None => return launch(paths, settings, waiting).await,
        }
    }
}

/// Starts a supervisor. The first connection is its standard input, so that nothing
/// has to be waited for or found before the first request can be sent.
async fn launch(
    paths: &StackPaths,
    settings: &LaunchSettings,
    waiting: impl FnOnce(Wait),
) -> anyhow::Result<Session> {
    let lock = paths.lock();
    let leftovers = {
        // Whoever holds it is on the way out: a supervisor that no longer answers, or a
        // guardian that cleans up.
        let held = patiently(Lock::turn(&lock), || waiting(Wait::End)).await;
        let held = held.with_context(|| format!("cannot lock `{}`", lock.display()))?;
        clean_locked(paths, &held)
    };
    let (ours, theirs) = BlockingStream::pair().context("cannot make a pair of sockets")?;
    let log_path = paths.supervisor_log();
    let log = open_log(&log_path);
    let log = log.with_context(|| format!("cannot write `{}`", log_path.display()))?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(&program);
    command.arg("supervise").arg("--stack-dir").arg(paths.folder());
    command.arg("--workspace").arg(&settings.workspace);
    if let Some(pid) = settings.until_pid {
        command.arg("--until-pid").arg(pid.to_string());
    }
    if let Some(path) = &settings.record {
        command.arg("--record").arg(path);
    }
    let logged = log.metadata().map(|log| log.len()).unwrap_or(0);
    // The folder that the user stands in must not be held by a process that stays.
    command.current_dir("/").stdin(OwnedFd::from(theirs)).stdout(log.try_clone()?).stderr(log);
    // What the services of an outer stack start belongs to that one, but what a service
    // of this very stack starts anew must not be swept away by itself.
    if std::env::var_os(MARK).is_some_and(|mark| *mark == *paths.short_name()) {
        command.env_remove(MARK);
    }
    // A session of its own from the first moment: a Ctrl-C on this terminal is for the client
    // alone.
    // SAFETY: between fork and exec one call is made, which is safe there.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(|_| ()).map_err(Into::into));
    }
    let mut child =
        command.spawn().with_context(|| format!("cannot start `{}`", program.display()))?;
    drop(command);
    ours.set_nonblocking(true)?;
    let connection = Connection::from_stream(UnixStream::from_std(ours)?, PathBuf::new());
    match watch(connection).await {
        Ok((connection, snapshot)) => {
            let supervisor = Supervisor { child: Some(child), ..Supervisor::of(&snapshot)? };
            Ok(Session {
                paths: paths.clone(),
                connection,
                snapshot,
                supervisor,
                launched: true,
                leftovers,
            })
        }
        Err(Error::Gone) => {
            let _ = child.wait();
            bail!("the supervisor did not start{}", last_words(&log_path, logged));
        }
        Err(error) => Err(error.into()),
    }
}

async fn watch(mut connection: Connection) -> Result<(Connection, Snapshot), Error> {
    match connection.call(Request::Watch).await? {
        Reply::Snapshot(snapshot) => Ok((connection, snapshot)),
        other => Err(unexpected(&other)),
    }
}

/// The supervisor's own log, which is appended to. One that has grown is put aside, in the
/// place of the one before.
fn open_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() > LONGEST_LOG_BYTES) {
        std::fs::rename(path, path.with_added_extension("1"))?;
    }
    File::options().create(true).append(true).open(path)
}

fn last_words(log: &Path, from: u64) -> String {
    let mut new = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.take(LONGEST_LOG_BYTES).read_to_end(&mut new)
    });
    if read.is_err() {
        return String::new();
    }
    match String::from_utf8_lossy(&new).trim() {
        "" => format!(" and said nothing in `{}`", log.display()),
        words => format!(": {words}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::session::launch::*;

    #[test]
    fn a_log_that_has_grown_is_put_aside_and_only_what_is_new_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (path, before) = (folder.path().join("s.log"), folder.path().join("s.log.1"));
        open_log(&path).unwrap().write_all(b"old\n").unwrap();
        open_log(&path).unwrap().write_all(b"new\n").unwrap();
        assert_eq!(last_words(&path, 4), ": new");
        assert!(last_words(&path, 8).starts_with(" and said nothing in"));
        open_log(&path).unwrap().set_len(LONGEST_LOG_BYTES + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
        assert_eq!(std::fs::metadata(before).unwrap().len(), LONGEST_LOG_BYTES + 1);
    }
}
