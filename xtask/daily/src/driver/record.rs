//! The record of a stack: every event with its time and effects, for `replay`.
//!
//! Values are not masked, since masked ones would not replay to the same effects. Therefore only
//! the owner can read the file. A failed write ends the record with a message and never stops the
//! stack.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xtask_control::own_file::open_for_secrets;
use xtask_core::record::{RecordLine, RecordStep, VERSION};
use xtask_core::stack::{Effect, Event};

use crate::system::say;

pub(crate) struct Record {
    file: Option<BufWriter<File>>,
}

impl Record {
    /// Returns the absolute path of a record and checks that it can be written. An existing file
    /// keeps its content.
    pub(crate) fn prepare(path: &Path) -> io::Result<PathBuf> {
        let path = std::path::absolute(path)?;
        open(&path, false)?;
        Ok(path)
    }

    /// Creates a record and truncates an existing file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut this = Self { file: Some(BufWriter::new(open(path, true)?)) };
        let by = concat!("xtask ", env!("CARGO_PKG_VERSION")).to_owned();
        this.append(&RecordLine::Begin { version: VERSION, by });
        this.flush();
        Ok(this)
    }

    pub(crate) fn write(&mut self, at: Duration, event: Event, effects: &[Effect]) {
        self.append(&RecordLine::Step(Box::new(RecordStep::new(at, event, effects.to_vec()))));
    }

    pub(crate) fn flush(&mut self) {
        self.attempt(Write::flush);
    }

    fn append(&mut self, line: &RecordLine) {
        self.attempt(|file| {
            file.write_all(&serde_json::to_vec(line)?)?;
            file.write_all(b"\n")
        });
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if let Some(file) = &mut self.file
            && let Err(error) = write(file)
        {
            say(&format!("failed to write the record, which ends here: {error}"));
            self.file = None;
        }
    }
}

/// Opens the file of a record. Its owner reads the secrets in it.
fn open(path: &Path, truncate: bool) -> io::Result<File> {
    let file = open_for_secrets(path)?;
    if truncate && file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use rustix::process::geteuid;

    use super::*;

    #[test]
    fn record_is_private_and_refuses_files_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        std::fs::write(&path, "a longer text than the new one").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        open(&path, false).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&path).unwrap().len(), 30);
        open(&path, true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), 0);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(open(&link, true).is_err());
        // Only root can give a file away.
        if geteuid().is_root() {
            std::fs::write(&path, "kept").unwrap();
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            let error = open(&path, true).unwrap_err();
            assert!(error.to_string().contains("belongs to another user"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), b"kept");
        }
    }
}
