//! Reads one service's log record by record, across rotations.
//!
//! At the end of the log it can be called again later. It buffers one read of one file. If files
//! were deleted before it read them, it inserts a record that reports the gap.

use std::io::{self, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::backwards::{Lines, begins_before, position_of};
use super::files::{FilePlace, Gap, LogFile};
use super::record::{Record, tool_head};

/// The size of the buffer, in bytes; a record is shorter.
const READ_BYTES: usize = 256 * 1024;

/// Where reading starts.
pub enum Start<'a> {
    /// At the oldest record.
    Beginning,
    /// At the current end.
    Now,
    /// Close before the first record of this time; the caller skips the records before it.
    Since(&'a str),
    /// After a mark, or at the oldest record if the marked file is gone.
    After(Mark),
    /// At the last `count` wanted lines, and not before `since`.
    Last {
        /// The number of wanted lines.
        count: usize,
        /// The earliest time.
        since: Option<&'a str>,
        /// Whether a line counts.
        wanted: &'a dyn Fn(&Record<'_>) -> bool,
    },
}

/// A position in a log: later lines are after it. It remains valid when the log is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The id of the file and the offset in it; `None` for the beginning of the log.
    position: Option<FilePlace>,
}

impl Mark {
    /// The current end of a log; of a missing one its beginning.
    ///
    /// # Errors
    /// When an existing file cannot be read.
    pub fn end_of(log: &Path) -> io::Result<Self> {
        let newest = LogFile::at(log)?;
        let position = newest.map(|file| Ok::<_, io::Error>((file.id, file.length()?)));
        Ok(Self { position: position.transpose()? })
    }
}

/// A reading position in a log.
#[derive(Debug)]
pub struct Reader {
    log: PathBuf,
    file: Option<LogFile>,
    buffer: Vec<u8>,
    /// The unread part of the buffer is `begin..filled`.
    begin: usize,
    filled: usize,
    /// The end of the first record in the buffer, if it is complete.
    end: Option<usize>,
    /// The number of bytes until a fixed end.
    left: Option<u64>,
    /// Lines whose last record is before this place are not wanted.
    skip: Option<FilePlace>,
    /// Why lines before the next record may be missing.
    gap: Option<Gap>,
}

impl Reader {
    /// A reader of this log, which may not exist yet.
    ///
    /// # Errors
    /// When an existing file cannot be read.
    pub fn new(log: &Path, start: &Start<'_>) -> io::Result<Self> {
        let mut skip = None;
        let file = match start {
            Start::Beginning => oldest(log)?,
            Start::Now => match LogFile::newest(log)? {
                Some(mut file) => {
                    file.seek(SeekFrom::End(0))?;
                    Some(file)
                }
                None => None,
            },
            Start::Since(time) => since(log, time)?,
            Start::After(mark) => after(log, *mark)?,
            Start::Last { count, since, wanted } => {
                let (file, before) = last(log, *count, *since, wanted)?;
                skip = before;
                file
            }
        };
        Ok(Self {
            log: log.to_owned(),
            file,
            buffer: Vec::new(),
            begin: 0,
            filled: 0,
            end: None,
            left: None,
            skip,
            gap: None,
        })
    }

