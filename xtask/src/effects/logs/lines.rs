//! Splits a stream into records, and matches its lines against log probes.
//!
//! A line is one record, unless it is longer than [`LONGEST`] bytes: then each piece but the last
//! is marked as open. An incomplete line at the end of a stream is also marked. Bytes are written
//! unchanged; viewers strip escapes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regex::bytes::Regex;
use xtask_client::escapes::{Keep, strip};
use xtask_client::logs::{End, Stream, head};

use crate::effects::RunEvents;
use crate::effects::logs::file::{LogFile, WriteChange};

/// Longer lines are split, in bytes.
const LONGEST: usize = 64 * 1024;

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
    /// The beginning of a line whose end has not arrived.
    half: Vec<u8>,
}

/// How records of this moment begin.
struct Heads {
    line: String,
    open: String,
}

impl Lines {
    pub(crate) fn new(
        stream: Stream,
        events: RunEvents,
        log: Arc<Mutex<LogFile>>,
        patterns: LogPatterns,
    ) -> Self {
        Self { stream, events, log, patterns, has_patterns: false, half: Vec::new() }
    }

    /// Writes the next bytes of the stream; `records` is a work buffer.
    pub(crate) fn take(&mut self, mut bytes: &[u8], records: &mut Vec<u8>) {
        let log = Arc::clone(&self.log);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let heads = self.begin(&mut log);
        records.clear();
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if end <= LONGEST && self.half.is_empty() {
                self.record(&heads.line, &bytes[..end], records);
            } else {
                self.half.extend_from_slice(&bytes[..end]);
                self.split(&heads, records);
                self.finish(&heads.line, records);
            }
            bytes = &bytes[end + 1..];
        }
        self.half.extend_from_slice(bytes);
        self.split(&heads, records);
        self.write(log, records);
    }

    /// Writes the incomplete line of a stream that ended, and a due record about missing lines.
    pub(crate) fn flush(&mut self) {
        let log = Arc::clone(&self.log);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut records = Vec::new();
        if !self.half.is_empty() {
            let heads = self.begin(&mut log);
            self.finish(&heads.open, &mut records);
        }
        self.write(log, &records);
    }

    /// Writes the part of the incomplete line that is too long to keep.
    fn split(&mut self, heads: &Heads, records: &mut Vec<u8>) {
        let mut begin = 0;
        while self.half.len() - begin > LONGEST {
            let end = boundary(&self.half, begin + LONGEST);
            self.record(&heads.open, &self.half[begin..end], records);
            begin = end;
        }
        self.half.drain(..begin);
    }

    fn finish(&mut self, head: &str, records: &mut Vec<u8>) {
        let half = std::mem::take(&mut self.half);
        self.record(head, &half, records);
    }

    fn record(&self, head: &str, text: &[u8], records: &mut Vec<u8>) {
        records.extend_from_slice(head.as_bytes());
        records.extend_from_slice(text);
        records.push(b'\n');
        if self.has_patterns {
            self.match_patterns(text);
        }
    }

    fn match_patterns(&self, line: &[u8]) {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        let line = strip(line, Keep::Nothing);
        patterns.retain(|waiting| {
            let matches = waiting.pattern.is_match(&line);
            if matches {
                self.events.passed(waiting.probe);
            }
            !matches
        });
    }

    fn begin(&mut self, log: &mut LogFile) -> Heads {
        self.has_patterns =
            !self.patterns.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let time = log.time();
        let head = |end| head(time, self.events.run, self.stream, end);
        Heads { line: head(End::Line), open: head(End::Open) }
    }

    fn write(&self, mut log: MutexGuard<'_, LogFile>, records: &[u8]) {
        match log.append(self.events.run, records) {
            WriteChange::None => {}
            WriteChange::Failed(error) => self.events.log_trouble(Some(error)),
            WriteChange::Recovered => self.events.log_trouble(None),
        }
    }
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
    use tokio::sync::mpsc;
    use xtask_client::logs::Record;
    use xtask_core::stack::Event;

    struct Fixture {
        folder: tempfile::TempDir,
        lines: Lines,
        events: mpsc::UnboundedReceiver<Event>,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let lines = Lines {
            stream: Stream::Err,
            events: RunEvents { events: sender, service: "a".into(), run: 7 },
            log: Arc::new(Mutex::new(LogFile::new(folder.path(), "a"))),
            patterns: LogPatterns::default(),
            has_patterns: false,
            half: Vec::new(),
        };
        Fixture { folder, lines, events }
    }

    impl Fixture {
        fn take(&mut self, bytes: &[u8]) {
            self.lines.take(bytes, &mut Vec::new());
        }

        /// The printed bytes, reassembled from the records.
        fn printed(&self) -> Vec<u8> {
            let log = std::fs::read(self.folder.path().join("a.log")).unwrap();
            let mut printed = Vec::new();
            for record in log.split_inclusive(|&byte| byte == b'\n') {
                let line = Record::parse(record.strip_suffix(b"\n").unwrap()).unwrap();
                let time: jiff::Timestamp = line.time.parse().unwrap();
                assert!(time > jiff::Timestamp::UNIX_EPOCH);
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
            let log = std::fs::read(self.folder.path().join("a.log")).unwrap();
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
            assert!(fixture.lines.half.len() <= LONGEST);
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
    fn log_probe_matches_without_escapes_and_passes_once() {
        let mut fixture = fixture();
        let pattern = Regex::new("^listening on [0-9]+$").unwrap();
        fixture.lines.patterns.lock().unwrap().push(LogPattern { probe: 2, pattern });
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
