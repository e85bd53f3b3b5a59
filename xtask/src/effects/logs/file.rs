//! The log file of one service: whole records appended, put aside by size.
//!
//! A full disk costs log lines, never a service: what cannot be written is counted,
//! and the file itself says so once writing works again. Reading logs is not done
//! here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use xtask_client::logs::{End, Stream, aside, head, numbers_aside};
use xtask_core::plan::LogLimits;
use xtask_core::stack::Run;

/// `SERVICE.log`, with `SERVICE.log.N` beside it.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    open: Option<File>,
    size: u64,
    /// When a file is put aside, and how many of those stay.
    pub(crate) limits: LogLimits,
    /// The number of the next file that is put aside, once known.
    next_number: Option<u64>,
    /// The time of the newest record.
    time: String,
    missing: Missing,
}

/// What could not be written since the last time that something could.
#[derive(Debug, Default)]
struct Missing {
    records: usize,
    error: String,
}

/// How writing went, if that is news.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WriteChange {
    /// As the last time.
    AsBefore,
    /// Records are dropped from now on, for this reason.
    Fails(String),
    /// Records are written again.
    Again,
}

/// A write that was not done whole.
struct Failed {
    /// How many bytes of whole records are in the file.
    kept: usize,
    error: io::Error,
}

impl LogFile {
    /// The log of `service` in the folder `logs`. One of an earlier supervisor is
    /// continued, and says where: runs are counted anew.
    pub(crate) fn new(logs: &Path, service: &str) -> Self {
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
            // A supervisor that was killed may have left half a record.
            let half = if ends_a_line(&file, log.size) { "" } else { "\n" };
            log.open = Some(file);
            let head = head(log.time(), 0, Stream::Tool, End::Line);
            let takeover = format!("{half}{head}supervisor {}\n", std::process::id());
            let _ = log.write(takeover.as_bytes());
        }
        log
    }

    /// The time of a record that is made now. It never goes back, so that a log is in
    /// the order of time also when somebody sets the clock.
    pub(crate) fn time(&mut self) -> &str {
        let now = format!("{:.3}", jiff::Timestamp::now());
        if now > self.time {
            self.time = now;
        }
        &self.time
    }

    /// Appends records, which are whole lines. `run` is whose they are, should the log
    /// have something to say itself.
    pub(crate) fn append(&mut self, run: Run, records: &[u8]) -> WriteChange {
        let failing = self.missing.records > 0;
        if failing {
            let notice = self.notice(run);
            if self.write(notice.as_bytes()).is_err() {
                self.missing.records += count(records);
                return WriteChange::AsBefore;
            }
            self.missing = Missing::default();
        }
        match self.write(records) {
            Ok(()) if failing => WriteChange::Again,
            Ok(()) => WriteChange::AsBefore,
            Err(failed) => {
                let error = failed.error.to_string();
                self.missing = Missing { records: count(&records[failed.kept..]), error };
                if failing {
                    WriteChange::AsBefore
                } else {
                    WriteChange::Fails(self.missing.error.clone())
                }
            }
        }
    }

    fn notice(&mut self, run: Run) -> String {
        let head = head(self.time(), run, Stream::Tool, End::Line);
        let Missing { records, error } = &self.missing;
        let lines = if *records == 1 { "line is" } else { "lines are" };
        format!("{head}{records} {lines} missing here: {error}\n")
    }

    fn write(&mut self, records: &[u8]) -> Result<(), Failed> {
        if records.is_empty() {
            return Ok(());
        }
        self.look();
        if self.size > 0 && self.size.saturating_add(records.len() as u64) > self.limits.size_bytes
        {
            self.rotate().map_err(|error| Failed { kept: 0, error })?;
        }
        let failed = match self.write_here(records) {
            // A limit of size for files, less than ours.
            Err(failed) if failed.error.kind() == io::ErrorKind::FileTooLarge && self.size > 0 => {
                failed
            }
            written => return written,
        };
        self.rotate().map_err(|error| Failed { kept: failed.kept, error })?;
        self.write_here(&records[failed.kept..])
            .map_err(|again| Failed { kept: failed.kept + again.kept, ..again })
    }

    /// Looks at the present file: somebody may have deleted it or cut it off.
    fn look(&mut self) {
        let Some(file) = &self.open else { return };
        match file.metadata() {
            Ok(found) if found.nlink() > 0 => self.size = found.len(),
            Ok(_) | Err(_) => (self.open, self.size) = (None, 0),
        }
    }

    /// Writes into the present file.
    fn write_here(&mut self, records: &[u8]) -> Result<(), Failed> {
        let nothing = |error| Failed { kept: 0, error };
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

    /// Takes half a record back, which would spoil the one after it. The file is opened
    /// anew then, as it may be this one that is broken.
    fn cut(&mut self, file: &File, records: &[u8], written: usize, error: io::Error) -> Failed {
        let kept = memchr::memrchr(b'\n', &records[..written]).map_or(0, |at| at + 1);
        self.size += kept as u64;
        let _ = file.set_len(self.size);
        Failed { kept, error }
    }

    /// Puts the present file aside, and deletes the oldest ones. Whoever reads them keeps
    /// them open. Nothing is deleted before there is something in its place.
    fn rotate(&mut self) -> io::Result<()> {
        let keep = u64::from(self.limits.files);
        let numbers = numbers_aside(&self.path).unwrap_or_default();
        let next = || numbers.last().map_or(1, |newest| newest + 1);
        let number = self.next_number.unwrap_or_else(next);
        match fs::rename(&self.path, aside(&self.path, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for old in numbers.into_iter().chain([number]).filter(|old| old + keep <= number) {
            let _ = fs::remove_file(aside(&self.path, old));
        }
        self.next_number = Some(number + 1);
        self.open = None;
        self.size = 0;
        Ok(())
    }
}

/// Whether the last byte of a file of that size ends a line; so it does where there is none,
/// or it cannot be read.
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
    use super::*;

    /// The log's records without their times.
    fn texts(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| line.split_once(' ').map_or("", |parts| parts.1).to_owned())
            .collect()
    }

    #[test]
    fn a_log_that_grows_is_put_aside_and_only_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.limits.size_bytes = 10;
        for number in 0..9 {
            log.append(1, format!("line {number}\n").as_bytes());
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("a.log").as_deref(), Some("line 8\n"));
        assert_eq!(read("a.log.8").as_deref(), Some("line 7\n"));
        assert_eq!(numbers_aside(&log.path).unwrap(), [4, 5, 6, 7, 8]);

        let mut next = LogFile::new(folder.path(), "a");
        next.limits.size_bytes = 10;
        next.append(1, b"line 9\n");
        assert_eq!(numbers_aside(&log.path).unwrap(), [5, 6, 7, 8, 9]);

        next.limits.files = 2;
        next.append(1, b"line 10\n");
        assert_eq!(numbers_aside(&log.path).unwrap(), [9, 10]);
    }

    #[test]
    fn a_log_that_cannot_be_put_aside_costs_lines_and_no_older_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.append(1, b"line 0\n");
        for (number, text) in [(1, "oldest"), (5, "older")] {
            fs::write(aside(&log.path, number), text).unwrap();
        }
        (log.limits.size_bytes, log.next_number) = (10, Some(6));
        fs::create_dir(aside(&log.path, 6)).unwrap();
        assert!(matches!(log.append(1, b"line 1\n"), WriteChange::Fails(_)));
        assert_eq!(numbers_aside(&log.path).unwrap(), [1, 5, 6]);
        fs::remove_dir(aside(&log.path, 6)).unwrap();
        assert_eq!(log.append(1, b"line 2\n"), WriteChange::Again);
        assert_eq!(fs::read_to_string(aside(&log.path, 6)).unwrap(), "line 0\n");
        assert!(!aside(&log.path, 1).exists());
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_named_later() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("missing");
        let mut log = LogFile::new(&logs, "a");
        let writing = log.append(1, b"t 1 o one\nt 1 o two\n");
        assert!(matches!(writing, WriteChange::Fails(why) if why.contains("No such file")));
        assert_eq!(log.append(1, b"t 1 o three\n"), WriteChange::AsBefore);
        assert_eq!(log.append(1, b""), WriteChange::AsBefore);
        fs::create_dir(&logs).unwrap();
        assert_eq!(log.append(2, b"t 2 o four\n"), WriteChange::Again);
        assert_eq!(log.append(2, b"t 2 o five\n"), WriteChange::AsBefore);
        let texts = texts(&log.path);
        assert_eq!(
            texts[0],
            "2 x 3 lines are missing here: No such file or directory (os error 2)"
        );
        assert_eq!(texts[1..], ["2 o four", "2 o five"]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_costs_lines_and_is_named_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = LogFile::new(folder.path(), "b");
        log.path = path.clone();
        assert!(matches!(log.append(1, b"t 1 o one\n"), WriteChange::Fails(_)));
        fs::remove_file(&path).unwrap();
        assert_eq!(log.append(1, b""), WriteChange::Again, "also when nothing more is printed");
        assert_eq!(
            texts(&path),
            ["1 x 1 line is missing here: No space left on device (os error 28)"]
        );
    }

    #[test]
    fn a_log_that_was_deleted_or_cut_off_is_begun_anew() {
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
    fn a_log_of_an_earlier_supervisor_is_continued_behind_a_mark() {
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
    fn half_a_record_of_an_earlier_supervisor_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.log"), "t 1 o old\nt 1 o ha").unwrap();
        LogFile::new(folder.path(), "a").append(1, b"t 1 o new\n");
        let own = std::process::id();
        let texts = texts(&folder.path().join("a.log"));
        assert_eq!(texts, ["1 o old", "1 o ha", &format!("0 x supervisor {own}"), "1 o new"]);
    }

    #[test]
    fn a_clock_that_is_set_back_changes_no_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        assert!(log.time() > "2026");
        "2999-01-01T00:00:00.000Z".clone_into(&mut log.time);
        assert_eq!(log.time(), "2999-01-01T00:00:00.000Z");
    }
}
