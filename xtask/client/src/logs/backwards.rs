//! Reads a log from its end, and finds a time in it.
//!
//! It reads only the blocks that it needs. A record that is still being written is ignored.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::files::LogFile;
use super::record::Record;

/// The size of a block, in bytes; a record is shorter.
const BLOCK_BYTES: u64 = 256 * 1024;

/// The number of last records in which a panic is searched: a backtrace may be long.
const PANIC_RECORDS: usize = 500;

/// The parts of the standard library's message when a thread panics: its name, then the location.
const PANIC: [&str; 2] = ["thread '", " panicked at "];

/// The beginnings of notes about a backtrace.
const BACKTRACE_NOTES: [&str; 2] =
    ["note: run with `RUST_BACKTRACE", "note: Some details are omitted"];

/// At most `count` records that explain how a run ended: from its last panic on; without a panic
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

/// The last `count` records of a log, oldest first. With `run` only those of that run of the last
/// supervisor. A missing log has no records.
///
/// # Errors
/// When an existing file cannot be read.
pub fn last_lines(log: &Path, run: Option<u64>, count: usize) -> io::Result<Vec<String>> {
    let mut records = Vec::new();
    if count == 0 {
        return Ok(records);
    }
    for mut file in LogFile::all(log)?.into_iter().rev() {
        let end = file.length()?;
        let flow = backwards(&mut file, end, |_, record, line| {
            if line.is_takeover() {
                return if run.is_some() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                };
            }
            if run.is_none_or(|run| line.run == run) {
                records.push(String::from_utf8_lossy(record).into_owned());
            }
            if records.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if flow.is_break() {
            break;
        }
    }
    records.reverse();
    Ok(records)
}

/// Calls `take` for the records before `end`, newest first, with each record's position in the
/// file, until it breaks.
pub(super) fn backwards(
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
pub(super) fn position_of(file: &mut LogFile, time: &str) -> io::Result<u64> {
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
pub(super) fn begins_before(file: &mut LogFile, time: &str) -> io::Result<bool> {
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
