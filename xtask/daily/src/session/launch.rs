//! Starts the supervisor of a stack: this same program, with a hidden command.
//!
//! Clients hold the launch lock in turn, so that two clients never start two supervisors.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use tokio::net::UnixStream;
use xtask_control::StackPaths;
use xtask_control::connection::{self, Connection};
use xtask_core::snapshot::State;

use super::connect::{Session, Supervisor, connect, lock, notify_if_slow, watch};
use super::{Error, own_program, workspaces};
use crate::supervisor::leftovers::clean_locked;
use crate::system::mark::{MARK, Mark};
use crate::system::supervisors;

/// A longer log is rotated before the next supervisor starts.
const LONGEST_LOG_BYTES: u64 = 1024 * 1024;

/// What a new supervisor is started with.
#[derive(Clone, Debug, Default)]
pub struct LaunchSettings {
    pub workspace: PathBuf,
    /// The supervisor shuts the stack down when this process exits.
    pub until_pid: Option<u32>,
    /// The file that receives every event and its effects; an absolute path.
    pub record: Option<PathBuf>,
}

/// A wait that takes longer than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For the supervisor's first answer.
    Answer,
    /// For the end of the stack, or of the process that cleans up after it.
    End,
}

/// Connects to the supervisor of a stack, or starts one. Waits for a stack that is being shut
/// down. A slow wait calls `on_slow`.
pub async fn connect_or_launch(
    paths: &StackPaths,
    settings: &LaunchSettings,
    mut on_slow: impl FnMut(Wait),
) -> Result<Session, Error> {
    let lacks_data = paths.is_locked() && !paths.data().exists();
    paths.create().map_err(Error::path("create", paths.folder()))?;
    loop {
        let turn = lock(&paths.launch_lock()).await?;
        match connect(paths, || on_slow(Wait::Answer)).await? {
            Some(session) if session.snapshot.state != State::Stopping => {
                return match lacks_data || !paths.is_locked() {
                    true => Err(deleted(paths, session.snapshot.supervisor_pid)),
                    false => Ok(session),
                };
            }
            Some(mut session) => {
                drop(turn);
                on_slow(Wait::End);
                while let Ok(Some(_)) = session.connection.next().await {}
                session.supervisor.exited().await;
            }
            None if !paths.is_locked()
                && let Some(process) = supervisors::all().find(|p| p.folder == paths.folder()) =>
            {
                return Err(deleted(paths, process.pid.unsigned_abs()));
            }
            None => return launch(paths, settings, on_slow).await,
        }
    }
}

/// A second supervisor would start services beside the first one, on empty data.
fn deleted(paths: &StackPaths, pid: u32) -> Error {
    let folder = match paths.is_locked() {
        true => paths.data(),
        false => paths.folder().to_path_buf(),
    };
    Error::Deleted { stack: paths.stack(), pid, folder }
}

async fn launch(
    paths: &StackPaths,
    settings: &LaunchSettings,
    on_slow: impl FnOnce(Wait),
) -> Result<Session, Error> {
    let leftovers = {
        // A supervisor that no longer answers holds this lock, or a guardian that cleans up.
        let held = notify_if_slow(lock(&paths.lock()), || on_slow(Wait::End)).await?;
        clean_locked(paths, &held)
    };
    let root = &settings.workspace;
    workspaces::record(paths.workspace(), root)
        .map_err(Error::path("write the record of its workspace in", paths.workspace()))?;
    let log_path = paths.supervisor_log();
    let log = open_log(&log_path).map_err(Error::path("write", &log_path))?;
    let old_bytes = log.metadata().map(|log| log.len()).unwrap_or(0);
    // The first connection is the supervisor's standard input, so that the first request needs
    // no socket path.
    let failed = || Error::system("create the control connection");
    let (ours, theirs) = BlockingStream::pair().map_err(failed())?;
    let mut child = spawn(paths, settings, theirs.into(), log)?;
    let ours = ours.set_nonblocking(true).and_then(|()| UnixStream::from_std(ours));
    let connection = Connection::from_stream(ours.map_err(failed())?, PathBuf::new());
    match watch(connection).await {
        Ok((connection, snapshot)) => Ok(Session {
            paths: paths.clone(),
            connection,
            supervisor: Supervisor { child: Some(child), ..Supervisor::of(&snapshot)? },
            snapshot,
            launched: true,
            leftovers,
        }),
        Err(connection::Error::Gone) => {
            let _ = child.wait();
            let output = new_output(&log_path, old_bytes);
            log_exit(&log_path, old_bytes).map_err(Error::path("write", &log_path))?;
            Err(Error::SupervisorExited { output })
        }
        Err(error) => Err(error.into()),
    }
}

