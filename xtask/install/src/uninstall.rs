//! Removes the tool from a workspace, and restores the files that its installation edited.

use std::path::Path;
use std::process::Command;

use crate::install::{changed, changes, remove_empty_folders};
use crate::record::{Edit, RECORD, Record, is_inside};
use crate::text::{hash, read, write};
use crate::{Error, Host, lock};

/// Removes the tool. Edits of installed files are lost only with `discard_edits`. Returns the paths
/// in the tool's folder that are not its own and stay.
///
/// # Errors
/// [`Error`]; nothing was changed, unless a file cannot be written.
pub fn uninstall(host: &Host, discard_edits: bool) -> Result<Vec<String>, Error> {
    let root = &host.root;
    let Some(record) = Record::of(root)? else {
        return Err(Error::NotInstalled { root: root.clone() });
    };
    let files = record.edited(root)?;
    if !files.is_empty() && !discard_edits {
        return Err(Error::Edited { files });
    }
    let mut restored = Vec::new();
    for (path, _, inverse) in changes(host) {
        let file = root.join(path);
        let Some(text) = read(&file)? else { continue };
        let Some(edit) = record.edits.get(path) else { continue };
        let inverse = changed(&file, &text, inverse)?;
        restored.push((file, original(root, path, edit, text, inverse)));
    }
    for (file, text) in restored {
        write(&file, text.as_deref().map(str::as_bytes))?;
    }
    for path in record.files.keys().filter(|path| is_inside(path)) {
        write(&root.join(path), None)?;
    }
    write(&root.join(RECORD), None)?;
    remove_empty_folders(root);
    Ok(remaining(root))
}

/// The content of an edited file without the tool: byte for byte what it was, if only the
/// installation and cargo changed it since. `None` deletes the file.
fn original(root: &Path, path: &str, edit: &Edit, text: String, inverse: String) -> Option<String> {
    let is_lock = path == "Cargo.lock";
    if edit.reversible {
        return Some(inverse);
    }
    match &edit.before {
        // Cargo created the lock file for the launcher. One that the user keeps stays.
        None if is_lock => Some(inverse).filter(|_| is_tracked(root, path)),
        None => Some(inverse).filter(|inverse| !inverse.trim().is_empty()),
        Some(before) if edit.after == hash(text.as_bytes()) => Some(before.clone()),
        Some(before) if is_lock && lock::locks_the_same(before, &text) => Some(before.clone()),
        Some(before) if inverse.trim_end() == before.trim_end() => Some(before.clone()),
        Some(_) => Some(inverse),
    }
}

/// Whether git has the file.
fn is_tracked(root: &Path, path: &str) -> bool {
    let mut git = Command::new("git");
    git.args(["ls-files", "--error-unmatch", path]).current_dir(root);
    git.output().is_ok_and(|output| output.status.success())
}

/// What is still in the launcher's folder.
fn remaining(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join(crate::MEMBER)).into_iter().flatten().flatten();
    let mut paths: Vec<String> = entries
        .map(|entry| format!("{}/{}", crate::MEMBER, entry.file_name().to_string_lossy()))
        .collect();
    paths.sort();
    paths
}
