//! Writes the log file of one service: appends whole records, and rotates by size.
//!
//! A full disk costs log lines, never a service. Records that cannot be written are counted, and
//! the log states their number once a write succeeds.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind::FileTooLarge;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use xtask_core::plan::LogLimits;
use xtask_core::stack::Run;
use xtask_logs::{rotated_numbers, rotated_path, tool_head};

use crate::system::timestamp::Timestamp;
use crate::system::way_out::{behind, way_out_of_state};

/// `SERVICE.log`, with `SERVICE.log.N` beside it.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    open: Option<File>,
    size: u64,
    /// When the file is rotated, and how many rotated files are kept.
    pub(crate) limits: LogLimits,
    /// The number of the next rotated file, once known.
    next_number: Option<u64>,
    time: String,
    missing: Missing,
}

/// Records that could not be written since the last successful write.
#[derive(Debug, Default)]
struct Missing {
    records: usize,
    error: String,
}

/// A change between successful and failing writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WriteChange {
    None,
    /// Writes fail from now on, for this reason.
    Failed(String),
    /// Writes succeed again.
    Recovered,
}

/// A write that failed, possibly after some records.
struct WriteFailure {
    /// How many bytes of whole records are in the file.
    kept: usize,
    error: io::Error,
}

impl LogFile {
    /// The log of `service` in the folder `logs`. A log of an earlier supervisor is continued after
    /// a record that names this supervisor, because run numbers start again.
    pub(crate) fn new(logs: &Path, service: &str) -> Self {
        let mut log = Self::of(logs, service);
        if log.open.is_some() {
            let head = tool_head(log.time(), 0);
            let takeover = format!("{head}supervisor {}\n", std::process::id());
            let _ = log.write(takeover.as_bytes());
        }
        log
    }

    /// The log of `service` in the folder `logs`, without that record.
    pub(crate) fn of(logs: &Path, service: &str) -> Self {
        let path = logs.join(format!("{service}.log"));
        let mut log = Self {
            path,
            open: None,
            size: 0,
            limits: LogLimits::default(),
            next_number: None,
            time: String::new(),
            missing: Missing::default(),
        };
        if let Ok(file) = OpenOptions::new().read(true).append(true).open(&log.path) {
            log.size = file.metadata().map_or(0, |found| found.len());
            // A killed supervisor may have left half a record.
            let is_whole = ends_a_line(&file, log.size);
            log.open = Some(file);
            if !is_whole {
                let _ = log.write(b"\n");
            }
        }
        log
    }

    /// The time of a record that is written now. It never decreases, so that a log stays ordered
    /// when the clock is set back.
    pub(crate) fn time(&mut self) -> &str {
        let now = Timestamp::now().to_string();
        if now > self.time {
            self.time = now;
        }
        &self.time
    }

    /// Appends records, which are whole lines. `run` is the run that printed them; a record about
    /// missing lines gets the same number.
    pub(crate) fn append(&mut self, run: Run, records: &[u8]) -> WriteChange {
        let failing = self.missing.records > 0;
        if failing {
            let notice = self.notice(run);
            if self.write(notice.as_bytes()).is_err() {
                self.missing.records += count(records);
                return WriteChange::None;
            }
            self.missing = Missing::default();
        }
        match self.write(records) {
            Ok(()) if failing => WriteChange::Recovered,
            Ok(()) => WriteChange::None,
            Err(failed) => {
                let records = count(&records[failed.kept..]);
                let error = failed.error.to_string();
                let way_out = behind(way_out_of_state(&failed.error));
                let trouble = format!("{error}{way_out}");
                self.missing = Missing { records, error };
                if failing { WriteChange::None } else { WriteChange::Failed(trouble) }
            }
        }
    }

    /// Appends a line of the tool.
    pub(crate) fn note(&mut self, run: Run, text: &str) -> WriteChange {
        let record = format!("{}{text}\n", tool_head(self.time(), run));
        self.append(run, record.as_bytes())
    }

