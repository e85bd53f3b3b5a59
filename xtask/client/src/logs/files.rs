//! The files of one log: `SERVICE.log`, which grows, and the rotated files `SERVICE.log.N`. A
//! higher number is newer, and a file keeps its number.
//!
//! Files are identified by device and inode, because a rotation renames them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The path of the rotated file with this number.
pub fn rotated_path(log: &Path, number: u64) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(format!(".{number}"));
    path.into()
}

/// The numbers of the rotated files of a log, oldest first.
///
/// # Errors
/// When the folder exists but cannot be read.
pub fn rotated_numbers(log: &Path) -> io::Result<Vec<u64>> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else {
        return Ok(Vec::new());
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        let number: Option<u64> = (file.as_encoded_bytes().strip_prefix(name.as_encoded_bytes()))
            .and_then(|rest| std::str::from_utf8(rest.strip_prefix(b".")?).ok()?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// An open file of a log.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    /// Device and inode.
    pub(super) id: (u64, u64),
}

impl LogFile {
    /// Opens a file; `None` if it does not exist.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let found = file.metadata()?;
        Ok(Some(Self { file, id: (found.dev(), found.ino()) }))
    }

    /// Opens all existing files of a log, oldest first.
    pub(super) fn all(log: &Path) -> io::Result<Vec<Self>> {
        // The newest file is opened first: a rotation after that makes it appear twice.
        let newest = Self::at(log)?;
        let mut files = Vec::new();
        for number in rotated_numbers(log)? {
            files.extend(Self::at(&rotated_path(log, number))?);
        }
        files.extend(newest.filter(|newest| !files.iter().any(|file| file.id == newest.id)));
        Ok(files)
    }

    /// The file after this one; `None` if this one is the newest, or the next one does not exist
    /// yet.
    pub(super) fn next(&self, log: &Path) -> io::Result<Option<NextFile>> {
        loop {
            let newest = Self::at(log)?;
            if newest.as_ref().is_some_and(|newest| newest.id == self.id) {
                return Ok(None);
            }
            let numbers = rotated_numbers(log)?;
            let mut own = None;
            for number in &numbers {
                let file = Self::at(&rotated_path(log, *number))?;
                if file.is_some_and(|file| file.id == self.id) {
                    own = Some(*number);
                }
            }
            let gap = own.is_none();
            let after = numbers.into_iter().find(|number| own.is_none_or(|own| *number > own));
            // The list was read after the newest file was opened, so a file between the two would
            // be in the list.
            let file = match after {
                Some(number) => Self::at(&rotated_path(log, number))?,
                None => newest,
            };
            match (file, after) {
                (Some(file), _) if file.id != self.id => return Ok(Some(NextFile { file, gap })),
                (None, None) => return Ok(None),
                // It was renamed or deleted meanwhile.
                (Some(_) | None, _) => {}
            }
        }
    }

    /// Its length in bytes, now.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(super) fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }

    /// Reads from the current position.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// The bytes from `begin` to `end`, or to the end of the file if that is less.
    pub(super) fn part(&mut self, begin: u64, end: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(end - begin).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The file after another one.
#[derive(Debug)]
pub(super) struct NextFile {
    pub(super) file: LogFile,
    /// Whether files in between may have been deleted.
    pub(super) gap: bool,
}
