//! Splits a stream into records, and matches its lines against log probes.
//!
//! A line is one record, unless it is longer than [`LONGEST`] bytes or its writer pauses for
//! [`PATIENCE`]: then each piece but the last is marked as open, and each but the first as a
//! continuation. A log probe sees the line up to the present piece, so that it matches a prompt.
//! Bytes are written unchanged; viewers strip escapes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regex_lite::Regex;
use xtask_logs::escapes::{Keep, strip};
use xtask_logs::{End, Stream, head};

use crate::effects::RunEvents;
use crate::effects::logs::file::{LogFile, WriteChange};

/// Longer lines are split, in bytes.
const LONGEST: usize = 64 * 1024;

/// How much of a line is matched against log probes, in bytes.
const MATCHED: usize = 4 * LONGEST;

/// After this time an incomplete line is written, so that a reader sees it within 100 ms.
const PATIENCE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct LogPattern {
    pub(crate) probe: usize,
    pub(crate) pattern: Regex,
}

/// The patterns of one run's log probes that have not passed, shared by both streams.
pub(crate) type LogPatterns = Arc<Mutex<Vec<LogPattern>>>;

#[derive(Debug)]
pub(crate) struct Lines {
    stream: Stream,
    events: RunEvents,
    log: Arc<Mutex<LogFile>>,
    patterns: LogPatterns,
    /// Whether there were patterns when the current bytes arrived.
    has_patterns: bool,
    /// The present line, as far as it has arrived and is still needed.
    line: Vec<u8>,
    /// How many bytes of it are in the log.
    written: usize,
    /// Whether the log has a record of the present line.
    continues: bool,
    /// When the rest of it is written although it is incomplete.
    due: Option<Instant>,
}

impl Lines {
    pub(crate) fn new(
        stream: Stream,
        events: RunEvents,
        log: Arc<Mutex<LogFile>>,
        patterns: LogPatterns,
    ) -> Self {
        Self {
            stream,
            events,
            log,
            patterns,
            has_patterns: false,
            line: Vec::new(),
            written: 0,
            continues: false,
            due: None,
        }
    }

    /// When [`Lines::flush`] must be called, because a line is incomplete.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the next bytes of the stream; `records` is a work buffer.
    pub(crate) fn take(&mut self, mut bytes: &[u8], records: &mut Vec<u8>) {
        let log = Arc::clone(&self.log);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let time = self.begin(&mut log);
        records.clear();
        let whole = head(&time, self.events.run, self.stream, false, End::Line);
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if end <= LONGEST && self.line.is_empty() && !self.continues {
                append(records, &whole, &bytes[..end]);
                if self.has_patterns {
                    self.match_patterns(&bytes[..end]);
                }
            } else {
                self.line.extend_from_slice(&bytes[..end]);
                self.split(&time, records);
                self.finish(&time, End::Line, records);
            }
            bytes = &bytes[end + 1..];
        }
        self.line.extend_from_slice(bytes);
        self.split(&time, records);
        if self.line.len() > self.written {
            let now = Instant::now();
            if *self.due.get_or_insert(now + PATIENCE) <= now {
                self.finish(&time, End::Open, records);
            }
        }
        self.write(log, records);
    }

    /// Writes what has arrived of the present line, and a due record about missing lines.
    pub(crate) fn flush(&mut self) {
        let log = Arc::clone(&self.log);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::new();
        if self.line.len() > self.written {
            let time = self.begin(&mut log);
            self.finish(&time, End::Open, &mut records);
        }
        self.write(log, &records);
    }

    /// Writes the part of the incomplete line that is too long to keep.
    fn split(&mut self, time: &str, records: &mut Vec<u8>) {
        while self.line.len() - self.written > LONGEST {
            let end = boundary(&self.line, self.written + LONGEST);
            self.piece(time, end, End::Open, records);
        }
    }

    fn finish(&mut self, time: &str, end: End, records: &mut Vec<u8>) {
        self.due = None;
        self.piece(time, self.line.len(), end, records);
    }

    /// Writes the present line up to `until`.
    fn piece(&mut self, time: &str, until: usize, end: End, records: &mut Vec<u8>) {
        let head = head(time, self.events.run, self.stream, self.continues, end);
        append(records, &head, &self.line[self.written..until]);
        if self.has_patterns {
            self.match_patterns(&self.line[..until]);
        }
        (self.written, self.continues) = (until, end == End::Open);
        let is_needed = self.has_patterns && end == End::Open && until <= MATCHED;
        if !is_needed {
            self.line.drain(..until);
            self.written = 0;
        }
    }

    fn match_patterns(&self, line: &[u8]) {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        let line = strip(line, Keep::Nothing);
        let line = String::from_utf8_lossy(&line);
        patterns.retain(|waiting| {
            let matches = waiting.pattern.is_match(&line);
            if matches {
                self.events.passed(waiting.probe);
            }
            !matches
        });
    }

    /// The time of records that are written now.
    fn begin(&mut self, log: &mut LogFile) -> String {
        self.has_patterns =
            !self.patterns.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        log.time().to_owned()
    }

    fn write(&self, mut log: MutexGuard<'_, LogFile>, records: &[u8]) {
        match log.append(self.events.run, records) {
            WriteChange::None => {}
            WriteChange::Failed(error) => self.events.log_trouble(Some(error)),
            WriteChange::Recovered => self.events.log_trouble(None),
        }
    }
}

