//! What is left of a stack whose supervisor did not end in order: recognised, cleaned
//! up, and told.
//!
//! Guardian and sweeper clean up themselves and leave a note. Where they died together
//! with the supervisor, the next command does it, whichever it is. Everything here is
//! done under the stack's lock, so that nothing of a living supervisor is ever touched.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xtask_client::StackPaths;
use xtask_client::paths::Endpoint;

use super::lock::Lock;
use crate::effects::containers::remains::{self, NoteThen, Removed};
use crate::system::json_file::write_json;
use crate::system::sweep::{KilledProcess, end_marked, has_died, ourselves};

/// A supervisor that died without cleaning up, and what was left of its stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Leftovers {
    /// The supervisor's process; none where it is not known any more.
    pub(crate) supervisor: Option<u32>,
    /// The processes that were still there.
    pub(crate) ended: Vec<KilledProcess>,
    /// The containers that were still there, and are removed.
    pub(crate) containers: Vec<String>,
    /// Why some may still be there.
    pub(crate) kept: Option<String>,
}

/// Cleans up what a stack left behind, if its supervisor is dead and left something.
/// It costs next to nothing where there is nothing to do.
///
/// # Errors
/// What the system says of the lock.
pub(crate) fn clean(paths: &StackPaths) -> io::Result<Option<Leftovers>> {
    let notes = [paths.endpoint(), paths.obituary(), paths.engine_note()];
    if !notes.iter().any(|note| note.exists()) {
        return Ok(None);
    }
    let lock = match Lock::try_take(&paths.lock())? {
        Some(lock) => lock,
        // Whoever holds it is about to clean up, and has something to tell.
        None if paths.read_endpoint().is_some_and(|endpoint| has_died(endpoint.pid)) => {
            Lock::wait(&paths.lock())?
        }
        None => return Ok(None),
    };
    Ok(clean_locked(paths, &lock))
}

/// As [`clean`], with the stack's lock in hand.
pub(crate) fn clean_locked(paths: &StackPaths, _lock: &Lock) -> Option<Leftovers> {
    let mut leftovers = if let Some(endpoint) = paths.read_endpoint() {
        // Who calls us may have been started by a service of this very stack.
        let ended = end_marked(&paths.short_name(), &ourselves());
        remove_sockets(paths, &endpoint);
        Some(Leftovers { supervisor: Some(endpoint.pid), ended, ..Leftovers::default() })
    } else {
        let note = std::fs::read(paths.obituary()).ok();
        note.and_then(|note| serde_json::from_slice(&note).ok())
    };
    // Where nobody could reach the engine then, somebody may now.
    let removed = remains::remove(&paths.engine_note(), &paths.short_name(), NoteThen::Forget);
    if removed != Removed::default() {
        let leftovers = leftovers.get_or_insert_default();
        leftovers.containers.extend(removed.containers);
        leftovers.kept = removed.kept;
    }
    // The endpoint goes last: until then somebody else would begin anew.
    let _ = std::fs::remove_file(paths.obituary());
    let _ = std::fs::remove_file(paths.endpoint());
    leftovers
}

/// Leaves the note that a supervisor died, once everything of its stack is gone and
/// these were `ended` or removed.
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
        let _ = write_json(&paths.obituary(), &note);
    }
    let _ = std::fs::remove_file(paths.endpoint());
}

/// Removes the folder of the sockets, if it is the one that this stack would use.
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
    fn the_sockets_of_a_dead_supervisor_are_removed_and_it_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let paths = stack(folder.path());
        let runtime = folder.path().join(paths.short_name());
        std::fs::create_dir(&runtime).unwrap();
        std::fs::write(runtime.join("control"), "").unwrap();
        write(&paths, &paths.endpoint(), &runtime.join("control"));

        let told = Leftovers { supervisor: Some(7), ended: Vec::new(), ..Leftovers::default() };
        assert_eq!(clean(&paths).unwrap(), Some(told));
        assert!(!runtime.exists() && !paths.endpoint().exists());
        assert_eq!(clean(&paths).unwrap(), None);
    }

    #[test]
    fn a_stack_whose_lock_is_held_is_left_alone() {
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
    fn a_guardians_note_is_told_once_and_a_foreign_folder_is_not_removed() {
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
