//! Leftovers: what remains of a stack whose supervisor died, found, removed and reported.
//!
//! Guardian and sweeper clean up and leave a note. If they died together with the supervisor, the
//! next command cleans up. All of this happens under the stack's lock, so a living supervisor is
//! never affected.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xtask_control::StackPaths;
use xtask_control::paths::Endpoint;

use super::lock::Lock;
use crate::effects::containers::cleanup::{self, AfterCleanup, Removed};
use crate::system::json_file::write_json;
use crate::system::mark::Marks;
use crate::system::pidfd::has_died;
use crate::system::sweep::{KilledProcess, any_marked, kill_marked};
use crate::system::{proc, supervisors};

/// How often a command looks whether another process has cleaned up.
const POLL: Duration = Duration::from_millis(2);

/// What remained of a stack after its supervisor died.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Leftovers {
    /// Process id of the dead supervisor, if known.
    pub(crate) supervisor: Option<u32>,
    /// Processes that were still running and were killed.
    pub(crate) ended: Vec<KilledProcess>,
    /// Containers that still existed and were removed.
    pub(crate) containers: Vec<String>,
    /// Why some containers may remain.
    pub(crate) kept: Option<String>,
}

/// Cleans up after a dead supervisor. Without leftovers this costs three lookups of files.
///
/// # Errors
/// When the lock file cannot be used.
pub(crate) fn clean(paths: &StackPaths) -> io::Result<Option<Leftovers>> {
    let notes = [paths.endpoint(), paths.died_endpoint(), paths.engine_record()];
    if !notes.iter().any(|note| note.exists()) {
        return Ok(None);
    }
    let endpoint = paths.read_endpoint();
    if endpoint.is_some_and(|endpoint| supervises(endpoint.pid.cast_signed(), paths)) {
        // If its lock was deleted, the lock of a new file proves nothing.
        return Ok(None);
    }
    loop {
        if let Some(lock) = Lock::try_take(&paths.lock())? {
            return Ok(clean_locked(paths, &lock));
        }
        if !awaits_clean_up(paths) {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// Whether the lock's holder cleans up. It replaces the endpoint of the dead supervisor by a note
/// before it releases the lock. A new supervisor removes both when it starts.
fn awaits_clean_up(paths: &StackPaths) -> bool {
    match paths.read_endpoint() {
        Some(endpoint) => has_died(endpoint.pid),
        None => paths.died_endpoint().exists(),
    }
}

/// Kills processes with a mark of a stack that has neither supervisor nor endpoint: the supervisor
/// was killed, and the stack's files were deleted. Then the name in the mark must be enough.
///
/// # Errors
/// When the stack's folder cannot be created, or the lock file cannot be used.
pub(crate) fn clean_unrecorded(paths: &StackPaths) -> io::Result<Option<Leftovers>> {
    let (marks, spared) = (Marks::of(paths), proc::own_ancestry());
    if !any_marked(&marks, &spared) {
        return Ok(None);
    }
    paths.create()?;
    let Some(_lock) = Lock::try_take(&paths.lock())? else { return Ok(None) };
    // It may have started before this process took the lock, and its files deleted since.
    if supervisors::all().any(|process| process.folder == paths.folder()) {
        return Ok(None);
    }
    let ended = kill_marked(&marks, &spared);
    Ok((!ended.is_empty()).then(|| Leftovers { ended, ..Leftovers::default() }))
}

/// Whether a process is the supervisor of a stack.
fn supervises(pid: i32, paths: &StackPaths) -> bool {
    let is_running = proc::running_stat(pid).is_some();
    is_running && supervisors::of(pid).is_some_and(|process| process.folder == paths.folder())
}

/// As [`clean`], for a caller that holds the stack's lock.
pub(crate) fn clean_locked(paths: &StackPaths, _lock: &Lock) -> Option<Leftovers> {
    let marks = Marks::of(paths);
    let mut leftovers = if let Some(endpoint) = paths.read_endpoint() {
        // The calling process may be a descendant of a service of this stack.
        let ended = kill_marked(&marks, &proc::own_ancestry());
        remove_sockets(paths, &endpoint);
        Some(Leftovers { supervisor: Some(endpoint.pid), ended, ..Leftovers::default() })
    } else {
        let note = std::fs::read(paths.died_endpoint()).ok();
        note.and_then(|note| serde_json::from_slice(&note).ok())
    };
    // The engine may answer now, even if guardian and sweeper could not reach it.
    let removed = cleanup::remove(&paths.engine_record(), &marks, AfterCleanup::DeleteRecord);
    if removed != Removed::default() {
        let leftovers = leftovers.get_or_insert_default();
        leftovers.containers.extend(removed.containers);
        leftovers.kept = removed.failure;
    }
    // The endpoint is removed last: an interrupted clean-up is repeated as long as it exists.
    let _ = std::fs::remove_file(paths.died_endpoint());
    let _ = std::fs::remove_file(paths.endpoint());
    leftovers
}

/// Replaces the dead supervisor's endpoint by a note that lists what was killed and removed.
pub(crate) fn bury(
    paths: &StackPaths,
    runtime: &Path,
    ended: Vec<KilledProcess>,
    containers: Vec<String>,
) {
    let _ = std::fs::remove_dir_all(runtime);
    if let Some(endpoint) = paths.read_endpoint() {
        let supervisor = Some(endpoint.pid);
        let note = Leftovers { supervisor, ended, containers, kept: None };
        let _ = write_json(&paths.died_endpoint(), &note);
    }
    let _ = std::fs::remove_file(paths.endpoint());
}

/// Removes the socket folder if its name is the one that this stack uses.
fn remove_sockets(paths: &StackPaths, endpoint: &Endpoint) {
    let folder = endpoint.socket.parent();
    if let Some(folder) = folder.filter(|folder| folder.ends_with(paths.short_name())) {
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn stack(folder: &Path) -> StackPaths {
        let paths = StackPaths::at(folder.join("dev"));
        paths.create().unwrap();
        paths
    }

    fn write(paths: &StackPaths, file: &Path, socket: &Path) {
        let endpoint = Endpoint { pid: 7, socket: socket.to_path_buf() };
        std::fs::write(file, serde_json::to_vec(&endpoint).unwrap()).unwrap();
        assert!(paths.folder().exists());
    }

    #[test]
    fn dead_supervisor_is_cleaned_up_and_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let paths = stack(folder.path());
        let runtime = folder.path().join(paths.short_name());
        std::fs::create_dir(&runtime).unwrap();
        std::fs::write(runtime.join("control"), "").unwrap();
        write(&paths, &paths.endpoint(), &runtime.join("control"));

        let reported = Leftovers { supervisor: Some(7), ended: Vec::new(), ..Leftovers::default() };
        assert_eq!(clean(&paths).unwrap(), Some(reported));
        assert!(!runtime.exists() && !paths.endpoint().exists());
        assert_eq!(clean(&paths).unwrap(), None);
    }

    #[test]
    fn clean_skips_a_stack_whose_lock_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let paths = stack(folder.path());
        write(&paths, &paths.endpoint(), Path::new("/no/where/control"));
        let alive = Endpoint { pid: std::process::id(), socket: PathBuf::from("/no/where") };
        std::fs::write(paths.endpoint(), serde_json::to_vec(&alive).unwrap()).unwrap();
        let held = Lock::wait(&paths.lock()).unwrap();
        assert_eq!(clean(&paths).unwrap(), None);
        assert!(paths.endpoint().exists());
        drop(held);
        assert!(clean(&paths).unwrap().is_some());
    }

    #[test]
    fn note_behind_a_held_lock_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let paths = stack(folder.path());
        write(&paths, &paths.endpoint(), Path::new("/no/where/control"));
        let held = Lock::wait(&paths.lock()).unwrap();
        bury(&paths, &folder.path().join("runtime"), Vec::new(), Vec::new());
        let waiting = paths.clone();
        let command = std::thread::spawn(move || clean(&waiting).unwrap());
        // A command that does not wait ends, whatever time the lock is held.
        std::thread::sleep(10 * POLL);
        assert!(!command.is_finished());
        drop(held);
        assert_eq!(command.join().unwrap().unwrap().supervisor, Some(7));
    }

    #[test]
    fn guardian_note_is_reported_once_and_foreign_folders_stay() {
        let folder = tempfile::tempdir().unwrap();
        let paths = stack(folder.path());
        let foreign = folder.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        write(&paths, &paths.endpoint(), &foreign.join("control"));
        let runtime = folder.path().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        let ended = vec![KilledProcess { pid: 8, command: "sleep".to_owned() }];
        bury(&paths, &runtime, ended.clone(), Vec::new());
        assert!(!runtime.exists() && !paths.endpoint().exists());
        assert_eq!(
            clean(&paths).unwrap(),
            Some(Leftovers { supervisor: Some(7), ended, ..Leftovers::default() })
        );
        assert_eq!(clean(&paths).unwrap(), None);

        write(&paths, &paths.endpoint(), &foreign.join("control"));
        assert!(clean(&paths).unwrap().is_some());
        assert!(foreign.exists());
    }
}
