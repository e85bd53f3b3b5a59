//! Looking at a log from its end, and finding a time in it.
//!
//! Only as much is read as is needed to answer. A record that is being written at this
//! moment is not seen.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::files::Open;
use super::record::Line;

/// How much is read at once, in bytes; a record is shorter.
const BLOCK_BYTES: u64 = 256 * 1024;

/// How far back a panic is looked for, in records: a backtrace is longer than what is shown.
const PANIC_WITHIN: usize = 200;

/// What the standard library says when a thread panics: its name, then the place.
const PANIC: [&str; 2] = ["thread '", " panicked at "];

/// At most `count` records of a run that say how it ended: from its last panic on, if it had
/// one, since a backtrace would push the message out; else its last.
///
/// # Errors
/// As for [`last_lines`].
pub fn closing_lines(log: &Path, run: u64, count: usize) -> io::Result<Vec<String>> {
    let lines = last_lines(log, Some(run), count.max(PANIC_WITHIN))?;
    let panic = lines.iter().rposition(|line| PANIC.iter().all(|words| line.contains(words)));
    let from = panic.unwrap_or_else(|| lines.len().saturating_sub(count));
    Ok(lines.into_iter().skip(from).take(count).collect())
}

/// The last `count` records of a log, oldest first, of one run if `run` says so: a run
/// of the supervisor that was the last to write. A missing file has none.
///
/// # Errors
/// What the system says of files that are there.
pub fn last_lines(log: &Path, run: Option<u64>, count: usize) -> io::Result<Vec<String>> {
    let mut records = Vec::new();
    if count == 0 {
        return Ok(records);
    }
    for mut file in Open::all(log)?.into_iter().rev() {
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

/// Shows the records before `end`, newest first, each with its place in the file, until
/// told to stop.
pub(super) fn backwards(
    file: &mut Open,
    mut end: u64,
    mut take: impl FnMut(u64, &[u8], &Line<'_>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut block = BLOCK_BYTES;
    while end > 0 {
        let begin = end.saturating_sub(block);
        let bytes = file.part(begin, end)?;
        // What begins before the block is left to the next one.
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
            if let Some(line) = Line::parse(record)
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

/// A place in the file with no record of `time` or later before it, and not many older
/// ones behind it.
pub(super) fn place_of(file: &mut Open, time: &str) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.length()?);
    while high - low > BLOCK_BYTES {
        let middle = low + (high - low) / 2;
        let bytes = file.part(middle, middle + BLOCK_BYTES)?;
        let begin = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |at| at + 1);
        let end = memchr::memchr(b'\n', &bytes[begin..]).map_or(bytes.len(), |at| begin + at);
        match Line::parse(&bytes[begin..end]) {
            Some(line) if line.time < time => low = middle + begin as u64,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// Whether the file begins before that time.
pub(super) fn begins_before(file: &mut Open, time: &str) -> io::Result<bool> {
    let bytes = file.part(0, 64)?;
    Ok(Line::parse(&bytes).is_some_and(|line| line.time < time))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::fs;

    use super::*;

    fn texts(records: &[String]) -> Vec<&str> {
        records.iter().map(|record| record.splitn(4, ' ').nth(3).unwrap()).collect()
    }

    #[test]
    fn the_last_lines_come_from_files_put_aside_too() {
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
    fn a_panic_is_shown_from_its_message_on_however_long_its_backtrace() {
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
        fs::write(&log, "t 1 o one\nt 1 o two\nt 1 o three\n").unwrap();
        assert_eq!(texts(&closing_lines(&log, 1, 2).unwrap()), ["two", "three"]);
    }

    #[test]
    fn a_run_of_an_earlier_supervisor_is_another_run() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        fs::write(&log, "t 1 o old\nt 0 x supervisor 7\nt 1 o new\n").unwrap();
        assert_eq!(texts(&last_lines(&log, Some(1), 9).unwrap()), ["new"]);
        assert_eq!(texts(&last_lines(&log, None, 9).unwrap()), ["old", "new"]);
    }

    #[test]
    fn long_files_are_read_block_by_block() {
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
    fn a_time_is_found_with_few_reads_and_nothing_of_it_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("a.log");
        let mut text = String::new();
        for number in 0..50_000 {
            writeln!(text, "t{number:05} 1 o {}", "x".repeat(100)).unwrap();
        }
        fs::write(&log, &text).unwrap();
        let mut file = Open::at(&log).unwrap().unwrap();
        for wanted in ["t00000", "t00001", "t12345", "t49999", "t99999"] {
            let place = usize::try_from(place_of(&mut file, wanted).unwrap()).unwrap();
            let exact = text.find(wanted).unwrap_or(text.len());
            assert!(place <= exact && exact - place <= 600_000, "{wanted}: {place} of {exact}");
            assert!(place == 0 || text.as_bytes()[place - 1] == b'\n');
        }
    }
}