    /// Fixes the end of reading at the current end of the log. Otherwise a service that prints
    /// faster than its lines are shown would keep the reader busy forever.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn until_now(mut self) -> io::Result<Self> {
        let mut left = 0;
        if let Some(file) = &mut self.file {
            left = file.length()?.saturating_sub(file.seek(SeekFrom::Current(0))?);
            let files = LogFile::all(&self.log)?;
            let own = files.iter().position(|other| other.id == file.id);
            // A file that was deleted was older than all others.
            for later in &files[own.map_or(0, |own| own + 1)..] {
                left += later.length()?;
            }
        }
        self.left = Some(left);
        Ok(self)
    }

    /// Reads until the buffer has a complete record; false at the current end.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        while self.end.is_none() {
            if self.file.is_none() {
                self.file = oldest(&self.log)?;
            }
            if self.read()? || self.read_again()? {
                continue;
            }
            let next = self.file.as_ref().map_or(Ok(None), |file| file.next(&self.log))?;
            let Some(next) = next else {
                self.release();
                return Ok(false);
            };
            // The file may have grown between the last read and its rotation.
            if self.read()? {
                continue;
            }
            self.file = Some(next.file);
            // Drops half a record, whose writer was killed.
            (self.begin, self.filled) = (0, 0);
            self.gap = self.gap.or(next.gap);
        }
        if let Some(gap) = self.gap.take() {
            self.insert_gap_record(gap);
        }
        Ok(true)
    }

    /// Whether the record is before the lines that are wanted.
    pub(crate) fn skips(&mut self) -> bool {
        let (Some((id, offset)), Some(file)) = (self.skip, &self.file) else { return false };
        let place = file.offset() - (self.filled - self.begin) as u64;
        if file.id == id && place >= offset {
            self.skip = None;
        }
        self.skip.is_some()
    }

    /// Starts again at the begin of a file that another program truncated.
    fn read_again(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        if self.left.is_some() || !file.is_truncated()? {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(0))?;
        (self.begin, self.filled) = (0, 0);
        self.gap = Some(Gap::Deleted);
        self.read()
    }

    /// The record that [`Reader::fill`] found.
    pub(crate) fn record(&self) -> Option<&[u8]> {
        self.end.map(|end| &self.buffer[self.begin..end])
    }

    /// Continues with the next record, if it is in the buffer.
    pub(crate) fn advance(&mut self) {
        if let Some(end) = self.end.take() {
            self.begin = end + 1;
            self.find_end(self.begin);
        }
    }

    fn find_end(&mut self, from: usize) {
        let found = memchr::memchr(b'\n', &self.buffer[from..self.filled]);
        self.end = found.map(|at| from + at);
    }

    /// Reads once from the current file; false at its end.
    fn read(&mut self) -> io::Result<bool> {
        self.compact();
        let Some(file) = &mut self.file else { return Ok(false) };
        self.buffer.resize(READ_BYTES, 0);
        if self.filled == self.buffer.len() {
            // No record is that long: this is not a log file, and its content is skipped.
            self.filled = 0;
        }
        let before = self.filled;
        let room = self.buffer.len() - before;
        let wanted =
            self.left.map_or(room, |left| usize::try_from(left).map_or(room, |l| l.min(room)));
        let read = file.read(&mut self.buffer[before..before + wanted])?;
        self.left = self.left.map(|left| left - read as u64);
        self.filled += read;
        self.find_end(before);
        Ok(self.filled > before)
    }

    /// Inserts a record about missing lines before those in the buffer.
    fn insert_gap_record(&mut self, gap: Gap) {
        let Some(record) = self.record().and_then(Record::parse) else { return };
        let mut note = tool_head(record.time, record.run).into_bytes();
        note.extend_from_slice(gap.text().as_bytes());
        self.end = Some(note.len());
        note.push(b'\n');
        note.extend_from_slice(&self.buffer[self.begin..self.filled]);
        (self.begin, self.filled) = (0, note.len());
        self.buffer = note;
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Moves the unread part to the begin of the buffer.
    fn compact(&mut self) {
        self.buffer.copy_within(self.begin..self.filled, 0);
        self.filled -= self.begin;
        self.begin = 0;
    }

    /// Frees the buffer, because a reader at the end may wait for long.
    fn release(&mut self) {
        self.compact();
        self.buffer.truncate(self.filled);
        self.buffer.shrink_to_fit();
    }
}

fn oldest(log: &Path) -> io::Result<Option<LogFile>> {
    Ok(LogFile::all(log)?.into_iter().next())
}

fn since(log: &Path, time: &str) -> io::Result<Option<LogFile>> {
    for mut file in LogFile::all(log)?.into_iter().rev() {
        if begins_before(&mut file, time)? {
            let position = position_of(&mut file, time)?;
            file.seek(SeekFrom::Start(position))?;
            return Ok(Some(file));
        }
    }
    oldest(log)
}

fn after(log: &Path, mark: Mark) -> io::Result<Option<LogFile>> {
    let Some((id, offset)) = mark.position else { return oldest(log) };
    for mut file in LogFile::all(log)? {
        // A new file may reuse the inode of a deleted one, but is then shorter than the mark.
        if file.id == id && offset <= file.length()? {
            file.seek(SeekFrom::Start(offset))?;
            return Ok(Some(file));
        }
    }
    oldest(log)
}

/// The file with the first of the last wanted lines, at its place, and the place before which
/// lines that end are not wanted.
fn last(
    log: &Path,
    count: usize,
    since: Option<&str>,
    wanted: &dyn Fn(&Record<'_>) -> bool,
) -> io::Result<(Option<LogFile>, Option<FilePlace>)> {
    let mut lines = Lines::of(log)?;
    let (mut found, mut begin, mut end) = (0, None, None);
    if count > 0 {
        lines.each(
            &|record| since.is_some_and(|since| record.time < since),
            &mut |line, first, last| {
                if wanted(line) {
                    found += 1;
                    begin = Some(begin.map_or(first, |begin| first.min(begin)));
                    end = Some(last);
                }
                if found == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )?;
    }
    if found < count {
        // All of them are wanted.
        (begin, end) = (lines.earliest(), None);
    }
    lines.at(begin, end)
}
