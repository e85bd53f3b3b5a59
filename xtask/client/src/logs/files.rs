//! The files of one log: `SERVICE.log`, which grows, and `SERVICE.log.N` put aside
//! before it. A higher number is newer, and a file keeps the number that it got.
//!
//! Files are known by device and inode, so that a name which was given away in the
//! meantime misleads nobody.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The path of the file of that number of a log.
#[must_use]
pub fn aside(log: &Path, number: u64) -> PathBuf {
    let mut path = log.as_os_str().to_owned();
    path.push(format!(".{number}"));
    path.into()
}

/// The numbers of a log's files that were put aside, oldest first.
///
/// # Errors
/// What the system says of the folder; that there is none is no error.
pub fn numbers_aside(log: &Path) -> io::Result<Vec<u64>> {
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

/// A file that is held open.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    id: (u64, u64),
}

impl Open {
    /// Opens a file; none if there is none.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let found = file.metadata()?;
        Ok(Some(Self { file, id: (found.dev(), found.ino()) }))
    }

    /// All files of a log that are there, oldest first.
    pub(super) fn all(log: &Path) -> io::Result<Vec<Self>> {
        // The newest first: should it be put aside meanwhile, it is found twice.
        let newest = Self::at(log)?;
        let mut files = Vec::new();
        for number in numbers_aside(log)? {
            files.extend(Self::at(&aside(log, number))?);
        }
        files.extend(newest.filter(|newest| !files.iter().any(|file| file.id == newest.id)));
        Ok(files)
    }

    /// The file that was written after this one; none if this one still is, or the next
    /// one is not there yet.
    pub(super) fn next(&self, log: &Path) -> io::Result<Option<Next>> {
        loop {
            let newest = Self::at(log)?;
            if newest.as_ref().is_some_and(|newest| newest.id == self.id) {
                return Ok(None);
            }
            let numbers = numbers_aside(log)?;
            let mut own = None;
            for number in &numbers {
                if id_of(&aside(log, *number))? == Some(self.id) {
                    own = Some(*number);
                }
            }
            let gap = own.is_none();
            let after = numbers.into_iter().find(|number| own.is_none_or(|own| *number > own));
            // Listed after the newest one was opened: were there one in between, it
            // would have been put aside and have a number by now.
            let file = match after {
                Some(number) => Self::at(&aside(log, number))?,
                None => newest,
            };
            match (file, after) {
                (Some(file), _) if file.id != self.id => return Ok(Some(Next { file, gap })),
                (None, None) => return Ok(None),
                // It was given another name, or was deleted, while we looked.
                (Some(_) | None, _) => {}
            }
        }
    }

    /// Whether both are the same file.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// Its length in bytes, now.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(super) fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }

    /// Reads on from where it is.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// The bytes from `begin` to `end`, or to the file's end if that comes first.
    pub(super) fn part(&mut self, begin: u64, end: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        (&mut self.file).take(end - begin).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// What comes after a file.
#[derive(Debug)]
pub(super) struct Next {
    /// The file.
    pub(super) file: Open,
    /// Whether files in between may have been deleted.
    pub(super) gap: bool,
}

fn id_of(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
