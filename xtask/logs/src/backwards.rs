//! Reads a log from its end, and finds a time in it.
//!
//! It reads only the blocks that it needs. A record that is still being written is ignored.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use super::files::{FilePlace, LogFile};
use super::record::{End, Record, Stream, head};

/// The size of a block, in bytes; a record is shorter.
const BLOCK_BYTES: u64 = 256 * 1024;

/// The number of last records in which a panic is searched: a backtrace may be long.
const PANIC_RECORDS: usize = 500;

/// The parts of the standard library's message when a thread panics: its name, then the location.
const PANIC: [&str; 2] = ["thread '", " panicked at "];

/// The beginnings of notes about a backtrace.
const BACKTRACE_NOTES: [&str; 2] =
    ["note: run with `RUST_BACKTRACE", "note: Some details are omitted"];

/// At most `count` lines that explain how a run ended: from its last panic on; without a panic
/// its last records. Backtraces are left out, since they would displace the message.
///
/// # Errors
/// As for [`last_lines`].
pub fn closing_lines(log: &Path, run: u64, count: usize) -> io::Result<Vec<String>> {
    let lines = without_backtraces(last_lines(log, Some(run), count.max(PANIC_RECORDS))?);
    let panic = lines.iter().rposition(|line| PANIC.iter().all(|part| line.contains(part)));
    let from = panic.unwrap_or_else(|| lines.len().saturating_sub(count));
    Ok(lines.into_iter().skip(from).take(count).collect())
}

/// The records that are not part of a backtrace of the standard library or of an error with one.
fn without_backtraces(mut records: Vec<String>) -> Vec<String> {
    // The beginning of a long backtrace may be missing.
    let is_cut = records.len() >= PANIC_RECORDS;
    let mut inside = is_cut && records.first().is_some_and(|record| is_frame(text(record)));
    records.retain(|record| {
        let text = text(record);
        if text.trim().eq_ignore_ascii_case("stack backtrace:") {
            inside = true;
            return false;
        }
        inside &= is_frame(text);
        !inside && !BACKTRACE_NOTES.iter().any(|note| text.starts_with(note))
    });
    records
}

