//! Writes JSON files atomically: a reader never sees half of one, even if the writer is killed or
//! the disk is full.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Replaces a JSON file by renaming a new one over it, which only this user can read. On failure
/// the old file is unchanged.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let fresh = fresh(path);
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        std::fs::rename(&fresh, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(&fresh);
    })
}

/// Another process may write the same file at this moment.
fn fresh(path: &Path) -> PathBuf {
    path.with_added_extension(format!("{}.new", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_write_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note.json");
        write_json(&path, &"first").unwrap();
        write_json(&path, &"second").unwrap();
        // A folder at this path makes the write fail.
        std::fs::create_dir(fresh(&path)).unwrap();
        write_json(&path, &"third").unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"second\"");
    }
}
