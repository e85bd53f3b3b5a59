//! The log of a watcher: a log of the stack that all viewers show.

use xtask_control::StackPaths;
use xtask_control::called_as::named;
use xtask_logs::{End, Stream, WATCH_LOG, head};

use crate::effects::logs::file::LogFile;
use crate::view::progress::ProgressLine;
use crate::view::watch::line;

/// The log of a watcher.
#[derive(Debug)]
pub struct WatchLog(LogFile);

impl WatchLog {
    pub fn new(paths: &StackPaths) -> Self {
        Self(LogFile::of(&paths.logs(), WATCH_LOG))
    }

    /// Appends the lines of a text. A full disk loses them.
    pub fn say(&mut self, text: &str) {
        let head = head(self.0.time(), 0, Stream::Err, false, End::Line);
        let mut records = String::new();
        for line in named(text).lines() {
            records.extend([head.as_str(), line, "\n"]);
        }
        self.0.append(0, records.as_bytes());
    }

    pub fn progress(&mut self, progress: &ProgressLine) {
        self.say(&line(progress));
    }
}
