//! What runs print: read from their pipes without losing a line, written to the
//! service's log, and shown to the log probes that wait for a line.
//!
//! A record is `TIMESTAMP RUN STREAM text\n`: RFC 3339 in UTC with milliseconds, the
//! run's number, `o` or `e`, and the line's bytes as they came. Escapes are stripped
//! when a log is viewed, not here; a line has one record unless it is longer than
//! [`LONGEST`], then it is split, and both halves show [`CUT`] where.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::Regex;
use tokio::io::unix::AsyncFd;
use xtask_client::escapes::{Keep, strip};
use xtask_core::stack::Run;

use super::Outlet;
use super::log_file::LogFile;
use super::watched::watched;

/// A line is split when it grows beyond this many bytes.
const LONGEST: usize = 64 * 1024;

/// Stands where a line was split.
const CUT: &str = "…";

/// How much is read at once; also the size of the pipe of whoever prints that much.
const READ: usize = 256 * 1024;

/// After so many reads everybody else has a turn.
const READS_A_TURN: usize = 4;

/// How many reads in a row a drain makes at most, so that an endless printer that
/// its leader left behind cannot hold up the news of the leader's end.
const DRAIN_READS: usize = 64;

/// Which of a run's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A line that a log probe waits for.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// The index of the probe.
    pub(crate) probe: usize,
    /// What the line must match.
    pub(crate) pattern: Regex,
}

/// The lines that log probes of one run still wait for, shared by both streams.
pub(crate) type AwaitedLines = Arc<Mutex<Vec<Awaited>>>;

/// One pipe of a run.
#[derive(Debug)]
pub(crate) struct Pipe {
    fd: AsyncFd<OwnedFd>,
    lines: Mutex<Lines>,
}

/// What came out of one attempt to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Some,
    End,
}

thread_local! {
    /// One buffer for all pipes: reading, cutting and writing happen in one go, and a
    /// hundred quiet services need not keep a hundred buffers.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Pipe {
    /// The reading end `fd` of a stream of the run that `outlet` speaks for.
    ///
    /// # Errors
    /// When the runtime cannot watch the descriptor.
    pub(crate) fn new(
        fd: OwnedFd,
        stream: Stream,
        outlet: Outlet,
        log: Arc<Mutex<LogFile>>,
        awaited: AwaitedLines,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let lines =
            Lines { stream, outlet, log, awaited, half: Vec::new(), cut: false, enlarged: false };
        Ok(Self { fd: watched(fd)?, lines: Mutex::new(lines) })
    }

    /// Reads until the last holder of the writing end is gone.
    pub(crate) async fn read_to_end(&self) {
        for turn in 1_usize.. {
            if turn.is_multiple_of(READS_A_TURN) {
                tokio::task::yield_now().await;
            }
            let Ok(mut ready) = self.fd.readable().await else { return };
            match ready.try_io(|fd| self.read(fd.get_ref().as_fd())) {
                Ok(Ok(Read::Some)) | Err(_) => {}
                Ok(Ok(Read::End) | Err(_)) => return self.flush(),
            }
        }
    }

    /// Reads what is there now, half lines included. For the moment when the leader
    /// has ended: its last words come before the news of its end.
    pub(crate) fn drain(&self) {
        for _ in 0..DRAIN_READS {
            match self.read(self.fd.get_ref().as_fd()) {
                Ok(Read::Some) => {}
                Ok(Read::End) | Err(_) => break,
            }
        }
        self.flush();
    }

    fn flush(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    fn read(&self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        BUFFERS.with_borrow_mut(|(input, records)| {
            input.resize(READ, 0);
            let count = loop {
                match rustix::io::read(fd, &mut **input) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other?,
                }
            };
            if count == 0 {
                return Ok(Read::End);
            }
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.enlarge(fd, count);
            lines.take(&input[..count], records);
            Ok(Read::Some)
        })
    }
}

/// Cuts a stream into lines.
#[derive(Debug)]
struct Lines {
    stream: Stream,
    outlet: Outlet,
    log: Arc<Mutex<LogFile>>,
    awaited: AwaitedLines,
    /// The beginning of a line whose end has not come yet.
    half: Vec<u8>,
    /// Whether the line's beginning was written already.
    cut: bool,
    enlarged: bool,
}

impl Lines {
    /// A stream that fills its pipe gets a bigger one; all others do without, as the
    /// system limits what a user may have in sum.
    fn enlarge(&mut self, fd: BorrowedFd<'_>, count: usize) {
        if count < LONGEST || self.enlarged {
            return;
        }
        self.enlarged = true;
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(fd, READ);
        #[cfg(not(target_os = "linux"))]
        let _ = fd;
    }

