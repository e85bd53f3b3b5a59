//! Words what happens to a stack, cleans up after killed supervisors, and calls cargo for a
//! workspace.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use xtask_control::StackPaths;
use xtask_control::called_as::{self, CALLED_AS_VARIABLE};
use xtask_control::paths::{DEFAULT_STACK, Endpoint, stacks_in};
use xtask_control::process_stat::ProcessStat;
use xtask_control::protocol::Ask;
use xtask_core::snapshot::Snapshot;

use super::error::Error;
use super::interrupt::Interrupts;
use super::{Global, print};
use crate::effects::containers::cleanup;
use crate::session::connect::{self, Session, connect, deleted_folder};
use crate::session::{self, isolated};
use crate::supervisor::leftovers::{Leftovers, clean};
use crate::view::progress;
use crate::view::style::{BUSY, GOOD, WARN};
use crate::workspace;

/// The cargo to call: the one that called this program, or the first in `PATH`.
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").filter(|cargo| !cargo.is_empty()).unwrap_or("cargo".into()).into()
}

/// A cargo command for the workspace at `root`, without the variables that cargo set for this
/// program: a build script that depends on them would run again each time.
///
/// It runs where the user stands, so that cargo finds the settings and reads relative paths as it
/// does for a command that the user types.
pub fn cargo_for<'a>(root: &Path, words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut words = words.into_iter();
    let mut command = xtask_control::cargo(Path::new("."));
    command.args(words.next()).arg("--manifest-path").arg(root.join("Cargo.toml")).args(words);
    command
}

/// This program for the workspace at `root`. It runs where the user stands.
pub fn own_command(root: &Path) -> Result<Command, session::Error> {
    let mut command = Command::new(session::own_program()?);
    command.arg("--manifest-path").arg(root.join("Cargo.toml"));
    command.env(CALLED_AS_VARIABLE, called_as::name());
    Ok(command)
}

pub fn workspace_root(global: &Global) -> anyhow::Result<PathBuf> {
    let cargo = cargo();
    let mut command = Command::new(&cargo);
    command.args(["locate-project", "--workspace", "--message-format", "plain"]);
    if let Some(path) = &global.manifest_path {
        command.arg("--manifest-path").arg(path);
    }
    let output = command.output().map_err(workspace::no_cargo)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let reason = text.trim().trim_start_matches("error: ").to_owned();
        return Err(workspace::Error::Cargo { message: reason }.into());
    }
    let manifest = String::from_utf8_lossy(&output.stdout);
    let root = Path::new(manifest.trim()).parent();
    Ok(root.context("`cargo locate-project` printed no path")?.to_path_buf())
}

/// Kills and removes what killed supervisors of any stack of the workspace left, and reports it.
pub fn clean_up(paths: &StackPaths) -> anyhow::Result<()> {
    for paths in stacks_in(paths.workspace()) {
        if let Some(leftovers) = clean(&paths)? {
            report_leftovers(&paths, &leftovers);
        }
    }
    Ok(())
}

pub(crate) fn report_leftovers(paths: &StackPaths, leftovers: &Leftovers) {
    let stack = paths.stack();
    let supervisor = leftovers.supervisor;
    if supervisor.is_some() || !leftovers.ended.is_empty() {
        let ended = leftovers.ended.iter().map(|ended| (ended.pid, &*ended.command));
        let text = progress::leftovers(&stack, supervisor, &ended.collect::<Vec<_>>());
        print::progress(WARN, "Cleaned", &text);
    }
    if !leftovers.containers.is_empty() {
        let names = leftovers.containers.join(", ");
        let text = format!("leftover containers of stack `{stack}`: {names}");
        print::progress(WARN, "Removed", &text);
    }
    if let Some(why) = &leftovers.kept {
        let text = format!("containers or networks of stack `{stack}` may be left: {why}");
        print::progress(WARN, "Kept", &text);
    }
}

/// Reports that a stack is down, with its workspace if the user named none, and what a container
/// engine could not remove.
pub fn report_down(paths: &StackPaths, workspace: Option<&Path>) {
    let place = workspace.map(|root| format!(" of `{}`", root.display())).unwrap_or_default();
    print::progress(GOOD, "Down", &format!("stack `{}`{place}", paths.stack()));
    report_remains(paths);
}

/// Reports what a container engine could not remove.
fn report_remains(paths: &StackPaths) {
    let kept = cleanup::failure(&paths.engine_record());
    report_leftovers(paths, &Leftovers { kept, ..Leftovers::default() });
}

/// Deletes the files of a stack that was shut down, and reports what cannot be removed.
pub fn delete(paths: &StackPaths) {
    report_remains(paths);
    isolated::delete(paths);
}

/// Fails if the folder of all state, or the variable that names it, is unusable.
pub fn check_state_folder() -> Result<(), Error> {
    match StackPaths::of(Path::new("/"), DEFAULT_STACK) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
            ) =>
        {
            Err(Error::StateFolder(error))
        }
        _ => Ok(()),
    }
}

/// Fails if the user named a stack for a command that chooses the name itself.
pub fn refuse_name(global: &Global, command: &'static str) -> Result<(), Error> {
    match &*global.stack {
        DEFAULT_STACK => Ok(()),
        _ => Err(Error::StackIsChosen { command }),
    }
}

/// Reports that a supervisor does not answer, and how to end it.
pub fn report_silence(paths: &StackPaths) {
    let Some(Endpoint { pid, .. }) = paths.read_endpoint() else { return };
    let is_stopped = ProcessStat::of(pid).is_some_and(|stat| stat.is_stopped());
    print::progress(BUSY, "Waiting", &progress::silence(&paths.stack(), pid, is_stopped));
}

/// Reports that the files of a running stack were deleted.
pub fn report_deleted(paths: &StackPaths) {
    if let Some(folder) = deleted_folder(paths) {
        print::progress(WARN, "Deleted", &progress::deleted(&paths.stack(), &folder));
    }
}

/// The state of the running stack; none if nothing runs.
pub async fn status(paths: &StackPaths, ask: Ask) -> anyhow::Result<Option<Snapshot>> {
    let status = connect::status(paths, ask, || report_silence(paths)).await?;
    match status {
        Some(_) => report_deleted(paths),
        // The supervisor may have died since the clean-up before.
        None => clean_up(paths)?,
    }
    Ok(status)
}

/// The error of a command that needs a running stack.
pub(crate) fn nothing_runs(paths: &StackPaths) -> Error {
    Error::NothingRuns { stack: paths.stack(), known: known(paths) }
}

/// The names of the workspace's stacks.
pub(crate) fn known(paths: &StackPaths) -> Vec<String> {
    stacks_in(paths.workspace()).iter().map(StackPaths::stack).collect()
}

pub async fn watch(paths: &StackPaths) -> anyhow::Result<Session> {
    let Some(session) = connect(paths, || report_silence(paths)).await? else {
        clean_up(paths)?;
        return Err(nothing_runs(paths).into());
    };
    report_deleted(paths);
    Ok(session)
}

/// Shuts a stack down. A signal during the shutdown kills it.
pub async fn take_down(mut session: Session, interrupts: &mut Interrupts) {
    let Session { connection, supervisor, .. } = &mut session;
    // Whatever the socket answers, the processes decide when this ends.
    connection.shut_down(false).await.ok();
    loop {
        tokio::select! {
            () = supervisor.exited() => return,
            _ = interrupts.next() => {
                connection.shut_down(true).await.ok();
            }
        }
    }
}
