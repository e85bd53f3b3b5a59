//! Finds changed files by their times and sizes, where the system gives no file events.
//!
//! notify's own poller compares whole seconds, so it misses the second of two quick edits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The pause between two looks. A look reads the state of each file.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// What a file looked like: inode, time of the last write in seconds and nanoseconds, size.
type Stamp = (u64, i64, i64, u64);

#[derive(Debug, Default)]
pub(crate) struct Polling {
    stamps: BTreeMap<PathBuf, Stamp>,
}

impl Polling {
    /// The paths that appeared, changed or vanished since the last look.
    pub(crate) fn look<'a>(&mut self, files: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
        let stamps: BTreeMap<PathBuf, Stamp> =
            files.filter_map(|path| Some((path.clone(), stamp(path)?))).collect();
        let before = std::mem::replace(&mut self.stamps, stamps);
        let all: BTreeSet<&PathBuf> = before.keys().chain(self.stamps.keys()).collect();
        let changed = all.into_iter().filter(|path| before.get(*path) != self.stamps.get(*path));
        changed.cloned().collect()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_new_and_deleted_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let [kept, written, gone, new] =
            ["kept", "written", "gone", "new"].map(|name| folder.path().join(name));
        for path in [&kept, &written, &gone] {
            fs::write(path, "1").unwrap();
        }
        let all = [&kept, &written, &gone, &new];
        let mut polling = Polling::default();
        assert_eq!(polling.look(all.into_iter()).len(), 3);
        fs::write(&written, "12").unwrap();
        fs::remove_file(&gone).unwrap();
        fs::write(&new, "").unwrap();
        let mut expected = vec![written.clone(), gone.clone(), new.clone()];
        expected.sort();
        assert_eq!(polling.look(all.into_iter()), expected);
        assert_eq!(polling.look(all.into_iter()), Vec::<PathBuf>::new());
    }
}
