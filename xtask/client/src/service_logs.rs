//! The log of one service, for tests: read its lines, and wait for one.
//!
//! It reads the files that the supervisor writes and sends no request to the supervisor.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use crate::logs::{Record, last_lines, rotated_numbers, rotated_path};

/// The default timeout for a line.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two reads.
const PAUSE: Duration = Duration::from_millis(10);

/// The number of lines in the error of a failed wait.
const SHOWN_LINES: usize = 20;

/// The log of a service, complete or after a mark.
#[derive(Clone, Debug)]
pub struct Logs {
    path: PathBuf,
    after: Mark,
    timeout: Duration,
}

/// A position in a log: later lines are after it. It remains valid when the log is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The inode of the file and the offset in it; `None` for the beginning of the log.
    position: Option<(u64, u64)>,
}

/// Why reading a log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file cannot be read.
    #[error("failed to read `{}`", path.display())]
    File {
        /// The path of the log.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The pattern is not a valid regular expression.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
    /// No line matched before the timeout.
    #[error(
        "no line of `{}` matched `{pattern}` within {within:?}; the last lines are:\n{last}",
        path.display()
    )]
    NoMatch {
        /// The path of the log.
        path: PathBuf,
        /// The regular expression.
        pattern: String,
        /// The timeout of the wait.
        within: Duration,
        /// The last lines after the mark.
        last: String,
    },
}

impl Logs {
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path, after: Mark::default(), timeout: TIMEOUT }
    }

    /// The last lines, at most 1000, oldest first, as `TIMESTAMP RUN STREAM text`. It ignores the
    /// mark.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn lines(&self) -> Result<Vec<String>, LogError> {
        last_lines(&self.path, None, 1000).map_err(|source| self.failed(source))
    }

    /// The current end of the log. Take the mark before the action that prints the expected line.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn mark(&self) -> Result<Mark, LogError> {
        match fs::metadata(&self.path) {
            Ok(found) => Ok(Mark { position: Some((found.ino(), found.len())) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mark::default()),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// The same log, only the part after the mark.
    #[must_use]
    pub fn after(self, mark: Mark) -> Self {
        Self { after: mark, ..self }
    }

    /// Sets the timeout; the default is 30 seconds.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Waits for the first line whose text matches a regular expression. Returns the text of the
    /// first group, or the whole text for a pattern without groups.
    ///
    /// # Errors
    /// When no line matches in time, the log cannot be read, or the pattern is invalid.
    pub async fn wait_for(&self, pattern: &str) -> Result<String, LogError> {
        let regex = Regex::new(pattern)?;
        let wait = async {
            let mut after = self.after;
            loop {
                let read = self.read(after).map_err(|source| self.failed(source))?;
                if let Some(value) = find(&read.text, &regex) {
                    return Ok(value);
                }
                after = read.end;
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(self.timeout, wait).await {
            Ok(found) => found,
            Err(_) => Err(self.no_match(pattern)),
        }
    }

    /// The log after the mark, or the complete log if the marked file is gone.
    fn read(&self, after: Mark) -> io::Result<Read> {
        loop {
            let numbers = rotated_numbers(&self.path)?;
            let older = numbers.iter().rev().map(|number| rotated_path(&self.path, *number));
            let (mut text, mut end) = (Vec::new(), None);
            for path in std::iter::once(self.path.clone()).chain(older) {
                let Some(mut part) = read_file(&path, after)? else { continue };
                end = end.or(Some((part.inode, part.start + complete_lines(&part.bytes) as u64)));
                part.bytes.append(&mut text);
                text = part.bytes;
                if after.position.is_some_and(|(marked, _)| marked == part.inode) {
                    break;
                }
            }
            // A file that was rotated meanwhile may have been read under neither name.
            if rotated_numbers(&self.path)? == numbers {
                let end = Mark { position: end.or(after.position) };
                return Ok(Read { text: String::from_utf8_lossy(&text).into_owned(), end });
            }
        }
    }

    fn no_match(&self, pattern: &str) -> LogError {
        let text = self.read(self.after).map(|read| read.text).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        let (path, within) = (self.path.clone(), self.timeout);
        LogError::NoMatch { path, pattern: pattern.to_owned(), within, last }
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::File { path: self.path.clone(), source }
    }
}

/// The part of a log between a mark and the current end.
struct Read {
    text: String,
    /// The end of its last complete line.
    end: Mark,
}

/// The part of one file.
struct Part {
    inode: u64,
    /// The offset of the bytes.
    start: u64,
    bytes: Vec<u8>,
}

/// A file from the mark on if the mark is in it, else the whole file; `None` if it does not exist.
/// A new file may reuse the inode of a deleted one, but is then shorter than the mark.
fn read_file(path: &Path, mark: Mark) -> io::Result<Option<Part>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (inode, length) = file.metadata().map(|of| (of.ino(), of.len()))?;
    let is_in_file = |(marked, offset): &(u64, u64)| *marked == inode && *offset <= length;
    let start = mark.position.filter(is_in_file).map_or(0, |(_, offset)| offset);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(Part { inode, start, bytes }))
}

/// The length of the complete lines, in bytes.
fn complete_lines(bytes: &[u8]) -> usize {
    memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1)
}

