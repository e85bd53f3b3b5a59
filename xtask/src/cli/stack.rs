//! Finds the stack of a command, and words what happens to a stack.
//!
//! It runs cargo only for commands that need the root of the workspace and no plan.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use xtask_client::StackPaths;
use xtask_client::harness;
use xtask_client::paths::{DEFAULT_STACK, Endpoint, stacks_in};
use xtask_client::process_stat::ProcessStat;
use xtask_client::protocol::Request;
use xtask_client::snapshot::Snapshot;

use super::error::Error;
use super::interrupt::Interrupts;
use super::{Global, print};
use crate::effects::containers::cleanup;
use crate::session::connect::{self, Session, connect, deleted_folder};
use crate::session::find::{self, Found, FoundState};
use crate::session::workspaces::move_stacks;
use crate::session::{self, isolated};
use crate::supervisor::leftovers::{self, Leftovers, clean};
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

/// The command's stack, found without cargo and whatever the manifests contain. Cleans up after
/// killed supervisors, and reports a stack of another place.
pub(crate) fn find_stack(global: &Global) -> anyhow::Result<Found> {
    let start = start_folder(global)?;
    if start.to_str().is_none() {
        return Err(workspace::Error::NotUtf8 { path: start }.into());
    }
    let Some(found) = find::around(&start, &global.stack)? else {
        let reason = match &global.manifest_path {
            Some(path) => format!("manifest path `{}` does not exist", path.display()),
            None => format!(
                "could not find `Cargo.toml` in `{}` or any parent directory",
                start.display()
            ),
        };
        return Err(Error::NoWorkspace { reason }.into());
    };
    clean_up(&found.paths)?;
    clean_unrecorded(&found)?;
    if let Some(former) = &found.former {
        let text = progress::moved(&global.stack, former, &found.root);
        print::progress(WARN, "Moved", &text);
    }
    match find::declared_root(&start) {
        Some(nested) if nested != found.root && nested.starts_with(&found.root) => {
            let (root, nested) = (found.root.display(), nested.display());
            let text = format!("stack `{}` of `{root}`, which contains `{nested}`", global.stack);
            print::progress(WARN, "Using", &text);
        }
        Some(_) | None => {}
    }
    Ok(found)
}

fn start_folder(global: &Global) -> anyhow::Result<PathBuf> {
    let Some(path) = &global.manifest_path else {
        return std::env::current_dir().context("failed to find the current folder");
    };
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    // The manifest itself may have been removed.
    Ok(folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()))
}

/// Kills and removes what killed supervisors of any stack of the workspace left, and reports it.
pub(crate) fn clean_up(paths: &StackPaths) -> anyhow::Result<()> {
    for paths in stacks_in(paths.workspace()) {
        if let Some(leftovers) = clean(&paths)? {
            report_leftovers(&paths, &leftovers);
        }
    }
    Ok(())
}

/// Kills what is left of a stack that is down and has no records, and reports it.
fn clean_unrecorded(found: &Found) -> anyhow::Result<()> {
    if found.state == FoundState::Down
        && let Some(leftovers) = leftovers::clean_unrecorded(&found.paths)?
    {
        report_leftovers(&found.paths, &leftovers);
    }
    Ok(())
}

/// Prepares a command that starts something: moves the state of a renamed workspace to its present
/// root.
///
/// # Errors
/// When the stack still runs from the former root, or its state cannot be moved.
pub(crate) fn settle(root: &Path, paths: &StackPaths) -> anyhow::Result<()> {
    let stack = paths.stack();
    let found = find::at(root, &stack)?;
    clean_up(&found.paths)?;
    clean_unrecorded(&found)?;
    let Some(former) = found.former else { return Ok(()) };
    if found.state != FoundState::Down {
        return Err(Error::RunsFromFormerRoot { stack, former, root: root.to_path_buf() }.into());
    }
    let (from, to) = (found.paths.workspace(), paths.workspace());
    let moved = move_stacks(from, to).with_context(|| {
        format!("failed to move the state in `{}` to `{}`", from.display(), to.display())
    })?;
    if !moved.contains(&stack) {
        let folder = found.paths.folder().to_path_buf();
        return Err(Error::StateElsewhere { stack, former, folder }.into());
    }
    let (former, root) = (former.display(), root.display());
    let text = format!("state of stacks {} from `{former}` to `{root}`", moved.join(", "));
    print::progress(WARN, "Moved", &text);
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
pub(crate) fn report_down(paths: &StackPaths, workspace: Option<&Path>) {
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

/// Reports that the files of a running stack were deleted.
pub(crate) fn report_deleted(paths: &StackPaths) {
    if let Some(folder) = deleted_folder(paths) {
        print::progress(WARN, "Deleted", &progress::deleted(&paths.stack(), &folder));
    }
}

/// The state of the running stack; none if nothing runs.
pub(crate) async fn status(paths: &StackPaths) -> anyhow::Result<Option<Snapshot>> {
    let status = connect::status(paths, || report_silence(paths)).await?;
    match status {
        Some(_) => report_deleted(paths),
        // The supervisor may have died since the clean-up before.
        None => clean_up(paths)?,
    }
    Ok(status)
}

pub(crate) async fn watch(paths: &StackPaths) -> anyhow::Result<Session> {
    let Some(session) = connect(paths, || report_silence(paths)).await? else {
        clean_up(paths)?;
        return Err(Error::NothingRuns { stack: paths.stack() }.into());
    };
    report_deleted(paths);
    Ok(session)
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
