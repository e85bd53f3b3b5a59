//! Stacks that a command makes for itself: their names, and what they leave.
//!
//! It starts and stops none.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use xtask_control::StackPaths;
use xtask_control::paths::stacks_in;

use super::{Error, workspaces};
use crate::supervisor::lock::Lock;

/// How long the files of a failed run are kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The files of no more failed runs than this are kept.
const MOST_KEPT: usize = 10;

/// A younger folder may belong to a run that has just started.
const YOUNG: Duration = Duration::from_secs(60);

/// The paths of a stack that no other run uses. Nothing is created.
pub fn fresh(root: &Path) -> Result<StackPaths, Error> {
    let pid = std::process::id();
    // An earlier process with this pid may have left its stack.
    let names =
        std::iter::once(format!("e2e-{pid}")).chain((2..).map(|n| format!("e2e-{pid}-{n}")));
    for name in names {
        let paths = StackPaths::of(root, &name).map_err(Error::NoStateFolder)?;
        if !paths.folder().exists() {
            return Ok(paths);
        }
    }
    unreachable!("there are more names than folders")
}

/// Deletes the files of a stack that was shut down. If a container engine could not remove
/// everything, the engine's note and the lock stay for the command that retries. Files that
/// cannot be deleted stay too.
pub fn delete(paths: &StackPaths) {
    if !paths.engine_record().exists() {
        std::fs::remove_dir_all(paths.folder()).ok();
        workspaces::forget_if_empty(paths.workspace());
        return;
    }
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

/// Marks the files of a failed run, so that [`sweep`] keeps them for a day.
pub fn keep(paths: &StackPaths) -> io::Result<()> {
    std::fs::write(marker(paths), "")
}

/// Deletes the files of killed runs, and those of failed runs that are older than a day or than
/// the last [`MOST_KEPT`]. Files that cannot be deleted stay.
pub fn sweep(root: &Path) {
    let Ok(any) = StackPaths::of(root, "any") else { return };
    let mut all = stacks_in(any.workspace());
    all.retain(|paths| is_name_of_a_run(&paths.stack()));
    // Newest first.
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