    /// Takes the next bytes of the stream; `records` is a buffer to work in.
    fn take(&mut self, mut bytes: &[u8], records: &mut Vec<u8>) {
        let prefix = prefix(self.outlet.run, self.stream);
        records.clear();
        let mut count = 0;
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if end < LONGEST && self.half.is_empty() && !self.cut {
                self.record(&bytes[..end], &prefix, records);
                count += 1;
            } else {
                count += self.continued(&bytes[..end], &prefix, records);
                count += self.end_of_half(&prefix, records);
            }
            bytes = &bytes[end + 1..];
        }
        count += self.continued(bytes, &prefix, records);
        self.log.lock().unwrap_or_else(PoisonError::into_inner).append(records, count, &prefix);
    }

    /// Adds to the half line, and writes what is too long to be kept. Returns the
    /// number of records made.
    fn continued(&mut self, bytes: &[u8], prefix: &str, records: &mut Vec<u8>) -> u64 {
        self.half.extend_from_slice(bytes);
        let mut count = 0;
        while self.half.len() > LONGEST {
            let at = boundary(&self.half, LONGEST);
            let rest = self.half.split_off(at);
            let mut piece = std::mem::replace(&mut self.half, rest);
            piece.extend_from_slice(CUT.as_bytes());
            self.piece(&piece, prefix, records);
            self.cut = true;
            count += 1;
        }
        count
    }

    /// Writes the half line as a record.
    fn end_of_half(&mut self, prefix: &str, records: &mut Vec<u8>) -> u64 {
        let half = std::mem::take(&mut self.half);
        self.piece(&half, prefix, records);
        self.cut = false;
        1
    }

    fn piece(&self, text: &[u8], prefix: &str, records: &mut Vec<u8>) {
        if self.cut {
            self.record(&[CUT.as_bytes(), text].concat(), prefix, records);
        } else {
            self.record(text, prefix, records);
        }
    }

    fn record(&self, line: &[u8], prefix: &str, records: &mut Vec<u8>) {
        records.extend_from_slice(prefix.as_bytes());
        records.extend_from_slice(line);
        records.push(b'\n');
        self.show_to_probes(line);
    }

    fn show_to_probes(&self, line: &[u8]) {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if awaited.is_empty() {
            return;
        }
        let line = strip(line, Keep::Nothing);
        awaited.retain(|wait| {
            let matches = wait.pattern.is_match(&line);
            if matches {
                self.outlet.passed(wait.probe);
            }
            !matches
        });
    }

    /// Writes what is left of a stream that ended or whose owner did.
    fn flush(&mut self) {
        if self.half.is_empty() && !self.cut {
            return;
        }
        let prefix = prefix(self.outlet.run, self.stream);
        let mut records = Vec::new();
        let count = self.end_of_half(&prefix, &mut records);
        self.log.lock().unwrap_or_else(PoisonError::into_inner).append(&records, count, &prefix);
    }
}

/// What every record of this moment begins with.
fn prefix(run: Run, stream: Stream) -> String {
    let stream = match stream {
        Stream::Out => 'o',
        Stream::Err => 'e',
    };
    let mut prefix = String::with_capacity(40);
    let _ = write!(prefix, "{:.3} {run} {stream} ", jiff::Timestamp::now());
    prefix
}

/// The last place at or before `at` that does not lie inside a character.
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
            outlet: Outlet { events: sender, service: "a".into(), run: 7 },
            log: Arc::new(Mutex::new(LogFile::new(folder.path(), "a"))),
            awaited: AwaitedLines::default(),
            half: Vec::new(),
            cut: false,
            enlarged: false,
        };
        Fixture { folder, lines, events }
    }

    impl Fixture {
        fn take(&mut self, bytes: &[u8]) {
            self.lines.take(bytes, &mut Vec::new());
        }

        /// The texts of all records, each checked for its prefix.
        fn texts(&self) -> Vec<Vec<u8>> {
            let log = std::fs::read(self.folder.path().join("a.log")).unwrap();
            log.split_inclusive(|&byte| byte == b'\n')
                .map(|record| {
                    let at = record.windows(5).position(|w| w == b" 7 e ").unwrap();
                    let time: jiff::Timestamp =
                        std::str::from_utf8(&record[..at]).unwrap().parse().unwrap();
                    assert!(time > jiff::Timestamp::UNIX_EPOCH);
                    assert_eq!(at, "2026-01-01T00:00:00.000Z".len());
                    record[at + 5..record.len() - 1].to_vec()
                })
                .collect()
        }
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one_record() {
        let mut fixture = fixture();
        fixture.take(b"one\ntw");
        fixture.take(b"o");
        fixture.take(b"\n\nthree\n");
        assert_eq!(fixture.texts(), [&b"one"[..], b"two", b"", b"three"]);
    }

    #[test]
    fn the_half_line_of_a_stream_that_ends_is_kept() {
        let mut fixture = fixture();
        fixture.take(b"one\nhalf");
        fixture.lines.flush();
        fixture.lines.flush();
        assert_eq!(fixture.texts(), [&b"one"[..], b"half"]);
    }

    #[test]
    fn bytes_that_are_no_text_pass_through() {
        let mut fixture = fixture();
        fixture.take(b"a\0b\xff\xfe\r\n");
        assert_eq!(fixture.texts(), [b"a\0b\xff\xfe\r"]);
    }

    #[test]
    fn an_endless_line_is_split_between_characters_and_marked() {
        let mut fixture = fixture();
        let long = "ä".repeat(LONGEST);
        for chunk in long.as_bytes().chunks(1000) {
            fixture.take(chunk);
        }
        fixture.take(b" end\nnext\n");
        let texts: Vec<String> =
            fixture.texts().into_iter().map(|text| String::from_utf8(text).unwrap()).collect();
        let (next, pieces) = texts.split_last().unwrap();
        assert_eq!(next, "next");
        assert!(pieces.len() >= 2, "{} pieces", pieces.len());
        assert!(pieces[0].ends_with(CUT) && pieces[1].starts_with(CUT));
        assert_eq!(pieces.concat().replace(CUT, ""), format!("{long} end"));
    }

    #[test]
    fn a_log_probe_sees_the_line_without_its_escapes_and_passes_once() {
        let mut fixture = fixture();
        let pattern = Regex::new("^listening on [0-9]+$").unwrap();
        fixture.lines.awaited.lock().unwrap().push(Awaited { probe: 2, pattern });
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