    fn notice(&mut self, run: Run) -> String {
        let head = tool_head(self.time(), run);
        let Missing { records, error } = &self.missing;
        let lines = if *records == 1 { "line is" } else { "lines are" };
        format!("{head}{records} {lines} missing here: {error}\n")
    }

    fn write(&mut self, records: &[u8]) -> Result<(), WriteFailure> {
        if records.is_empty() {
            return Ok(());
        }
        self.check().map_err(|error| WriteFailure { kept: 0, error })?;
        if self.size > 0 && self.size.saturating_add(records.len() as u64) > self.limits.size_bytes
        {
            self.rotate().map_err(|error| WriteFailure { kept: 0, error })?;
        }
        let failed = match self.write_here(records) {
            // The file size limit of the system is lower than that of the log.
            Err(failed) if failed.error.kind() == FileTooLarge && self.size > 0 => failed,
            written => return written,
        };
        self.rotate().map_err(|error| WriteFailure { kept: failed.kept, error })?;
        self.write_here(&records[failed.kept..])
            .map_err(|again| WriteFailure { kept: failed.kept + again.kept, ..again })
    }

    /// Checks the current file: another program may have moved, deleted or truncated it.
    fn check(&mut self) -> io::Result<()> {
        let Some(file) = &self.open else { return Ok(()) };
        let (own, found) = (file.metadata()?, fs::metadata(&self.path).ok());
        let id = |found: &fs::Metadata| (found.dev(), found.ino());
        if found.as_ref().map(id) != Some(id(&own)) {
            (self.open, self.size) = (None, 0);
            return Ok(());
        }
        let before = std::mem::replace(&mut self.size, own.len());
        if own.len() >= before || !own.is_file() {
            return Ok(());
        }
        // A reader that is beyond the end would miss what is appended to this file.
        if own.len() > 0 {
            return self.rotate();
        }
        (self.open, self.size) = (None, 0);
        fs::remove_file(&self.path)
    }