/// The match in the first complete line that matches.
fn find(text: &str, pattern: &Regex) -> Option<String> {
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete.lines().filter_map(|line| Record::parse(line.as_bytes())).find_map(|record| {
        let text = record.text_lossy();
        let found = pattern.captures(&text)?;
        Some(found.get(1).map_or(&*text, |group| group.as_str()).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn logs(folder: &tempfile::TempDir) -> Logs {
        Logs::of(folder.path().join("a.log")).within(Duration::from_millis(50))
    }

    fn append(folder: &tempfile::TempDir, text: &str) {
        let path = folder.path().join("a.log");
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[tokio::test]
    async fn wait_returns_the_first_matching_line() {
        let folder = tempfile::tempdir().unwrap();
        append(&folder, "t 1 o listening on 1\nt 2 e listening on 2\nt 2 o port 3");
        let logs = logs(&folder);
        assert_eq!(logs.wait_for(r"on (\d+)").await.unwrap(), "1");
        assert_eq!(logs.wait_for("on 2").await.unwrap(), "listening on 2");
        let error = logs.wait_for("port").await.unwrap_err().to_string();
        assert!(error.contains("`port`") && error.contains("listening on 2"), "{error}");
    }

    #[tokio::test]
    async fn mark_excludes_earlier_lines_across_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs(&folder);
        let first = logs.mark().unwrap();
        append(&folder, "t 1 o one\n");
        assert_eq!(logs.clone().after(first).wait_for("o").await.unwrap(), "one");
        let mark = logs.mark().unwrap();
        assert!(logs.clone().after(mark).wait_for("one").await.is_err());
        append(&folder, "t 1 o two\n");
        let path = |name: &str| folder.path().join(name);
        fs::rename(path("a.log"), path("a.log.1")).unwrap();
        append(&folder, "t 1 o three\n");
        assert_eq!(logs.clone().after(mark).wait_for("o").await.unwrap(), "two");
        assert_eq!(logs.clone().after(mark).wait_for("three").await.unwrap(), "three");
        assert!(logs.after(mark).wait_for("one").await.is_err());
    }

    #[tokio::test]
    async fn wait_finds_a_later_line() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs(&folder).within(Duration::from_secs(30));
        let wait = tokio::spawn(async move { logs.wait_for("late").await });
        tokio::task::yield_now().await;
        append(&folder, "t 1 o too late\n");
        assert_eq!(wait.await.unwrap().unwrap(), "too late");
    }

    #[tokio::test]
    async fn wait_does_not_read_a_line_twice() {
        let folder = tempfile::tempdir().unwrap();
        append(&folder, "t 1 o first\nt 1 o ha");
        let logs = logs(&folder).within(Duration::from_secs(30));
        let wait = tokio::spawn(async move { logs.wait_for("late|half").await });
        // The task reads once before it sleeps.
        tokio::task::yield_now().await;
        let path = folder.path().join("a.log");
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(b"t 1 o late!").unwrap();
        append(&folder, "lf\n");
        assert_eq!(wait.await.unwrap().unwrap(), "half");
    }

    #[tokio::test]
    async fn shorter_file_with_the_same_inode_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        append(&folder, "t 1 o something long that was read\n");
        let logs = logs(&folder).within(Duration::from_secs(30));
        let wait = tokio::spawn(async move { logs.wait_for("new").await });
        tokio::task::yield_now().await;
        File::options().write(true).open(folder.path().join("a.log")).unwrap().set_len(0).unwrap();
        append(&folder, "t 2 o new\n");
        assert_eq!(wait.await.unwrap().unwrap(), "new");
    }
}
