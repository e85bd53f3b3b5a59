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

/// The id of a file, and an offset in it.
pub(crate) type FilePlace = ((u64, u64), u64);

/// An open file of a log.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    /// Device and inode.
    pub(crate) id: (u64, u64),
    /// The offset of the next read.
    offset: u64,
    /// The newest rotated file that is not newer than this one.
    rotated: u64,
}

impl LogFile {
    /// Opens a file; `None` if it does not exist.
    pub(crate) fn at(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let found = file.metadata()?;
        Ok(Some(Self { file, id: (found.dev(), found.ino()), offset: 0, rotated: 0 }))
    }

    /// Opens the newest file of a log.
    pub(crate) fn newest(log: &Path) -> io::Result<Option<Self>> {
        let Some(mut newest) = Self::at(log)? else { return Ok(None) };
        // Listed afterwards, so that a rotation in between is not missed.
        newest.rotated = rotated_numbers(log)?.last().copied().unwrap_or(0);
        Ok(Some(newest))
    }

    fn rotated_file(log: &Path, number: u64) -> io::Result<Option<Self>> {
        let file = Self::at(&rotated_path(log, number))?;
        Ok(file.map(|file| Self { rotated: number, ..file }))
    }

    /// Opens all existing files of a log, oldest first.
    pub(crate) fn all(log: &Path) -> io::Result<Vec<Self>> {
        // The newest file is opened first: a rotation after that makes it appear twice.
        let newest = Self::newest(log)?;
        let mut files = Vec::new();
        for number in rotated_numbers(log)? {
            files.extend(Self::rotated_file(log, number)?);
        }
        files.extend(newest.filter(|newest| !files.iter().any(|file| file.id == newest.id)));
        Ok(files)
    }

    /// The file after this one; `None` if this one is the newest, or the next one does not exist
    /// yet.
    pub(crate) fn next(&self, log: &Path) -> io::Result<Option<NextFile>> {
        loop {
            let newest = Self::at(log)?;
            if newest.as_ref().is_some_and(|newest| newest.id == self.id) {
                return Ok(None);
            }
            let numbers = rotated_numbers(log)?;
            let mut own = None;
            for number in &numbers {
                let file = Self::rotated_file(log, *number)?;
                if file.is_some_and(|file| file.id == self.id) {
                    own = Some(*number);
                }
            }
            // Another program may have moved or deleted this file. Files that were older stay so.
            let before = own.unwrap_or(0).max(self.rotated);
            let after = numbers.into_iter().find(|number| *number > before);
            // This file was rotated to the number after `before`, or was the newest until now.
            let skipped = own.is_none() && after.is_some_and(|after| after > before + 2);
            let gap = match own.is_none() && self.file.metadata()?.nlink() == 0 {
                true if after.is_none() => Some(Gap::Deleted),
                _ if skipped => Some(Gap::Rotated),
                _ => None,
            };
            // The list was read after the newest file was opened, so a file between the two would
            // be in the list.
            let file = match after {
                Some(number) => Self::rotated_file(log, number)?,
                None => newest.map(|file| Self { rotated: before, ..file }),
            };
            match (file, after) {
                (Some(file), _) if file.id != self.id => return Ok(Some(NextFile { file, gap })),
                (None, None) => return Ok(None),
                // It was renamed or deleted meanwhile.
                (Some(_) | None, _) => {}
            }
        }
    }

    /// The offset of the next read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether another program truncated the file, so that the next read is beyond its end.
    pub(crate) fn is_truncated(&self) -> io::Result<bool> {
        Ok(self.length()? < self.offset)
    }

    /// Its length in bytes, now.
    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(crate) fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.offset = self.file.seek(to)?;
        Ok(self.offset)
    }

    /// Reads from the current position.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    let read = read?;
                    self.offset += read as u64;
                    return Ok(read);
                }
            }
        }
    }

    /// The bytes from `begin` to `end`, or to the end of the file if that is less.
    pub(crate) fn part(&mut self, begin: u64, end: u64) -> io::Result<Vec<u8>> {
        self.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(end - begin).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

/// The file after another one.
#[derive(Debug)]
pub(crate) struct NextFile {
    pub(crate) file: LogFile,
    /// Why lines in between may be missing.
    pub(crate) gap: Option<Gap>,
}

/// Why lines between two files may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Files in between were rotated away before they were read.
    Rotated,
    /// The file was deleted or truncated, possibly before all of it was read.
    Deleted,
}

impl Gap {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Rotated => "lines are missing here: they were deleted before they could be read",
            Self::Deleted => "lines may be missing here: the log was deleted or truncated",
        }
    }
}