    fn write_here(&mut self, records: &[u8]) -> Result<(), WriteFailure> {
        let nothing = |error| WriteFailure { kept: 0, error };
        let mut file = match self.open.take() {
            Some(file) => file,
            None => {
                let open = OpenOptions::new().create(true).append(true).open(&self.path);
                let file = open.map_err(nothing)?;
                self.size = file.metadata().map_err(nothing)?.len();
                file
            }
        };
        let mut written = 0;
        while written < records.len() {
            match file.write(&records[written..]) {
                Ok(0) => {
                    return Err(self.cut(&file, records, written, io::ErrorKind::WriteZero.into()));
                }
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut(&file, records, written, error)),
            }
        }
        self.size += written as u64;
        self.open = Some(file);
        Ok(())
    }

    /// Removes half a record, which would corrupt the next one. The next write opens the file
    /// again, because this descriptor may be the cause.
    fn cut(
        &mut self,
        file: &File,
        records: &[u8],
        written: usize,
        error: io::Error,
    ) -> WriteFailure {
        let kept = memchr::memrchr(b'\n', &records[..written]).map_or(0, |at| at + 1);
        self.size += kept as u64;
        let _ = file.set_len(self.size);
        WriteFailure { kept, error }
    }

    /// Rotates the current file, and then deletes the oldest rotated files. Readers keep them open.
    fn rotate(&mut self) -> io::Result<()> {
        let keep = u64::from(self.limits.files);
        let numbers = rotated_numbers(&self.path).unwrap_or_default();
        let next = || numbers.last().map_or(1, |newest| newest + 1);
        let number = self.next_number.unwrap_or_else(next);
        match fs::rename(&self.path, rotated_path(&self.path, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for old in numbers.into_iter().chain([number]).filter(|old| old + keep <= number) {
            let _ = fs::remove_file(rotated_path(&self.path, old));
        }
        self.next_number = Some(number + 1);
        self.open = None;
        self.size = 0;
        Ok(())
    }
}

/// Whether the last byte of a file of this size ends a line. True if the file is empty or cannot be
/// read.
fn ends_a_line(file: &File, size: u64) -> bool {
    let mut last = *b"\n";
    let _ = size.checked_sub(1).map(|at| file.read_exact_at(&mut last, at));
    last == *b"\n"
}

fn count(records: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', records).count()
}

#[cfg(test)]
mod tests {
    use xtask_logs::{Merge, Reader, Start, Stream};

    use super::*;

    /// The log's records without their times.
    fn texts(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| line.split_once(' ').map_or("", |parts| parts.1).to_owned())
            .collect()
    }

    #[test]
    fn rotation_keeps_the_newest_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.limits.size_bytes = 10;
        for number in 0..9 {
            log.append(1, format!("line {number}\n").as_bytes());
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("a.log").as_deref(), Some("line 8\n"));
        assert_eq!(read("a.log.8").as_deref(), Some("line 7\n"));
        assert_eq!(rotated_numbers(&log.path).unwrap(), [4, 5, 6, 7, 8]);

        let mut next = LogFile::new(folder.path(), "a");
        next.limits.size_bytes = 10;
        next.append(1, b"line 9\n");
        assert_eq!(rotated_numbers(&log.path).unwrap(), [5, 6, 7, 8, 9]);

        next.limits.files = 2;
        next.append(1, b"line 10\n");
        assert_eq!(rotated_numbers(&log.path).unwrap(), [9, 10]);
    }

    #[test]
    fn failed_rotation_keeps_older_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.append(1, b"line 0\n");
        for (number, text) in [(1, "oldest"), (5, "older")] {
            fs::write(rotated_path(&log.path, number), text).unwrap();
        }
        (log.limits.size_bytes, log.next_number) = (10, Some(6));
        fs::create_dir(rotated_path(&log.path, 6)).unwrap();
        assert!(matches!(log.append(1, b"line 1\n"), WriteChange::Failed(_)));
        assert_eq!(rotated_numbers(&log.path).unwrap(), [1, 5, 6]);
        fs::remove_dir(rotated_path(&log.path, 6)).unwrap();
        assert_eq!(log.append(1, b"line 2\n"), WriteChange::Recovered);
        assert_eq!(fs::read_to_string(rotated_path(&log.path, 6)).unwrap(), "line 0\n");
        assert!(!rotated_path(&log.path, 1).exists());
    }

    #[test]
    fn unwritten_lines_are_counted_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("missing");
        let mut log = LogFile::new(&logs, "a");
        let writing = log.append(1, b"t 1 o one\nt 1 o two\n");
        assert!(matches!(writing, WriteChange::Failed(why) if why.contains("No such file")));
        assert_eq!(log.append(1, b"t 1 o three\n"), WriteChange::None);
        assert_eq!(log.append(1, b""), WriteChange::None);
        fs::create_dir(&logs).unwrap();
        assert_eq!(log.append(2, b"t 2 o four\n"), WriteChange::Recovered);
        assert_eq!(log.append(2, b"t 2 o five\n"), WriteChange::None);
        let texts = texts(&log.path);
        assert_eq!(
            texts[0],
            "2 x 3 lines are missing here: No such file or directory (os error 2)"
        );
        assert_eq!(texts[1..], ["2 o four", "2 o five"]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn full_disk_is_recorded_once_space_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = LogFile::new(folder.path(), "b");
        log.path = path.clone();
        assert!(matches!(log.append(1, b"t 1 o one\n"), WriteChange::Failed(_)));
        fs::remove_file(&path).unwrap();
        assert_eq!(log.append(1, b""), WriteChange::Recovered, "even without another line");
        assert_eq!(
            texts(&path),
            ["1 x 1 line is missing here: No space left on device (os error 28)"]
        );
    }

    #[test]
    fn deleted_or_truncated_log_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.append(1, b"t 1 o one\n");
        fs::remove_file(&log.path).unwrap();
        log.append(1, b"t 1 o two\n");
        assert_eq!(texts(&log.path), ["1 o two"]);
        fs::write(&log.path, "").unwrap();
        log.append(1, b"t 1 o three\n");
        assert_eq!(texts(&log.path), ["1 o three"]);
        assert_eq!(log.size, fs::metadata(&log.path).unwrap().len());
    }

    #[test]
    fn moved_log_starts_again_and_keeps_the_moved_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.append(1, b"t 1 o one\n");
        let moved = folder.path().join("elsewhere");
        fs::rename(&log.path, &moved).unwrap();
        log.append(1, b"t 1 o two\n");
        assert_eq!(
            (texts(&moved), texts(&log.path)),
            (vec!["1 o one".into()], vec!["1 o two".into()])
        );
    }

    #[test]
    fn reader_follows_truncated_and_moved_logs() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.append(1, b"t 1 o one that is long\nt 1 o two that is long\n");
        let mut logs = Merge::default();
        logs.add("a", Reader::new(&log.path, &Start::Beginning).unwrap());
        let mut read = |log: &mut LogFile, records: &[u8]| {
            log.append(1, records);
            let mut texts = Vec::new();
            logs.all_grown();
            logs.read(usize::MAX, &mut |_, line| {
                if line.stream == Stream::Out {
                    texts.push(line.text_lossy().into_owned());
                }
            })
            .unwrap();
            texts
        };
        assert_eq!(read(&mut log, b"t 1 o three\n").len(), 3);
        File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
        assert_eq!(read(&mut log, b"t 1 o four\nt 1 o five\n"), ["four", "five"]);
        // It grows beyond the reader's place before the reader looks.
        File::options().write(true).open(&log.path).unwrap().set_len(0).unwrap();
        log.append(1, b"t 1 o six, and longer than all before\n");
        assert_eq!(read(&mut log, b"t 1 o seven\n"), ["six, and longer than all before", "seven"]);
        File::options().write(true).open(&log.path).unwrap().set_len(4).unwrap();
        assert_eq!(read(&mut log, b"t 1 o eight\n"), ["eight"]);
        fs::rename(&log.path, folder.path().join("a.log.old")).unwrap();
        assert_eq!(read(&mut log, b"t 1 o nine\n"), ["nine"]);
        fs::rename(&log.path, folder.path().join("a.log.old")).unwrap();
        assert_eq!(read(&mut log, b"t 1 o ten\n"), ["ten"]);
        assert_eq!(read(&mut log, b"t 1 o eleven\n"), ["eleven"]);
    }

    #[test]
    fn log_of_earlier_supervisor_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        LogFile::new(folder.path(), "a").append(1, b"t 1 o old\n");
        LogFile::new(folder.path(), "a").append(1, b"t 1 o new\n");
        let own = std::process::id();
        let texts = texts(&folder.path().join("a.log"));
        assert_eq!(
            texts,
            ["1 o old".to_owned(), format!("0 x supervisor {own}"), "1 o new".to_owned()]
        );
    }

    #[test]
    fn half_record_does_not_corrupt_the_next() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.log"), "t 1 o old\nt 1 o ha").unwrap();
        LogFile::new(folder.path(), "a").append(1, b"t 1 o new\n");
        let own = std::process::id();
        let texts = texts(&folder.path().join("a.log"));
        assert_eq!(texts, ["1 o old", "1 o ha", &format!("0 x supervisor {own}"), "1 o new"]);
    }

    #[test]
    fn time_does_not_decrease_with_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        assert!(log.time() > "2026");
        "2999-01-01T00:00:00.000Z".clone_into(&mut log.time);
        assert_eq!(log.time(), "2999-01-01T00:00:00.000Z");
    }
}
