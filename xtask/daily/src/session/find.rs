//! Finds the stack of a command by what running stacks and earlier starts have left: records in
//! the folder of all state, and the command lines of supervisors.
//!
//! It reads no metadata and runs no cargo, so it works whatever the manifests contain. It also
//! finds a stack whose workspace was renamed, and one whose files were deleted.

use std::io;
use std::path::{Path, PathBuf};

use xtask_control::StackPaths;
use xtask_control::paths::state_folder;

use super::workspaces::{self, Recorded, identity};
use crate::system::supervisors::{self, SupervisorProcess};

/// The stack of a command.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) paths: StackPaths,
    /// The root of its workspace.
    pub(crate) root: PathBuf,
    /// The root at the stack's start, if the workspace was renamed since.
    pub(crate) former: Option<PathBuf>,
    pub(crate) state: FoundState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundState {
    /// A process holds the stack's lock.
    Locked,
    /// The supervisor with this pid has no lock: its files were deleted, or it is starting.
    Unlocked(i32),
    /// No process of the stack was found.
    Down,
}

/// The stack with this name of the workspace around the folder `start`; none outside of a
/// workspace. The nearest folder with records or a supervisor is the root, so that a nested
/// workspace without a stack belongs to the one around it. Another repository does not.
///
/// # Errors
/// As [`StackPaths::of`].
pub(crate) fn around(start: &Path, stack: &str) -> io::Result<Option<Found>> {
    let mut folders: Vec<&Path> = start.ancestors().collect();
    if let Some(repository) = folders.iter().position(|folder| is_repository(folder)) {
        folders.truncate(repository + 1);
    }
    let found = among(&folders, stack)?;
    if found.is_some() {
        return Ok(found);
    }
    let mut manifests = folders.iter().filter(|folder| manifest(folder).exists());
    let root = folders.iter().find(|folder| declares_workspace(folder)).or(manifests.next());
    let Some(root) = root else { return Ok(None) };
    down(root, stack).map(Some)
}

/// As [`around`], for the workspace with this root.
///
/// # Errors
/// As [`StackPaths::of`].
pub(crate) fn at(root: &Path, stack: &str) -> io::Result<Found> {
    match among(&[root], stack)? {
        Some(found) => Ok(found),
        None => down(root, stack),
    }
}

/// The nearest workspace around `start`, as its manifests declare it.
pub(crate) fn declared_root(start: &Path) -> Option<&Path> {
    start.ancestors().find(|folder| declares_workspace(folder))
}

/// A stack without state.
fn down(root: &Path, stack: &str) -> io::Result<Found> {
    let paths = StackPaths::of(root, stack)?;
    Ok(Found { paths, root: root.to_path_buf(), former: None, state: FoundState::Down })
}

fn among(folders: &[&Path], stack: &str) -> io::Result<Option<Found>> {
    let known = workspaces::all()?;
    let mut recorded = None;
    for (index, root) in folders.iter().enumerate() {
        if let Some(found) = recorded_at(root, stack, &known)? {
            if found.state == FoundState::Locked {
                return Ok(Some(found));
            }
            recorded = Some((index, found));
            break;
        }
    }
    let state = state_folder()?;
    let running: Vec<_> = supervisors::all()
        .filter(|process| process.folder.starts_with(&state) && process.folder.ends_with(stack))
        .collect();
    let nearer = recorded.as_ref().map_or(folders.len(), |(index, _)| index + 1);
    let running = folders[..nearer].iter().find_map(|root| supervised_at(root, &running));
    Ok(running.or(recorded.map(|(_, found)| found)))
}

/// The stack of a workspace with records: the one that runs, or else the one with files.
fn recorded_at(root: &Path, stack: &str, known: &[Recorded]) -> io::Result<Option<Found>> {
    let own = StackPaths::of(root, stack)?;
    let has_state = own.workspace().is_dir();
    let moved = known.iter().filter(|known| known.moved_to(root));
    let mut candidates: Vec<_> = moved
        .map(|known| (StackPaths::at(known.folder.join(stack)), Some(known.workspace.root.clone())))
        .collect();
    if candidates.is_empty() && !has_state {
        return Ok(None);
    }
    candidates.insert(0, (own.clone(), None));
    let locked = candidates.iter().position(|(paths, _)| paths.is_locked());
    let chosen = locked.or(candidates.iter().position(|(paths, _)| paths.folder().exists()));
    let (paths, former) = candidates.swap_remove(chosen.unwrap_or(0));
    let state = if locked.is_some() { FoundState::Locked } else { FoundState::Down };
    Ok(Some(Found { paths, root: root.to_path_buf(), former, state }))
}

fn supervised_at(root: &Path, running: &[SupervisorProcess]) -> Option<Found> {
    let now = identity(root);
    let is_here = |process: &&SupervisorProcess| process.workspace == root;
    let has_moved = |process: &&SupervisorProcess| {
        now.is_some() && process.identity == now && identity(&process.workspace) != now
    };
    let process = running.iter().find(is_here).or_else(|| running.iter().find(has_moved))?;
    Some(Found {
        paths: StackPaths::at(&process.folder),
        root: root.to_path_buf(),
        former: (process.workspace != root).then(|| process.workspace.clone()),
        state: FoundState::Unlocked(process.pid),
    })
}

fn manifest(folder: &Path) -> PathBuf {
    folder.join("Cargo.toml")
}

/// Whether a manifest has the table `[workspace]`, by its text: it may be broken.
fn declares_workspace(folder: &Path) -> bool {
    let text = std::fs::read(manifest(folder)).unwrap_or_default();
    text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_start().starts_with(b"[workspace"))
}

/// Whether a folder is the root of a repository and of a workspace. A worktree inside of another
/// one has stacks of its own.
fn is_repository(folder: &Path) -> bool {
    folder.join(".git").exists() && declares_workspace(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspace_is_declared_by_broken_manifests_too() {
        let folder = tempfile::tempdir().unwrap();
        let (root, member) = (folder.path(), folder.path().join("member"));
        std::fs::create_dir(&member).unwrap();
        assert_eq!(declared_root(&member), None);
        std::fs::write(manifest(&member), "[package]\nname = \"m\"\n").unwrap();
        std::fs::write(manifest(root), "<<<<<<<\n [workspace]\nnonsense").unwrap();
        assert_eq!(declared_root(&member), Some(root));
        assert!(!is_repository(root));
        std::fs::write(root.join(".git"), "").unwrap();
        assert!(is_repository(root) && !is_repository(&member));
    }

    #[test]
    fn supervisor_of_a_renamed_workspace_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        std::fs::create_dir(&new).unwrap();
        let process = |identity| SupervisorProcess {
            pid: 7,
            folder: "/state/old-1/dev".into(),
            workspace: old.clone(),
            identity,
        };
        let running = [process(identity(&new))];
        let found = supervised_at(&new, &running).unwrap();
        assert_eq!((found.former, found.state), (Some(old.clone()), FoundState::Unlocked(7)));
        assert_eq!(supervised_at(&old, &running).unwrap().former, None);
        assert!(supervised_at(&new, &[process(None)]).is_none());
        assert!(supervised_at(folder.path(), &running).is_none());
    }
}