/// Whether a line is a frame of a backtrace, `12: name`, or its place, `at file:line`.
fn is_frame(text: &str) -> bool {
    let text = text.trim_start();
    let (number, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    text.starts_with("at ") || (!number.is_empty() && rest.starts_with(": "))
}

/// The printed text of a record; empty if it has none.
fn text(record: &str) -> &str {
    record.splitn(4, ' ').nth(3).unwrap_or_default()
}

/// The last `count` lines of a log, oldest first, in the format of records. With `run` only those
/// of that run of the last supervisor. A missing log has no lines.
///
/// # Errors
/// When an existing file cannot be read.
pub fn last_lines(log: &Path, run: Option<u64>, count: usize) -> io::Result<Vec<String>> {
    let mut records = Vec::new();
    if count == 0 {
        return Ok(records);
    }
    Lines::of(log)?.each(&|record| run.is_some() && record.is_takeover(), &mut |line, _, _| {
        if run.is_none_or(|run| line.run == run) {
            let head = head(line.time, line.run, line.stream, line.continues, line.end);
            records.push(format!("{head}{}", line.text_lossy()));
        }
        if records.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    records.reverse();
    Ok(records)
}

/// A place in a log: the index of a file, oldest first, and an offset in it.
pub(crate) type Place = (usize, u64);

/// Called with a line and the places of its first and last record.
type Take<'a> = &'a mut dyn FnMut(&Record<'_>, Place, Place) -> ControlFlow<()>;

/// The lines of a log, newest first.
pub(crate) struct Lines {
    files: Vec<LogFile>,
    earliest: Option<Place>,
    /// Lines whose first record was not read yet, and later ones that wait for them.
    waiting: VecDeque<Line>,
}

/// A line, as far as it was read.
struct Line {
    time: String,
    run: u64,
    stream: Stream,
    continues: bool,
    end: End,
    /// Its text, last piece first.
    pieces: Vec<Vec<u8>>,
    first: Place,
    last: Place,
    /// Whether its first record was read, or does not exist.
    is_whole: bool,
}

impl Lines {
    pub(crate) fn of(log: &Path) -> io::Result<Self> {
        Ok(Self { files: LogFile::all(log)?, earliest: None, waiting: VecDeque::new() })
    }

    /// Calls `take` for the lines, in reverse order of their ends, until it breaks. A record for
    /// which `stops` holds is not read any more. Takeovers belong to no line.
    pub(crate) fn each(
        &mut self,
        stops: &dyn Fn(&Record<'_>) -> bool,
        take: Take<'_>,
    ) -> io::Result<()> {
        for index in (0..self.files.len()).rev() {
            let end = self.files[index].length()?;
            let (waiting, earliest) = (&mut self.waiting, &mut self.earliest);
            let mut stopped = false;
            let flow = backwards(&mut self.files[index], end, |offset, _, record| {
                stopped = stops(record);
                if stopped {
                    return ControlFlow::Break(());
                }
                *earliest = Some((index, offset));
                add(waiting, record, (index, offset), take)
            })?;
            match flow {
                ControlFlow::Break(()) if stopped => break,
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(()) => {}
            }
        }
        // The first records of the other lines are not in the log, or are not wanted.
        self.waiting.iter_mut().for_each(|line| line.is_whole = true);
        let _ = pass(&mut self.waiting, take);
        Ok(())
    }

    /// The earliest record that was read.
    pub(crate) fn earliest(&self) -> Option<Place> {
        self.earliest
    }

    /// The file of `begin`, at its offset, or else the newest file at its end; and the place `end`
    /// by the id of its file.
    pub(crate) fn at(
        mut self,
        begin: Option<Place>,
        end: Option<Place>,
    ) -> io::Result<(Option<LogFile>, Option<FilePlace>)> {
        let end = end.map(|(index, offset)| (self.files[index].id, offset));
        let Some(newest) = self.files.len().checked_sub(1) else { return Ok((None, None)) };
        let (index, to) = match begin {
            Some((index, offset)) => (index, SeekFrom::Start(offset)),
            None => (newest, SeekFrom::End(0)),
        };
        let mut file = self.files.swap_remove(index);
        file.seek(to)?;
        Ok((Some(file), end))
    }
}

/// Adds the record before those that were read, and passes on the lines that are whole.
fn add(
    waiting: &mut VecDeque<Line>,
    record: &Record<'_>,
    place: Place,
    take: Take<'_>,
) -> ControlFlow<()> {
    if record.is_takeover() {
        waiting.iter_mut().for_each(|line| line.is_whole = true);
        return pass(waiting, take);
    }
    let own =
        |line: &&mut Line| !line.is_whole && (line.run, line.stream) == (record.run, record.stream);
    if let Some(line) = waiting.iter_mut().find(own) {
        if record.end == End::Open {
            line.pieces.push(record.text.to_vec());
            (line.first, line.continues, line.is_whole) =
                (place, record.continues, !record.continues);
            return pass(waiting, take);
        }
        // Its begin is missing.
        line.is_whole = true;
    }
    if waiting.is_empty() && !record.continues {
        return take(record, place, place);
    }
    waiting.push_back(Line {
        time: record.time.to_owned(),
        run: record.run,
        stream: record.stream,
        continues: record.continues,
        end: record.end,
        pieces: vec![record.text.to_vec()],
        first: place,
        last: place,
        is_whole: !record.continues,
    });
    pass(waiting, take)
}

/// Passes on lines until one is not whole.
fn pass(waiting: &mut VecDeque<Line>, take: Take<'_>) -> ControlFlow<()> {
    while waiting.front().is_some_and(|line| line.is_whole) {
        let Some(mut line) = waiting.pop_front() else { break };
        line.pieces.reverse();
        let text = line.pieces.concat();
        let Line { run, stream, continues, end, first, last, .. } = line;
        let record = Record { time: &line.time, run, stream, continues, end, text: &text };
        take(&record, first, last)?;
    }
    ControlFlow::Continue(())
}

/// Calls `take` for the records before `end`, newest first, with each record's position in the
/// file, until it breaks.
fn backwards(
    file: &mut LogFile,
    mut end: u64,
    mut take: impl FnMut(u64, &[u8], &Record<'_>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut block = BLOCK_BYTES;
    while end > 0 {
        let begin = end.saturating_sub(block);
        let bytes = file.part(begin, end)?;
        // A record that starts before this block is read with the next one.
        let first = match begin {
            0 => 0,
            _ => match memchr::memchr(b'\n', &bytes) {
                Some(at) if at + 1 < bytes.len() => at + 1,
                _ => {
                    block *= 2;
                    continue;
                }
            },
        };
        block = BLOCK_BYTES;
        let mut until = memchr::memrchr(b'\n', &bytes).map_or(first, |at| at + 1).max(first);
        while until > first {
            let at =
                memchr::memrchr(b'\n', &bytes[first..until - 1]).map_or(first, |at| first + at + 1);
            let record = &bytes[at..until - 1];
            if let Some(line) = Record::parse(record)
                && take(begin + at as u64, record, &line).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            until = at;
        }
        end = begin + first as u64;
    }
    Ok(ControlFlow::Continue(()))
}

/// A position with no record of `time` or later before it, and few older ones after it.
pub(crate) fn position_of(file: &mut LogFile, time: &str) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.length()?);
    while high - low > BLOCK_BYTES {
        let middle = low + (high - low) / 2;
        let bytes = file.part(middle, middle + BLOCK_BYTES)?;
        let begin = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |at| at + 1);
        let end = memchr::memchr(b'\n', &bytes[begin..]).map_or(bytes.len(), |at| begin + at);
        match Record::parse(&bytes[begin..end]) {
            Some(line) if line.time < time => low = middle + begin as u64,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// Whether the first record is before `time`.
pub(crate) fn begins_before(file: &mut LogFile, time: &str) -> io::Result<bool> {
    let bytes = file.part(0, 64)?;
    Ok(Record::parse(&bytes).is_some_and(|line| line.time < time))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::fs;

    use super::*;

    fn texts(records: &[String]) -> Vec<&str> {
        records.iter().map(|record| super::text(record)).collect()
    }

    #[test]
    fn last_lines_include_rotated_files() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        fs::write(folder.path().join("a.log.9"), "t 1 o one\nt 1 o two\n").unwrap();
        fs::write(folder.path().join("a.log.10"), "t 1 o three\n").unwrap();
        fs::write(&log, "t 2 e four\nt 2 e being writ").unwrap();
        assert_eq!(texts(&last_lines(&log, None, 3).unwrap()), ["two", "three", "four"]);
        assert_eq!(texts(&last_lines(&log, Some(1), 9).unwrap()), ["one", "two", "three"]);
        assert!(last_lines(&log, None, 0).unwrap().is_empty());
        assert!(last_lines(&folder.path().join("b.log"), None, 3).unwrap().is_empty());
    }

    #[test]
    fn line_in_pieces_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let rotated = "t1 1 o one\nt2 1 o+ tw\nt3 1 e error\n";
        fs::write(folder.path().join("a.log.1"), rotated).unwrap();
        fs::write(&log, "t4 1 o- o\nt5 1 o+ half\nt6 1 o-+  a line\n").unwrap();
        let last = |count| last_lines(&log, Some(1), count).unwrap();
        assert_eq!(texts(&last(2)), ["two", "half a line"]);
        assert_eq!(last(1), ["t6 1 o+ half a line"]);
        assert_eq!(texts(&last(9)), ["one", "error", "two", "half a line"]);
    }

    #[test]
    fn closing_lines_start_at_the_panic_message() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let mut text = String::from("t 1 o ready\nt 1 e thread 'main' (7) panicked at a.rs:1:2:\n");
        text.push_str("t 1 e the address is in use\n");
        for frame in 0..60 {
            writeln!(text, "t 1 e {frame}: a::b").unwrap();
        }
        fs::write(&log, &text).unwrap();
        let lines = closing_lines(&log, 1, 3).unwrap();
        let panic = "thread 'main' (7) panicked at a.rs:1:2:";
        assert_eq!(texts(&lines), [panic, "the address is in use", "0: a::b"]);
        let backtrace = text.replace("in use\n", "in use\nt 1 e stack backtrace:\n");
        let end = "t 1 e note: Some details are omitted, run with\nt 1 o 7: a last word\n";
        fs::write(&log, backtrace + end).unwrap();
        let lines = closing_lines(&log, 1, 3).unwrap();
        assert_eq!(texts(&lines), [panic, "the address is in use", "7: a last word"]);
        fs::write(&log, "t 1 o one\nt 1 o two\nt 1 o three\n").unwrap();
        assert_eq!(texts(&closing_lines(&log, 1, 2).unwrap()), ["two", "three"]);
    }

    #[test]
    fn run_of_an_earlier_supervisor_is_excluded() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        fs::write(&log, "t 1 o old\nt 0 x supervisor 7\nt 1 o new\n").unwrap();
        assert_eq!(texts(&last_lines(&log, Some(1), 9).unwrap()), ["new"]);
        assert_eq!(texts(&last_lines(&log, None, 9).unwrap()), ["old", "new"]);
    }

    #[test]
    fn long_files_are_read_in_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let mut text = String::new();
        for number in 0..9000 {
            writeln!(text, "t{number:05} 1 o {number} {}", "x".repeat(number % 300)).unwrap();
        }
        writeln!(text, "t09000 1 o {}", "y".repeat(600_000)).unwrap();
        fs::write(&log, &text).unwrap();
        let records = last_lines(&log, None, 8001).unwrap();
        assert_eq!(records.len(), 8001);
        assert!(text.ends_with(&(records.join("\n") + "\n")));
    }

    #[test]
    fn time_is_found_without_missing_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let mut text = String::new();
        for number in 0..50_000 {
            writeln!(text, "t{number:05} 1 o {}", "x".repeat(100)).unwrap();
        }
        fs::write(&log, &text).unwrap();
        let mut file = LogFile::at(&log).unwrap().unwrap();
        for wanted in ["t00000", "t00001", "t12345", "t49999", "t99999"] {
            let position = usize::try_from(position_of(&mut file, wanted).unwrap()).unwrap();
            let exact = text.find(wanted).unwrap_or(text.len());
            assert!(
                position <= exact && exact - position <= 600_000,
                "{wanted}: {position} of {exact}"
            );
            assert!(position == 0 || text.as_bytes()[position - 1] == b'\n');
        }
    }
}
