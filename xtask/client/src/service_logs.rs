//! The log of one service as a test holds it: its lines, and waiting for one.
//!
//! It reads the files that the supervisor writes, and asks the supervisor nothing.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use crate::logs::{Line, aside, last_lines, numbers_aside};

/// How long a line is waited for where nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether it is there.
const PAUSE: Duration = Duration::from_millis(10);

/// Lines that a failed wait shows.
const SHOWN_LINES: usize = 20;

/// The log of a service, from a mark on or whole.
#[derive(Clone, Debug)]
pub struct Logs {
    path: PathBuf,
    after: Mark,
    patience: Duration,
}

/// A place in a log: lines after it were written later. It stays right when the log is
/// rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The file, by its number, and how much of it lies before; none for the beginning.
    place: Option<(u64, u64)>,
}

/// Why a log does not tell what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The pattern is none.
    #[error(transparent)]
    Pattern(#[from] regex::Error),
    /// No line matched in time.
    #[error(
        "no line of `{}` matches `{pattern}` within {within:?}; the last ones are:\n{last}",
        path.display()
    )]
    NoMatch {
        /// The file.
        path: PathBuf,
        /// What was waited for.
        pattern: String,
        /// For how long.
        within: Duration,
        /// The last lines after the mark.
        last: String,
    },
}

impl Logs {
    pub(crate) fn of(path: PathBuf) -> Self {
        Self { path, after: Mark::default(), patience: PATIENCE }
    }

    /// The last lines, at most 1000, oldest first, as `TIMESTAMP RUN STREAM text`. The mark
    /// is no matter here.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn lines(&self) -> Result<Vec<String>, LogError> {
        last_lines(&self.path, None, 1000).map_err(|source| self.failed(source))
    }

    /// Where the log ends now. To be taken before what is waited for is caused.
    ///
    /// # Errors
    /// What the system says of the file.
    pub fn mark(&self) -> Result<Mark, LogError> {
        match fs::metadata(&self.path) {
            Ok(found) => Ok(Mark { place: Some((found.ino(), found.len())) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Mark::default()),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// The same log, but only what comes after the mark.
    #[must_use]
    pub fn after(self, mark: Mark) -> Self {
        Self { after: mark, ..self }
    }

    /// Waits so long instead of half a minute.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Waits for the first line whose text matches a regular expression, and returns what
    /// its first group matched, or the whole text where it has none.
    ///
    /// # Errors
    /// When none comes in time, the log cannot be read, or the pattern is none.
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
        match tokio::time::timeout(self.patience, wait).await {
            Ok(found) => found,
            Err(_) => Err(self.no_match(pattern)),
        }
    }

    /// Everything after the mark; whole files where it lies in none that is there.
    fn read(&self, after: Mark) -> io::Result<Read> {
        loop {
            let numbers = numbers_aside(&self.path)?;
            let older = numbers.iter().rev().map(|number| aside(&self.path, *number));
            let (mut text, mut end) = (Vec::new(), None);
            for path in std::iter::once(self.path.clone()).chain(older) {
                let Some(mut part) = read_file(&path, after)? else { continue };
                end = end.or(Some((part.number, part.start + whole(&part.bytes) as u64)));
                part.bytes.append(&mut text);
                text = part.bytes;
                if after.place.is_some_and(|(marked, _)| marked == part.number) {
                    break;
                }
            }
            // A file that was put aside meanwhile was perhaps not read under either name.
            if numbers_aside(&self.path)? == numbers {
                let end = Mark { place: end.or(after.place) };
                return Ok(Read { text: String::from_utf8_lossy(&text).into_owned(), end });
            }
        }
    }

    fn no_match(&self, pattern: &str) -> LogError {
        let text = self.read(self.after).map(|read| read.text).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
        let (path, within) = (self.path.clone(), self.patience);
        LogError::NoMatch { path, pattern: pattern.to_owned(), within, last }
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::File { path: self.path.clone(), source }
    }
}

/// What lies between a mark and the present end.
struct Read {
    text: String,
    /// The end of its last whole line.
    end: Mark,
}

/// What was read of one file.
struct Part {
    /// The file's number.
    number: u64,
    /// Where the bytes begin.
    start: u64,
    bytes: Vec<u8>,
}

/// A file from the mark on, if that lies in it, or else all of it; none if it is not there. A
/// new file may have the number of one that was deleted, but hardly its length.
fn read_file(path: &Path, mark: Mark) -> io::Result<Option<Part>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (number, length) = file.metadata().map(|of| (of.ino(), of.len()))?;
    let lies_in_it = |(marked, place): &(u64, u64)| *marked == number && *place <= length;
    let start = mark.place.filter(lies_in_it).map_or(0, |(_, place)| place);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(Part { number, start, bytes }))
}

/// How many bytes are whole lines.
fn whole(bytes: &[u8]) -> usize {
    memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1)
}

/// A line counts when it is whole.
fn find(text: &str, pattern: &Regex) -> Option<String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| Line::parse(line.as_bytes())).find_map(|line| {
        let text = line.text_lossy();
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
    async fn a_value_is_taken_from_the_first_whole_line_that_matches() {
        let folder = tempfile::tempdir().unwrap();
        append(&folder, "t 1 o listening on 1\nt 2 e listening on 2\nt 2 o port 3");
        let logs = logs(&folder);
        assert_eq!(logs.wait_for(r"on (\d+)").await.unwrap(), "1");
        assert_eq!(logs.wait_for("on 2").await.unwrap(), "listening on 2");
        let error = logs.wait_for("port").await.unwrap_err().to_string();
        assert!(error.contains("`port`") && error.contains("listening on 2"), "{error}");
    }

    #[tokio::test]
    async fn what_was_there_before_the_mark_does_not_count_also_across_rotations() {
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
    async fn a_line_that_comes_later_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs(&folder).within(Duration::from_secs(30));
        let wait = tokio::spawn(async move { logs.wait_for("late").await });
        tokio::task::yield_now().await;
        append(&folder, "t 1 o too late\n");
        assert_eq!(wait.await.unwrap().unwrap(), "too late");
    }

    #[tokio::test]
    async fn what_was_looked_at_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        append(&folder, "t 1 o first\nt 1 o ha");
        let logs = logs(&folder).within(Duration::from_secs(30));
        let wait = tokio::spawn(async move { logs.wait_for("late|half").await });
        // It looks once before it waits.
        tokio::task::yield_now().await;
        let path = folder.path().join("a.log");
        fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(b"t 1 o late!").unwrap();
        append(&folder, "lf\n");
        assert_eq!(wait.await.unwrap().unwrap(), "half");
    }

    #[tokio::test]
    async fn a_new_file_with_the_number_of_an_old_one_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        append(&folder, "t 1 o something long that was looked at\n");
        let logs = logs(&folder).within(Duration::from_secs(30));
        let wait = tokio::spawn(async move { logs.wait_for("new").await });
        tokio::task::yield_now().await;
        File::options().write(true).open(folder.path().join("a.log")).unwrap().set_len(0).unwrap();
        append(&folder, "t 2 o new\n");
        assert_eq!(wait.await.unwrap().unwrap(), "new");
    }
}
