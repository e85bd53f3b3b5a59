//! Log files of a stack: one line each as `TIMESTAMP RUN STREAM text`.
//!
//! It reads what is there and parses it. It follows nothing and writes nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Serialize;

/// How much of a file's end is read in search of its last lines, in bytes; grows
/// fourfold until there are enough.
const FIRST_CHUNK_BYTES: u64 = 32 * 1024;

/// One line that a service printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Line<'a> {
    /// When, as the file says: RFC 3339 in UTC, so that text order is time order.
    pub time: &'a str,
    /// The run that printed it.
    pub run: u64,
    /// `o` or `e`.
    pub stream: &'a str,
    /// What it printed, without the line's end.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// The parts of a line of a log file; none if it is not one.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (run, rest) = rest.split_once(' ')?;
        let (stream, text) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Self { time, run: run.parse().ok()?, stream, text })
    }
}

/// The last `count` lines of a log, oldest first, of one run if `run` says so. The
/// rotated file before it is read where the present one is too short. A missing file
/// has no lines.
///
/// # Errors
/// What the system says of files that are there.
pub fn last_lines(log: &Path, run: Option<u64>, count: usize) -> io::Result<Vec<String>> {
    let mut lines = last_lines_of_file(log, run, count)?;
    if lines.len() < count {
        let mut rotated = log.as_os_str().to_owned();
        rotated.push(".1");
        let mut older = last_lines_of_file(rotated.as_ref(), run, count - lines.len())?;
        older.append(&mut lines);
        lines = older;
    }
    Ok(lines)
}

fn last_lines_of_file(log: &Path, run: Option<u64>, count: usize) -> io::Result<Vec<String>> {
    let mut file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut chunk = FIRST_CHUNK_BYTES;
    loop {
        let start = length.saturating_sub(chunk);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        (&mut file).take(length - start).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // The first line of a chunk that is not the whole file is cut off.
        let whole = if start == 0 { &*text } else { text.split_once('\n').map_or("", |x| x.1) };
        let wanted = |line: &&str| {
            run.is_none() || Line::parse(line).is_some_and(|line| Some(line.run) == run)
        };
        let mut lines: Vec<String> =
            whole.lines().rev().filter(wanted).take(count).map(str::to_string).collect();
        if lines.len() == count || start == 0 {
            lines.reverse();
            return Ok(lines);
        }
        chunk = chunk.saturating_mul(4);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_has_time_run_stream_and_text() {
        let line = Line::parse("2026-01-02T03:04:05.678Z 3 err hello  world").unwrap();
        assert_eq!((line.run, line.stream, line.text), (3, "err", "hello  world"));
        assert_eq!(Line::parse("2026-01-02T03:04:05.678Z 3 out").unwrap().text, "");
        assert_eq!(Line::parse("no line"), None);
    }

    #[test]
    fn the_last_lines_come_from_the_rotated_file_too() {
        let folder = std::env::temp_dir().join(format!("xtask-logs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join("a.log");
        std::fs::write(folder.join("a.log.1"), "t 1 out one\nt 1 out two\n").unwrap();
        std::fs::write(&log, "t 1 out three\nt 2 out four\n").unwrap();
        assert_eq!(
            last_lines(&log, None, 3).unwrap(),
            ["t 1 out two", "t 1 out three", "t 2 out four"]
        );
        assert_eq!(last_lines(&log, Some(2), 3).unwrap(), ["t 2 out four"]);
        assert!(last_lines(&folder.join("b.log"), None, 3).unwrap().is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn long_files_are_read_from_their_end() {
        let folder = std::env::temp_dir().join(format!("xtask-long-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join("a.log");
        let mut file = File::create(&log).unwrap();
        for number in 0..5000 {
            writeln!(file, "t 1 out {number} {}", "x".repeat(50)).unwrap();
        }
        let lines = last_lines(&log, None, 1000).unwrap();
        assert_eq!(lines.len(), 1000);
        assert!(lines[0].starts_with("t 1 out 4000 "), "{}", lines[0]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
