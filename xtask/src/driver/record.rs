//! The event log of a stack: one JSON line an event, with its time.
//!
//! It is written for `replay`, which steps the same events again. A log that cannot be
//! written ends with a word; it never stops the stack.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use xtask_core::stack::Event;

/// An open event log.
pub(crate) struct Record {
    file: Option<BufWriter<File>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    /// Microseconds since the stack began.
    at_us: u64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Record {
    /// Starts a log; what the file held before is lost.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Some(BufWriter::new(File::create(path)?)) })
    }

    /// Appends an event.
    pub(crate) fn write(&mut self, at: Duration, event: &Event) {
        let at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        self.attempt(|file| {
            serde_json::to_writer(&mut *file, &Entry { at_us, event })?;
            file.write_all(b"\n")
        });
    }

    /// Hands what was appended to the system.
    pub(crate) fn flush(&mut self) {
        self.attempt(Write::flush);
    }

    fn attempt(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if let Some(file) = &mut self.file
            && let Err(error) = write(file)
        {
            eprintln!("the event log ends here: {error}");
            self.file = None;
        }
    }
}
