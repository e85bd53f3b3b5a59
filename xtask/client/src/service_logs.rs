//! The log of one service, for tests: read its lines, and wait for one.
//!
//! It reads the files that the supervisor writes and sends no request to the supervisor.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex_lite::Regex;

use crate::logs::{Mark, Merge, More, Reader, Record, Start, last_lines};

/// The default timeout for a line.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The pause between two reads.
const PAUSE: Duration = Duration::from_millis(10);

/// The most that one read returns, in bytes.
const TURN_BYTES: usize = 64 * 1024;

/// The number of lines in the error of a failed wait.
const SHOWN_LINES: usize = 20;

/// The log of a service, complete or after a mark.
#[derive(Clone, Debug)]
pub struct Logs {
    path: PathBuf,
    after: Mark,
    timeout: Duration,
}

/// Why reading a log failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("failed to read `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Pattern(#[from] regex_lite::Error),
    #[error(
        "no line of `{}` matched `{pattern}` within {within:?}; the last lines are:\n{last}",
        path.display()
    )]
    NoMatch { path: PathBuf, pattern: String, within: Duration, last: String },
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
        Mark::end_of(&self.path).map_err(|source| self.failed(source))
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
            // It has the whole line when a part of it arrives.
            let pattern = regex.clone();
            let mut logs = Merge::only(Arc::new(move |line| pattern.is_match(&line.text_lossy())));
            logs.add("", Reader::new(&self.path, &Start::After(self.after))?);
            loop {
                let mut found = None;
                logs.all_grown();
                let more = logs.read(TURN_BYTES, &mut |_, line| {
                    if found.is_none() {
                        found = find(line, &regex);
                    }
                })?;
                match (found, more) {
                    (Some(found), _) => return Ok(found),
                    (None, More::Yes) => {}
                    (None, More::No) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        if let Ok(found) = tokio::time::timeout(self.timeout, wait).await {
            return found.map_err(|source| self.failed(source));
        }
        let last = last_lines(&self.path, None, SHOWN_LINES).unwrap_or_default().join("\n");
        let (path, within) = (self.path.clone(), self.timeout);
        Err(LogError::NoMatch { path, pattern: pattern.to_owned(), within, last })
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::File { path: self.path.clone(), source }
    }
}

/// The match in a line.
fn find(line: &Record<'_>, pattern: &Regex) -> Option<String> {
    let text = line.text_lossy();
    let found = pattern.captures(&text)?;
    Some(found.get(1).map_or(&*text, |group| group.as_str()).to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
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
        let logs = logs(&folder);
        let mark = logs.mark().unwrap();
        File::options().write(true).open(folder.path().join("a.log")).unwrap().set_len(0).unwrap();
        append(&folder, "t 2 o new\n");
        assert_eq!(logs.after(mark).wait_for("new").await.unwrap(), "new");
    }
}
