//! Stacks that a command makes for itself, apart from all others: their names, their end,
//! and what they leave.
//!
//! It starts none: whoever wants one brings it up.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use xtask_client::StackPaths;
use xtask_client::paths::{DEFAULT_STACK, stacks_of};
use xtask_client::protocol::Request;

use super::Global;
use super::exit::Exit;
use super::interrupt::Interrupts;
use super::locate;
use super::print::error_with_hint;
use crate::session::launch::Session;
use crate::supervisor::lock::Lock;

/// What a failed run leaves is kept this long.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// No more of it is kept than this many runs left.
const MOST_KEPT: usize = 10;

/// A folder younger than this may be one of a run that has just begun.
const YOUNG: Duration = Duration::from_secs(60);

/// Says that a command names its stack itself, if it was given a name.
pub(crate) fn refuse_name(global: &Global, command: &str, hint: &str) -> Option<Exit> {
    let named = global.stack != DEFAULT_STACK;
    named.then(|| {
        error_with_hint(&format!("`{command}` names its stack itself"), hint);
        Exit::USAGE
    })
}

/// The paths of a stack that no other run uses. Nothing is created.
pub(crate) fn fresh(root: &Path) -> anyhow::Result<StackPaths> {
    let pid = std::process::id();
    // An earlier process of this number may have left its stack behind.
    let names =
        std::iter::once(format!("e2e-{pid}")).chain((2..).map(|n| format!("e2e-{pid}-{n}")));
    for name in names {
        let paths = StackPaths::of(root, &name).context("cannot place the stack's state")?;
        if !paths.folder().exists() {
            return Ok(paths);
        }
    }
    unreachable!("there are more names than folders")
}

/// Stops a stack in order; a signal meanwhile kills it.
pub(crate) async fn take_down(mut session: Session, interrupts: &mut Interrupts) {
    let Session { connection, supervisor, .. } = &mut session;
    // It may have gone by itself, which is what is wanted.
    connection.send(Request::Shutdown { now: false }).await.ok();
    loop {
        tokio::select! {
            () = supervisor.gone() => return,
            _ = interrupts.next() => {
                connection.send(Request::Shutdown { now: true }).await.ok();
            }
        }
    }
}

/// Deletes what a stack that has ended leaves. Where it could not remove all that it had in a
/// container engine, that is said, and the note of it stays, with the lock, for the command that
/// tries it again. What cannot be deleted stays, too.
pub(crate) fn delete(paths: &StackPaths) {
    if !paths.engine_record().exists() {
        std::fs::remove_dir_all(paths.folder()).ok();
        return;
    }
    locate::tell_what_is_left(paths);
    let kept = [paths.engine_record(), paths.lock()];
    for entry in std::fs::read_dir(paths.folder()).into_iter().flatten().flatten() {
        let path = entry.path();
        if kept.contains(&path) {
            continue;
        }
        match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            true => std::fs::remove_dir_all(path).ok(),
            false => std::fs::remove_file(path).ok(),
        };
    }
}

/// Keeps what a failed run leaves, for a day.
///
/// # Errors
/// What the system says.
pub(crate) fn keep(paths: &StackPaths) -> io::Result<()> {
    std::fs::write(marker(paths), "")
}

/// Deletes what runs left that were killed, and what failed runs left long ago or before
/// [`MOST_KEPT`] others. What cannot be deleted stays.
pub(crate) fn sweep(root: &Path) {
    let mut all = stacks_of(root).unwrap_or_default();
    all.retain(|paths| is_name_of_a_run(&paths.stack()));
    // The newest first.
    all.sort_by_cached_key(|paths| std::cmp::Reverse(kept_at(paths)));
    for (index, paths) in all.iter().enumerate() {
        let age = match kept_at(paths) {
            Some(_) if index < MOST_KEPT => KEPT,
            Some(_) => Duration::ZERO,
            None => YOUNG,
        };
        if is_older_than(age, paths.folder())
            && !paths.engine_record().exists()
            && matches!(Lock::try_take(&paths.lock()), Ok(Some(_)))
        {
            std::fs::remove_dir_all(paths.folder()).ok();
        }
    }
}

/// When it was kept, if it was.
fn kept_at(paths: &StackPaths) -> Option<SystemTime> {
    std::fs::metadata(marker(paths)).and_then(|found| found.modified()).ok()
}

fn marker(paths: &StackPaths) -> PathBuf {
    paths.folder().join("kept")
}

/// Names as [`fresh`] gives them: `e2e-` and numbers.
fn is_name_of_a_run(stack: &str) -> bool {
    let numbers = stack.strip_prefix("e2e-").unwrap_or_default();
    numbers.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn is_older_than(limit: Duration, folder: &Path) -> bool {
    let changed = std::fs::metadata(folder).and_then(|found| found.modified());
    let age = changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
    age.is_some_and(|age| age > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stacks_of_test_runs_are_swept() {
        for name in ["e2e-1", "e2e-12-3"] {
            assert!(is_name_of_a_run(name), "{name}");
        }
        for name in ["dev", "e2e", "e2e-", "e2e-mine", "e2e-1-", "e2e-1-mine", "e2e1"] {
            assert!(!is_name_of_a_run(name), "{name}");
        }
    }
}
