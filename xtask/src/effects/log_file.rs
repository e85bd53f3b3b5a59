//! The log file of one service: whole records appended, rotated by size.
//!
//! A full disk costs log lines, never a service: what cannot be written is counted,
//! and the file itself says so once writing works again. Reading logs is not done
//! here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file is put aside when it would grow beyond this many bytes.
const ROTATE_AT: u64 = 16 * 1024 * 1024;

/// How many files that were put aside are kept.
const KEEP: u32 = 3;

/// `SERVICE.log`, with `SERVICE.log.1` and older beside it.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    open: Option<File>,
    size: u64,
    rotate_at: u64,
    lost: u64,
}

impl LogFile {
    /// The log of `service` in the folder `logs`; opened at the first record.
    pub(crate) fn new(logs: &Path, service: &str) -> Self {
        let path = logs.join(format!("{service}.log"));
        Self { path, open: None, size: 0, rotate_at: ROTATE_AT, lost: 0 }
    }

    /// Appends `records`, which are `count` whole lines. `prefix` is what a record of
    /// this moment begins with, should the log have something to say itself.
    pub(crate) fn append(&mut self, records: &[u8], count: u64, prefix: &str) {
        if records.is_empty() {
            return;
        }
        let lost = self.lost;
        let written = if lost == 0 {
            self.write(records)
        } else {
            let mut notice =
                format!("{prefix}[xtask: {lost} lines could not be written here]\n").into_bytes();
            notice.extend_from_slice(records);
            self.write(&notice)
        };
        match written {
            Ok(()) => self.lost = 0,
            Err(_) => self.lost = lost.saturating_add(count),
        }
    }

    fn write(&mut self, records: &[u8]) -> io::Result<()> {
        let length = records.len() as u64;
        if self.size > 0 && self.size.saturating_add(length) > self.rotate_at {
            self.rotate();
        }
        let mut file = match self.open.take() {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
                self.size = file.metadata()?.len();
                file
            }
        };
        let result = file.write_all(records);
        if result.is_ok() {
            self.size += length;
            self.open = Some(file);
        } else {
            // Half a record would spoil the one after it. The file is opened anew then,
            // as it may be this one that is broken.
            let _ = file.set_len(self.size);
        }
        result
    }

    /// Puts the present file aside. Whoever reads it keeps it open and sees its end.
    fn rotate(&mut self) {
        let aside = |number: u32| {
            let mut path = self.path.clone().into_os_string();
            path.push(format!(".{number}"));
            PathBuf::from(path)
        };
        for number in (1..KEEP).rev() {
            let _ = fs::rename(aside(number), aside(number + 1));
        }
        let _ = fs::rename(&self.path, aside(1));
        self.open = None;
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_is_put_aside_and_only_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.rotate_at = 10;
        for number in 0..6 {
            log.append(format!("line {number}\n").as_bytes(), 1, "");
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        assert_eq!(read("a.log").as_deref(), Some("line 5\n"));
        assert_eq!(read("a.log.1").as_deref(), Some("line 4\n"));
        assert_eq!(read("a.log.3").as_deref(), Some("line 2\n"));
        assert_eq!(read("a.log.4"), None);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_named_later() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("missing");
        let mut log = LogFile::new(&logs, "a");
        log.append(b"one\ntwo\n", 2, "T ");
        log.append(b"three\n", 1, "T ");
        fs::create_dir(&logs).unwrap();
        log.append(b"four\n", 1, "T ");
        log.append(b"five\n", 1, "T ");
        assert_eq!(
            fs::read_to_string(logs.join("a.log")).unwrap(),
            "T [xtask: 3 lines could not be written here]\nfour\nfive\n"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_costs_lines_and_is_named_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = LogFile::new(folder.path(), "a");
        log.append(b"one\n", 1, "T ");
        fs::remove_file(&path).unwrap();
        log.append(b"two\n", 1, "T ");
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "T [xtask: 1 lines could not be written here]\ntwo\n"
        );
    }

    #[test]
    fn a_log_of_an_earlier_supervisor_is_continued() {
        let folder = tempfile::tempdir().unwrap();
        LogFile::new(folder.path(), "a").append(b"old\n", 1, "");
        LogFile::new(folder.path(), "a").append(b"new\n", 1, "");
        assert_eq!(fs::read_to_string(folder.path().join("a.log")).unwrap(), "old\nnew\n");
    }
}
