//! Finds the workspace and the stack of a command, and words what happens to a stack.
//!
//! It asks cargo for the root of the workspace. Commands that need metadata load a plan instead.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use xtask_client::StackPaths;
use xtask_client::harness;
use xtask_client::paths::{DEFAULT_STACK, Endpoint, stacks_of};
use xtask_client::process_stat::ProcessStat;
use xtask_client::protocol::Request;
use xtask_client::snapshot::Snapshot;

use super::error::Error;
use super::interrupt::Interrupts;
use super::{Global, print};
use crate::effects::containers::cleanup;
use crate::session::connect::{self, Session, connect};
use crate::session::{self, isolated};
use crate::supervisor::leftovers::{Leftovers, clean};
use crate::view::progress;
use crate::view::style::{BUSY, GOOD, WARN};
use crate::workspace;

/// The cargo to call: the one that called this program, or the first in `PATH`.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").filter(|cargo| !cargo.is_empty()).unwrap_or("cargo".into()).into()
}

/// A cargo command for the workspace at `root`, without the variables that cargo set for this
/// program: a build script that depends on them would run again each time.
///
/// It runs where the user stands, so that cargo finds the settings and reads relative paths as it
/// does for a command that the user types.
pub(crate) fn cargo_for<'a>(root: &Path, words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut words = words.into_iter();
    let mut command = harness::cargo(Path::new("."));
    command.args(words.next()).arg("--manifest-path").arg(root.join("Cargo.toml")).args(words);
    command
}

/// This program for the workspace at `root`. It runs where the user stands.
pub(crate) fn own_command(root: &Path) -> Result<Command, session::Error> {
    let mut command = Command::new(session::own_program()?);
    command.arg("--manifest-path").arg(root.join("Cargo.toml"));
    Ok(command)
}

pub(crate) fn workspace_root(global: &Global) -> anyhow::Result<PathBuf> {
    let cargo = cargo();
    let mut command = Command::new(&cargo);
    command.args(["locate-project", "--workspace", "--message-format", "plain"]);
    if let Some(path) = &global.manifest_path {
        command.arg("--manifest-path").arg(path);
    }
    let output = command.output().map_err(|source| workspace::Error::NoCargo { source })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let reason = text.trim().trim_start_matches("error: ").to_owned();
        return Err(Error::NoWorkspace { reason }.into());
    }
    let manifest = String::from_utf8_lossy(&output.stdout);
    let root = Path::new(manifest.trim()).parent();
    Ok(root.context("`cargo locate-project` printed no path")?.to_path_buf())
}

/// The paths of the command's stack. Cleans up after killed supervisors first.
pub(crate) fn stack_paths(global: &Global) -> anyhow::Result<StackPaths> {
    let root = workspace_root(global)?;
    clean_up(&root)?;
    Ok(StackPaths::of(&root, &global.stack)?)
}

/// Kills and removes what killed supervisors of any stack of the workspace left, and reports it.
pub(crate) fn clean_up(root: &Path) -> anyhow::Result<()> {
    for paths in stacks_of(root)? {
        if let Some(leftovers) = clean(&paths)? {
            report_leftovers(&paths, &leftovers);
        }
    }
    Ok(())
}

pub(crate) fn report_leftovers(paths: &StackPaths, leftovers: &Leftovers) {
    let stack = paths.stack();
    if let Some(supervisor) = leftovers.supervisor {
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

/// Reports that a stack is down, and what a container engine could not remove.
pub(crate) fn report_down(paths: &StackPaths) {
    print::progress(GOOD, "Down", &format!("stack `{}`", paths.stack()));
    report_remains(paths);
}

/// Reports what a container engine could not remove.
fn report_remains(paths: &StackPaths) {
    let kept = cleanup::failure(&paths.engine_record());
    report_leftovers(paths, &Leftovers { kept, ..Leftovers::default() });
}

/// Deletes the files of a stack that was shut down, and reports what cannot be removed.
pub(crate) fn delete(paths: &StackPaths) {
    report_remains(paths);
    isolated::delete(paths);
}

/// Fails if the folder of all state, or the variable that names it, is unusable.
pub(crate) fn check_state_folder() -> Result<(), Error> {
    match StackPaths::of(Path::new("/"), DEFAULT_STACK) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Error::StateFolder(error)),
        _ => Ok(()),
    }
}

/// Fails if the user named a stack for a command that chooses the name itself.
pub(crate) fn refuse_name(global: &Global, command: &'static str) -> Result<(), Error> {
    match &*global.stack {
        DEFAULT_STACK => Ok(()),
        _ => Err(Error::StackIsChosen { command }),
    }
}

/// Reports that a supervisor does not answer, and how to end it.
pub(crate) fn report_silence(paths: &StackPaths) {
    let Some(Endpoint { pid, .. }) = paths.read_endpoint() else { return };
    let is_stopped = ProcessStat::of(pid).is_some_and(|stat| stat.is_stopped());
    print::progress(BUSY, "Waiting", &progress::silence(&paths.stack(), pid, is_stopped));
}

/// The state of the running stack; none if nothing runs.
pub(crate) async fn status(paths: &StackPaths) -> anyhow::Result<Option<Snapshot>> {
    Ok(connect::status(paths, || report_silence(paths)).await?)
}

pub(crate) async fn watch(paths: &StackPaths) -> anyhow::Result<Session> {
    let session = connect(paths, || report_silence(paths)).await?;
    Ok(session.ok_or_else(|| Error::NothingRuns { stack: paths.stack() })?)
}

/// Shuts a stack down. A signal during the shutdown kills it.
pub(crate) async fn take_down(mut session: Session, interrupts: &mut Interrupts) {
    let Session { connection, supervisor, .. } = &mut session;
    // An error means that the supervisor has exited already.
    connection.send(Request::Shutdown { now: false }).await.ok();
    loop {
        tokio::select! {
            () = supervisor.exited() => return,
            _ = interrupts.next() => {
                connection.send(Request::Shutdown { now: true }).await.ok();
            }
        }
    }
}