fn spawn(
    paths: &StackPaths,
    settings: &LaunchSettings,
    stdin: OwnedFd,
    log: File,
) -> Result<Child, Error> {
    let program = own_program()?;
    let mut command = Command::new(&program);
    command.arg("supervise").arg("--stack-dir").arg(paths.folder());
    command.arg("--workspace").arg(&settings.workspace);
    if let Some(identity) = workspaces::identity(&settings.workspace) {
        command.arg("--workspace-identity").arg(identity);
    }
    if let Some(pid) = settings.until_pid {
        command.arg("--until-pid").arg(pid.to_string());
    }
    if let Some(path) = &settings.record {
        command.arg("--record").arg(path);
    }
    // The supervisor must not keep the user's working directory busy.
    command.current_dir("/").stdin(stdin);
    // The services of an outer stack mark what they start. A service that restarts its own
    // stack must not mark it: the sweep of that stack would kill the new supervisor.
    let mark = std::env::var_os(MARK).map(|mark| Mark::Value(mark.into_encoded_bytes()));
    if mark.is_some_and(|mark| mark.is_stack(&paths.short_name())) {
        command.env_remove(MARK);
    }
    // SAFETY: between fork and exec one call is made, which is async-signal-safe. In its own
    // session the supervisor does not receive the Ctrl-C of this terminal.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(|_| ()).map_err(Into::into));
    }
    let started = log.try_clone().and_then(|copy| command.stdout(copy).stderr(log).spawn());
    started.map_err(Error::path("start", &program))
}

/// Opens the supervisor's log for appending. A long log replaces the rotated one first.
fn open_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|found| found.len() > LONGEST_LOG_BYTES) {
        std::fs::rename(path, path.with_added_extension("1"))?;
    }
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// Logs the exit of a supervisor that logged nothing. On a full disk this fails too, and the error
/// is the cause.
fn log_exit(log: &Path, old_bytes: u64) -> io::Result<()> {
    let mut file = open_log(log)?;
    if file.metadata()?.len() > old_bytes {
        return Ok(());
    }
    file.write_all(b"the supervisor exited during its start\n")
}

/// The end of a sentence: what the log holds after its first `old_bytes`.
fn new_output(log: &Path, old_bytes: u64) -> String {
    let mut new = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(old_bytes))?;
        file.take(LONGEST_LOG_BYTES).read_to_end(&mut new)
    });
    if read.is_err() {
        return String::new();
    }
    match String::from_utf8_lossy(&new).trim() {
        "" => format!("; its log `{}` is empty", log.display()),
        text => format!(": {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_log_is_rotated_and_new_output_reported() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rotated) = (folder.path().join("s.log"), folder.path().join("s.log.1"));
        open_log(&path).unwrap().write_all(b"old\n").unwrap();
        open_log(&path).unwrap().write_all(b"new\n").unwrap();
        assert_eq!(new_output(&path, 4), ": new");
        assert!(new_output(&path, 8).ends_with("is empty"));
        open_log(&path).unwrap().set_len(LONGEST_LOG_BYTES + 1).unwrap();
        assert_eq!(open_log(&path).unwrap().metadata().unwrap().len(), 0);
        assert_eq!(std::fs::metadata(rotated).unwrap().len(), LONGEST_LOG_BYTES + 1);
    }
}
