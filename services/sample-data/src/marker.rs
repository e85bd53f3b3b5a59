//! The marker file of a complete import.
//!
//! It is written atomically, and it is on the disk before the job reports success.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use crate::import::Counts;

/// A marker file.
#[derive(Debug)]
pub(crate) struct Marker {
    folder: PathBuf,
}

/// The marker file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} `{}` in `DATA_DIR`", path.display())]
pub(crate) struct MarkerError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Marker {
    pub(crate) fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Whether an import is complete.
    pub(crate) fn exists(&self) -> Result<bool, MarkerError> {
        let path = self.path();
        path.try_exists().map_err(|source| MarkerError { operation: "find", path, source })
    }

    /// Records that the import is complete.
    pub(crate) fn write(&self, counts: &Counts) -> Result<(), MarkerError> {
        let failed = |source| MarkerError { operation: "write", path: self.path(), source };
        self.write_and_rename(counts).map_err(failed)
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
    fn written_marker_exists_without_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let marker = Marker::new(folder.path().join("data"));
        assert!(!marker.exists().unwrap());
        marker.write(&Counts::default()).unwrap();
        assert!(marker.exists().unwrap());
        let entries = std::fs::read_dir(folder.path().join("data")).unwrap();
        assert_eq!(entries.count(), 1);
    }
}