/// Appends a record.
fn append(records: &mut Vec<u8>, head: &str, text: &[u8]) {
    records.extend_from_slice(head.as_bytes());
    records.extend_from_slice(text);
    records.push(b'\n');
}

/// The last index at or before `at` that is not inside a character.
fn boundary(bytes: &[u8], at: usize) -> usize {
    (at.saturating_sub(3)..=at)
        .rev()
        .find(|&place| bytes.get(place).is_none_or(|byte| byte & 0xC0 != 0x80))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::timestamp::Timestamp;
    use tokio::sync::mpsc;
    use xtask_core::stack::Event;
    use xtask_logs::Record;

    struct Fixture {
        folder: tempfile::TempDir,
        lines: Lines,
        events: mpsc::UnboundedReceiver<Event>,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let run = RunEvents { events: sender, service: "a".into(), run: 7 };
        let log = Arc::new(Mutex::new(LogFile::new(folder.path(), "a")));
        let lines = Lines::new(Stream::Err, run, log, LogPatterns::default());
        Fixture { folder, lines, events }
    }

    impl Fixture {
        fn take(&mut self, bytes: &[u8]) {
            self.lines.take(bytes, &mut Vec::new());
        }

        fn wait_for(&self, pattern: &str) {
            let pattern = Regex::new(pattern).unwrap();
            self.lines.patterns.lock().unwrap().push(LogPattern { probe: 2, pattern });
        }

        /// The printed bytes, reassembled from the records.
        fn printed(&self) -> Vec<u8> {
            let log = std::fs::read(self.folder.path().join("a.log")).unwrap();
            let mut printed = Vec::new();
            for record in log.split_inclusive(|&byte| byte == b'\n') {
                let line = Record::parse(record.strip_suffix(b"\n").unwrap()).unwrap();
                let time = Timestamp::parse(line.time).unwrap();
                assert!(time > Timestamp::from_milliseconds(0).unwrap());
                assert_eq!(line.time.len(), "2026-01-01T00:00:00.000Z".len());
                assert_eq!((line.run, line.stream), (7, Stream::Err));
                assert!(line.text.len() <= LONGEST);
                printed.extend_from_slice(line.text);
                match line.end {
                    End::Line => printed.push(b'\n'),
                    End::Open => {}
                }
            }
            printed
        }

        fn records(&self) -> usize {
            let log = std::fs::read(self.folder.path().join("a.log")).unwrap_or_default();
            log.iter().filter(|&&byte| byte == b'\n').count()
        }
    }

    #[test]
    fn line_in_pieces_is_one_record() {
        let mut fixture = fixture();
        fixture.take(b"one\ntw");
        fixture.take(b"o");
        fixture.take(b"\n\nthree\n");
        assert_eq!(fixture.printed(), b"one\ntwo\n\nthree\n");
        assert_eq!(fixture.records(), 4);
    }

    #[test]
    fn incomplete_last_line_is_kept_as_such() {
        let mut fixture = fixture();
        fixture.take(b"one\nhalf");
        fixture.lines.flush();
        fixture.lines.flush();
        assert_eq!(fixture.printed(), b"one\nhalf");
        assert_eq!(fixture.records(), 2);
    }

    #[test]
    fn binary_output_is_written_unchanged() {
        let mut fixture = fixture();
        fixture.take(b"a\0b\xff\xfe\r\n");
        assert_eq!(fixture.printed(), b"a\0b\xff\xfe\r\n");
    }

    #[test]
    fn endless_line_is_split_between_characters() {
        let mut fixture = fixture();
        let long = "ä".repeat(5 * LONGEST);
        for chunk in long.as_bytes().chunks(100_001) {
            fixture.take(chunk);
            assert!(fixture.lines.line.len() <= LONGEST);
        }
        fixture.take(b" end\nnext\n");
        assert_eq!(fixture.printed(), format!("{long} end\nnext\n").into_bytes());
        let log = std::fs::read(fixture.folder.path().join("a.log")).unwrap();
        assert!(String::from_utf8(log).is_ok(), "no character is split");
    }

    #[test]
    fn long_line_in_one_read_is_split() {
        let mut fixture = fixture();
        let long = "x".repeat(3 * LONGEST);
        fixture.take(format!("{long}\nnext\n").as_bytes());
        assert_eq!(fixture.printed(), format!("{long}\nnext\n").into_bytes());
        assert_eq!(fixture.records(), 4);
    }

    #[test]
    fn paused_line_is_written_and_continued() {
        let mut fixture = fixture();
        fixture.take(b"Enter passphrase: ");
        assert!(fixture.lines.due().is_some());
        assert_eq!(fixture.records(), 0);
        fixture.lines.flush();
        assert_eq!(fixture.lines.due(), None);
        fixture.take(b"*");
        fixture.lines.due = Some(Instant::now());
        fixture.take(b"*");
        assert_eq!(fixture.records(), 2, "it is due although more arrives");
        fixture.take(b"*\nnext\n");
        assert_eq!(fixture.printed(), b"Enter passphrase: ***\nnext\n");
        let log = std::fs::read_to_string(fixture.folder.path().join("a.log")).unwrap();
        let marks: Vec<&str> = log.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(marks, ["e+", "e-+", "e-", "e"]);
    }

    #[test]
    fn log_probe_matches_a_line_in_pieces() {
        let mut fixture = fixture();
        fixture.wait_for("^Enter passphrase: $");
        fixture.take(b"Enter pass");
        fixture.lines.flush();
        assert!(fixture.events.try_recv().is_err());
        fixture.take(b"phrase: ");
        fixture.lines.flush();
        assert!(fixture.events.try_recv().is_ok());
        fixture.take(b"\n");
        fixture.wait_for("^x+ listening$");
        fixture.take("x".repeat(LONGEST + 1).as_bytes());
        fixture.take(b" listening\n");
        assert!(fixture.events.try_recv().is_ok(), "a long line is one line");
    }

    #[test]
    fn log_probe_matches_without_escapes_and_passes_once() {
        let mut fixture = fixture();
        fixture.wait_for("^listening on [0-9]+$");
        fixture.take(b"not listening on 80\n");
        assert!(fixture.events.try_recv().is_err());
        fixture.take(b"\x1b[32mlistening\x1b[0m on 80\nlistening on 80\n");
        assert!(matches!(
            fixture.events.try_recv(),
            Ok(Event::ProbePassed { run: 7, probe: 2, .. })
        ));
        assert!(fixture.events.try_recv().is_err());
    }
}
