//! Which workspace and which stack a command is about.
//!
//! It asks cargo, which knows workspaces better than any walk up the folders. Commands
//! that need the services' metadata load a plan instead.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;
use xtask_client::StackPaths;
use xtask_client::connection::Connection;
use xtask_client::paths::{DEFAULT_STACK, Endpoint, STATE_VARIABLE, stacks_of};
use xtask_client::snapshot::Snapshot;

use super::Global;
use super::exit::Exit;
use super::print::{self, error_with_hint};
use crate::effects::containers::cleanup;
use crate::session::launch::{Session, connect, patiently};
use crate::supervisor::leftovers::{Leftovers, clean};
use crate::system::group;
use crate::view::progress;
use crate::view::style::{BUSY, GOOD, WARN};
use crate::view::words::command_for;
use crate::workspace;

/// The cargo to call: the one that called this program, or the first in `PATH`.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").filter(|cargo| !cargo.is_empty()).unwrap_or("cargo".into()).into()
}

/// Cargo finds no workspace here, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoWorkspace(String);

/// The root of the workspace.
///
/// # Errors
/// [`NoWorkspace`].
pub(crate) fn workspace_root(global: &Global) -> anyhow::Result<PathBuf> {
    let cargo = cargo();
    let mut command = Command::new(&cargo);
    command.args(["locate-project", "--workspace", "--message-format", "plain"]);
    if let Some(path) = &global.manifest_path {
        command.arg("--manifest-path").arg(path);
    }
    let output = command.output().map_err(|source| workspace::Error::NoCargo { source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(NoWorkspace(said.trim().trim_start_matches("error: ").to_string()).into());
    }
    let manifest = String::from_utf8_lossy(&output.stdout);
    match Path::new(manifest.trim()).parent() {
        Some(root) => Ok(root.to_path_buf()),
        None => bail!("`cargo locate-project` answered with nothing"),
    }
}

/// Where the stack that the command is about keeps its files.
///
/// # Errors
/// As for [`workspace_root`], and when there is no place for state.
pub(crate) fn stack_paths(global: &Global) -> anyhow::Result<StackPaths> {
    let root = workspace_root(global)?;
    clean_up(&root)?;
    Ok(StackPaths::of(&root, &global.stack)?)
}

/// Ends and removes what supervisors of any stack of the workspace left behind when
/// they were killed, and says so.
///
/// # Errors
/// When there is no place for state, or a lock cannot be had.
pub(crate) fn clean_up(root: &Path) -> anyhow::Result<()> {
    for paths in stacks_of(root)? {
        if let Some(leftovers) = clean(&paths)? {
            tell_leftovers(&paths, &leftovers);
        }
    }
    Ok(())
}

/// Says what a supervisor that was killed had left.
pub(crate) fn tell_leftovers(paths: &StackPaths, leftovers: &Leftovers) {
    let ended: Vec<(i32, &str)> =
        leftovers.ended.iter().map(|ended| (ended.pid, &*ended.command)).collect();
    if let Some(supervisor) = leftovers.supervisor {
        let text = progress::leftovers(&paths.stack(), supervisor, &ended);
        print::say(WARN, "Cleaned", &text);
    }
    if !leftovers.containers.is_empty() {
        let names = leftovers.containers.join(", ");
        let text = format!("containers of stack `{}` that were left: {names}", paths.stack());
        print::say(WARN, "Removed", &text);
    }
    if let Some(why) = &leftovers.kept {
        let text =
            format!("containers or networks of stack `{}` may be left: {why}", paths.stack());
        print::say(WARN, "Kept", &text);
    }
}

/// Says that a stack has ended, and what of it could not be removed.
pub(crate) fn say_down(paths: &StackPaths) {
    print::say(GOOD, "Down", &format!("stack `{}`", paths.stack()));
    tell_what_is_left(paths);
}

/// Says what a stack that has ended could not remove from a container engine.
pub(crate) fn tell_what_is_left(paths: &StackPaths) {
    let kept = cleanup::left(&paths.engine_record());
    tell_leftovers(paths, &Leftovers { kept, ..Leftovers::default() });
}

/// Says that the folder of all state, or the variable that names it, cannot be used, if so.
pub(crate) fn refused_state_folder() -> Option<Exit> {
    let error = StackPaths::of(Path::new("/"), DEFAULT_STACK).err()?;
    if error.kind() != io::ErrorKind::InvalidInput {
        return None;
    }
    let given = std::env::var_os(STATE_VARIABLE).unwrap_or_default();
    let hint = match given.to_str() {
        Some(given) if Path::new(given).is_relative() && !given.is_empty() => {
            format!("`export {STATE_VARIABLE}=\"$PWD/{given}\"`")
        }
        _ => format!("set `{STATE_VARIABLE}` to an absolute path in UTF-8"),
    };
    error_with_hint(&error.to_string(), &hint);
    Some(Exit::USAGE)
}

/// Says that nothing runs.
pub(crate) fn nothing_runs(paths: &StackPaths) -> Exit {
    error_with_hint(
        &format!("nothing is running as stack `{}`", paths.stack()),
        &format!("{} starts it", command_for(&paths.stack(), "up")),
    );
    Exit::NOTHING_RUNS
}

/// Says that a supervisor does not answer, and what can be done about it.
pub(crate) fn tell_silence(paths: &StackPaths) {
    let Some(Endpoint { pid, .. }) = paths.read_endpoint() else { return };
    let is_stopped = i32::try_from(pid).is_ok_and(group::is_stopped);
    print::say(BUSY, "Waiting", &progress::silence(&paths.stack(), pid, is_stopped));
}

/// The state of the running stack, if there is one.
///
/// # Errors
/// When a supervisor is there and does not answer.
pub(crate) async fn status(paths: &StackPaths) -> anyhow::Result<Option<Snapshot>> {
    match Connection::open(paths).await? {
        Some(mut connection) => {
            let status = patiently(connection.status(), || tell_silence(paths));
            Ok(Some(status.await?))
        }
        None => Ok(None),
    }
}

/// A watching connection to the running stack, or the words that there is none.
///
/// # Errors
/// When a supervisor is there and does not answer.
pub(crate) async fn watch(paths: &StackPaths) -> anyhow::Result<Result<Session, Exit>> {
    let session = connect(paths, || tell_silence(paths)).await?;
    Ok(session.ok_or_else(|| nothing_runs(paths)))
}
