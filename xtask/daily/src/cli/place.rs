//! Finds the stack of a command, wherever its workspace was when the stack was started.
//!
//! It reads no metadata and runs no cargo.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xtask_control::StackPaths;
use xtask_core::plan::Plan;

use super::error::Error;
use super::{Global, print, stack};
use crate::session::find::{self, Found, FoundState};
use crate::session::follow::services_with_logs;
use crate::session::workspaces::{self, identity, move_stacks};
use crate::supervisor::leftovers;
use crate::view::progress;
use crate::view::style::WARN;
use crate::workspace;

/// The paths of the command's stack, found as [`find_stack`] finds it.
///
/// # Errors
/// When there is no workspace, or the system fails.
pub fn stack_paths(global: &Global) -> anyhow::Result<StackPaths> {
    Ok(find_stack(global)?.paths)
}

/// The command's stack, found without cargo and whatever the manifests contain. Cleans up after
/// killed supervisors, and reports a stack of another place.
pub(crate) fn find_stack(global: &Global) -> anyhow::Result<Found> {
    let start = start_folder(global)?;
    if start.to_str().is_none() {
        return Err(workspace::Error::NotUtf8 { path: start }.into());
    }
    let found = find::around(&start, &global.stack).map_err(Error::StateFolder)?;
    let Some(found) = found else {
        let reason = match &global.manifest_path {
            Some(path) => format!("manifest path `{}` does not exist", path.display()),
            None => format!(
                "could not find `Cargo.toml` in `{}` or any parent directory",
                start.display()
            ),
        };
        return Err(Error::NoWorkspace { reason }.into());
    };
    stack::clean_up(&found.paths)?;
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

/// The folder in which the user stands.
///
/// # Errors
/// When it was deleted, or cannot be read.
pub fn current_folder() -> Result<PathBuf, Error> {
    std::env::current_dir().map_err(Error::NoCurrentFolder)
}

fn start_folder(global: &Global) -> Result<PathBuf, Error> {
    let Some(path) = &global.manifest_path else {
        return current_folder();
    };
    let folder = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    // The manifest itself may have been removed.
    Ok(folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()))
}

/// Kills what is left of a stack that is down and has no records, and reports it.
fn clean_unrecorded(found: &Found) -> anyhow::Result<()> {
    if found.state == FoundState::Down
        && let Some(leftovers) = leftovers::clean_unrecorded(&found.paths)?
    {
        stack::report_leftovers(&found.paths, &leftovers);
    }
    Ok(())
}

/// Prepares a command that starts something: moves the state of a renamed workspace to its present
/// root.
///
/// # Errors
/// When the stack still runs from the former root, or its state cannot be moved.
pub(crate) fn settle(root: &Path, paths: &StackPaths) -> anyhow::Result<()> {
    let name = paths.stack();
    let found = find::at(root, &name).map_err(Error::StateFolder)?;
    stack::clean_up(&found.paths)?;
    clean_unrecorded(&found)?;
    let Some(former) = found.former else { return Ok(()) };
    if found.state != FoundState::Down {
        return Err(
            Error::RunsFromFormerRoot { stack: name, former, root: root.to_path_buf() }.into()
        );
    }
    let (from, to) = (found.paths.workspace(), paths.workspace());
    let moved = move_stacks(from, to).with_context(|| {
        format!("failed to move the state in `{}` to `{}`", from.display(), to.display())
    })?;
    // Another command may have been faster.
    if !paths.folder().exists() {
        let folder = found.paths.folder().to_path_buf();
        return Err(Error::StateElsewhere { stack: name, former, folder }.into());
    }
    if moved.is_empty() {
        return Ok(());
    }
    let (former, root) = (former.display(), root.display());
    let text = format!("state of stacks {} from `{former}` to `{root}`", moved.join(", "));
    print::progress(WARN, "Moved", &text);
    Ok(())
}

/// Reports data of the stack's name that may belong to the workspace and that a start leaves
/// unused, and data of another folder at the same path, which a start uses.
///
/// # Errors
/// As [`StackPaths::of`].
pub(crate) fn report_other_data(plan: &Plan, paths: &StackPaths) -> io::Result<()> {
    let (name, root) = (paths.stack(), Path::new(&plan.workspace));
    let note = |text: String| print::progress(WARN, "Note", &text);
    if has_data(paths) {
        let before = workspaces::of(paths.workspace());
        if before.root == root && before.identity.is_some() && before.identity != identity(root) {
            let (root, folder) = (root.display(), paths.data().display().to_string());
            note(format!(
                "stack `{name}` uses the data in `{folder}`, of another folder that was `{root}`"
            ));
        }
        return Ok(());
    }
    let is_planned =
        |service: &String| plan.services.iter().any(|planned| planned.name.as_str() == *service);
    for recorded in workspaces::all()? {
        let (former, other) = (&recorded.workspace.root, recorded.folder.join(&name));
        let other = StackPaths::at(other);
        let logs = services_with_logs(&other).unwrap_or_default();
        let is_alike = former.file_name() == root.file_name()
            || !logs.is_empty() && logs.iter().all(is_planned);
        if former.is_absolute() && !former.exists() && is_alike && has_data(&other) {
            let runs = if other.is_locked() { ", where the stack still runs" } else { "" };
            note(format!(
                "stack `{name}` starts without data; workspace `{}`, which no longer exists, has \
                 data in `{}`{runs}",
                former.display(),
                other.data().display()
            ));
        }
    }
    Ok(())
}

/// Whether the stack's data folder has contents.
pub(crate) fn has_data(paths: &StackPaths) -> bool {
    std::fs::read_dir(paths.data()).is_ok_and(|mut entries| entries.next().is_some())
}
