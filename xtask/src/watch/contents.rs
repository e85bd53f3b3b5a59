//! Tells edits from writes that change nothing, and from what a build writes itself.
//!
//! A file whose content is the known one did not change: editors, formatters and build scripts
//! write files without changing them. A build script that writes a source anew in each build would
//! start one build after the other. So after a few of them its file is ignored while cargo builds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A larger file is compared by time and size, in bytes.
const LARGEST_READ: u64 = 4 * 1024 * 1024;

/// So many builds in a row that only such files started make them generated files.
const MOST_IN_A_ROW: u32 = 3;

/// When build scripts ran in a build: their writes have times in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScriptTime {
    pub(crate) began: SystemTime,
    pub(crate) ended: SystemTime,
}

#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The content of each file that changed so far; none if it is gone.
    known: BTreeMap<PathBuf, Option<u64>>,
    in_a_row: u32,
    generated: BTreeSet<PathBuf>,
}

impl Contents {
    /// Whether the content differs from that of the last call. The first call for a file says yes.
    pub(crate) fn has_changed(&mut self, path: &Path) -> bool {
        let now = content(path);
        self.known.insert(path.to_path_buf(), now) != Some(now)
    }

    /// Takes the changes after a build, and returns those that count. `scripts` is when the build
    /// scripts ran in the build before; none if no build preceded. The second value are files that
    /// turned out to be generated.
    pub(crate) fn after_build(
        &mut self,
        changed: BTreeSet<PathBuf>,
        scripts: Option<ScriptTime>,
    ) -> (BTreeSet<PathBuf>, Vec<PathBuf>) {
        let is_of_script = |path: &PathBuf| {
            let written = fs::metadata(path).and_then(|found| found.modified());
            scripts.is_some_and(|scripts| {
                written.is_ok_and(|time| (scripts.began..=scripts.ended).contains(&time))
            })
        };
        let written: BTreeSet<PathBuf> =
            changed.iter().filter(|p| is_of_script(p)).cloned().collect();
        let only_scripts = !changed.is_empty() && written.len() == changed.len();
        self.in_a_row = if only_scripts { self.in_a_row + 1 } else { 0 };
        let mut new = Vec::new();
        if self.in_a_row > MOST_IN_A_ROW {
            new.extend(written.difference(&self.generated).cloned());
            self.generated.extend(written.iter().cloned());
        }
        let counts = |path: &PathBuf| !(written.contains(path) && self.generated.contains(path));
        (changed.into_iter().filter(counts).collect(), new)
    }
}

fn content(path: &Path) -> Option<u64> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut hasher = DefaultHasher::new();
    match fs::read(path) {
        Ok(bytes) if found.len() <= LARGEST_READ => hasher.write(&bytes),
        _ => {
            hasher.write_i64(found.mtime());
            hasher.write_i64(found.mtime_nsec());
            hasher.write_u64(found.len());
        }
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn write_of_the_same_content_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.rs");
        let mut contents = Contents::default();
        for (text, changed) in [("1", true), ("1", false), ("2", true), ("1", true)] {
            fs::write(&path, text).unwrap();
            assert_eq!(contents.has_changed(&path), changed, "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert!(contents.has_changed(&path));
        assert!(!contents.has_changed(&path));
    }

    #[test]
    fn writes_of_build_scripts_start_no_loop() {
        let folder = tempfile::tempdir().unwrap();
        let [generated, edited] = ["generated.rs", "main.rs"].map(|name| folder.path().join(name));
        let mut contents = Contents::default();
        let now = SystemTime::now();
        let scripts = || {
            let ended = SystemTime::now() + Duration::from_secs(60);
            Some(ScriptTime { began: now - Duration::from_secs(60), ended })
        };
        fs::write(&generated, "").unwrap();
        fs::write(&edited, "").unwrap();
        let only = || BTreeSet::from([generated.clone()]);
        for _ in 0..MOST_IN_A_ROW {
            assert_eq!(contents.after_build(only(), scripts()), (only(), Vec::new()));
        }
        let both = BTreeSet::from([generated.clone(), edited.clone()]);
        let before = Some(ScriptTime { began: now, ended: now - Duration::from_secs(1) });
        assert_eq!(contents.after_build(both.clone(), before).0, both, "an edit ends the row");
        for _ in 0..MOST_IN_A_ROW {
            contents.after_build(only(), scripts());
        }
        let (counts, new) = contents.after_build(only(), scripts());
        assert_eq!((counts.len(), new), (0, vec![generated.clone()]));
        assert_eq!(contents.after_build(only(), before).0, only(), "outside of a build it counts");
    }
}
