//! The file that says that the import is done.
//!
//! It appears complete or not at all, and it is on the disk before the job says that it is done.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::import::Counts;

/// The marker's place.
#[derive(Debug)]
pub(crate) struct Marker {
    folder: PathBuf,
}

/// The marker cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}` in `DATA_DIR`", path.display())]
pub(crate) struct MarkerError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Marker {
    /// The marker in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Whether an import was finished.
    pub(crate) fn exists(&self) -> Result<bool, MarkerError> {
        let path = self.path();
        path.try_exists().map_err(|source| MarkerError { doing: "looking for", path, source })
    }

    /// Says that the import is finished.
    pub(crate) fn write(&self, counts: &Counts) -> Result<(), MarkerError> {
        self.write_and_rename(counts).map_err(|source| MarkerError {
            doing: "writing",
            path: self.path(),
            source,
        })
    }

    fn write_and_rename(&self, counts: &Counts) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let unfinished = self.folder.join(format!("sample-data.{}.tmp", std::process::id()));
        let mut file = File::create(&unfinished)?;
        writeln!(file, "{counts}")?;
        file.sync_all()?;
        std::fs::rename(&unfinished, self.path())?;
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self) -> PathBuf {
        self.folder.join("sample-data.imported")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_after_it_was_written_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let marker = Marker::new(&folder.path().join("data"));
        assert!(!marker.exists().unwrap());
        marker.write(&Counts::default()).unwrap();
        assert!(marker.exists().unwrap());
        let entries = std::fs::read_dir(folder.path().join("data")).unwrap();
        assert_eq!(entries.count(), 1);
    }
}
