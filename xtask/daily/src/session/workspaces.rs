//! Records which workspace each folder of state belongs to: `workspace.json` beside its stacks.
//!
//! The name of the folder contains only a hash of the root. With the record, commands list the
//! stacks of all workspaces, and find the state of a workspace that was renamed. Links, and folders
//! that another user can write to, are ignored.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use xtask_control::StackPaths;
use xtask_control::owners::is_own_folder;
use xtask_control::paths::{stacks_in, state_folder};

use crate::system::json_file::write_json;

/// The content of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workspace {
    /// The root at the last start of a stack; empty in a folder without a record.
    pub root: PathBuf,
    /// What a rename of the root keeps.
    pub identity: Option<String>,
}

/// A folder of state and its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub folder: PathBuf,
    pub workspace: Workspace,
}

impl Recorded {
    /// Whether `root` is the folder that the record was written for, under another path.
    pub(crate) fn moved_to(&self, root: &Path) -> bool {
        let now = identity(root);
        now.is_some() && now == self.workspace.identity && identity(&self.workspace.root) != now
    }

    pub fn stacks(&self) -> Vec<StackPaths> {
        stacks_in(&self.folder)
    }
}

/// What a rename of a folder keeps, and another folder at its path lacks: its inode, with its time
/// of creation where the file system stores one.
pub(crate) fn identity(root: &Path) -> Option<String> {
    let found = std::fs::metadata(root).ok().filter(std::fs::Metadata::is_dir)?;
    let created = found.created().ok().and_then(|created| created.duration_since(UNIX_EPOCH).ok());
    Some(match created {
        // Device numbers may change when the machine restarts.
        Some(created) => format!("{}-{}", found.ino(), created.as_nanos()),
        None => format!("{}-{}", found.ino(), found.dev()),
    })
}

/// The folders of all workspaces, sorted by root.
///
/// # Errors
/// As [`StackPaths::of`].
pub fn all() -> io::Result<Vec<Recorded>> {
    let entries = std::fs::read_dir(state_folder()?).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    let folders = folders.filter(|folder| is_own_folder(folder));
    let mut all: Vec<_> = folders.map(read).collect();
    all.sort_by(|a, b| (&a.workspace.root, &a.folder).cmp(&(&b.workspace.root, &b.folder)));
    Ok(all)
}

/// The record for a folder of state; empty if there is none.
pub(crate) fn of(folder: &Path) -> Workspace {
    let text = std::fs::read(file(folder)).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn read(folder: PathBuf) -> Recorded {
    let workspace = of(&folder);
    Recorded { folder, workspace }
}

/// Writes the record for a folder of state if it differs.
pub(crate) fn record(folder: &Path, root: &Path) -> io::Result<()> {
    let workspace = Workspace { root: root.to_path_buf(), identity: identity(root) };
    if of(folder) == workspace {
        return Ok(());
    }
    write_json(&file(folder), &workspace)
}

/// Moves the stopped stacks of a folder of state into another one that has no such stack. Returns
/// the names of the moved stacks.
///
/// # Errors
/// When the system refuses.
pub(crate) fn move_stacks(from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let mut moved = Vec::new();
    for paths in stacks_in(from) {
        let target = StackPaths::at(to.join(paths.stack()));
        // A record of an engine belongs to containers that are labelled with the old path.
        if paths.is_locked() || paths.engine_record().exists() || target.folder().exists() {
            continue;
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
        match std::fs::rename(paths.folder(), target.folder()) {
            Ok(()) => moved.push(paths.stack()),
            // Another command was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    forget_if_empty(from);
    Ok(moved)
}

/// Removes a folder of state without stacks.
pub(crate) fn forget_if_empty(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let record = file(folder);
    // A stack that has just been made has no lock yet.
    if entries.map(|entry| entry.path()).all(|path| path == record) {
        let _ = std::fs::remove_file(record);
        let _ = std::fs::remove_dir(folder);
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("workspace.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_kept_by_a_rename_only() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        std::fs::create_dir(&first).unwrap();
        let before = identity(&first);
        assert!(before.is_some());
        std::fs::rename(&first, &second).unwrap();
        std::fs::create_dir(&first).unwrap();
        assert_eq!(identity(&second), before);
        assert_ne!(identity(&first), before);
        assert_eq!(identity(&folder.path().join("none")), None);
    }

    #[test]
    fn record_names_the_root_of_a_renamed_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let state = folder.path().join("state");
        [&old, &state].iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        record(&state, &old).unwrap();
        assert!(!read(state.clone()).moved_to(&old));
        std::fs::rename(&old, &new).unwrap();
        let found = read(state.clone());
        assert_eq!(found.workspace.root, old);
        assert!(found.moved_to(&new) && !found.moved_to(folder.path()));
        record(&state, &new).unwrap();
        assert!(!read(state).moved_to(&new));
    }

    #[test]
    fn move_keeps_running_stacks_and_those_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let make = |parent: &Path, stack: &str| {
            let paths = StackPaths::at(parent.join(stack));
            paths.create().unwrap();
            std::fs::write(paths.data().join("file"), stack).unwrap();
            std::fs::File::create(paths.lock()).unwrap()
        };
        let running = make(&from, "running");
        running.lock().unwrap();
        make(&from, "stopped");
        make(&from, "both");
        make(&to, "both");
        assert_eq!(move_stacks(&from, &to).unwrap(), ["stopped"]);
        let names = |folder: &Path| {
            let stacks = stacks_in(folder);
            stacks.iter().map(StackPaths::stack).collect::<Vec<_>>()
        };
        assert_eq!(names(&from), ["both", "running"]);
        assert_eq!(names(&to), ["both", "stopped"]);
        assert_eq!(std::fs::read_to_string(to.join("stopped/data/file")).unwrap(), "stopped");
        drop(running);
        std::fs::remove_dir_all(to.join("both")).unwrap();
        assert_eq!(move_stacks(&from, &to).unwrap(), ["both", "running"]);
        assert!(!from.exists());
    }
}
