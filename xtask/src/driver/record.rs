//! The record of a stack: every event with its time and effects, for `replay`.
//!
//! Values are not masked, since masked ones would not replay to the same effects. Therefore only
//! the owner can read the file. A failed write ends the record with a message and never stops the
//! stack.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xtask_core::record::{RecordLine, RecordStep, VERSION};
use xtask_core::stack::{Effect, Event};

use crate::system::say;

/// Only the owner reads the environment of services.
const MODE: u32 = 0o600;

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
            serde_json::to_writer(&mut *file, line)?;
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

fn open(path: &Path, truncate: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(truncate).mode(MODE).open(path)?;
    // An existing file may be readable for others. Modes of pipes and devices are kept.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}
