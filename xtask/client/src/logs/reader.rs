//! Reads one service's log record by record, across rotations.
//!
//! At the end of the log it can be called again later. It buffers one read of one file. If files
//! were deleted before it read them, it inserts a record that reports the gap.

use std::io::{self, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::backwards::{backwards, begins_before, position_of};
use super::files::LogFile;
use super::record::{End, Record, Stream, head};

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
    /// At the last `count` wanted records, and not before `since`.
    Last {
        /// The number of wanted records.
        count: usize,
        /// The earliest time.
        since: Option<&'a str>,
        /// Whether a record counts.
        wanted: &'a dyn Fn(&Record<'_>) -> bool,
    },
}

/// A position in a log: later lines are after it. It remains valid when the log is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The id of the file and the offset in it; `None` for the beginning of the log.
    position: Option<((u64, u64), u64)>,
}

impl Mark {
    pub(crate) fn end_of(log: &Path) -> io::Result<Self> {
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
}

impl Reader {
    /// A reader of this log, which may not exist yet.
    ///
    /// # Errors
    /// When an existing file cannot be read.
    pub fn new(log: &Path, start: &Start<'_>) -> io::Result<Self> {
        let file = match start {
            Start::Beginning => oldest(log)?,
            Start::Now => match LogFile::at(log)? {
                Some(mut file) => {
                    file.seek(SeekFrom::End(0))?;
                    Some(file)
                }
                None => None,
            },
            Start::Since(time) => since(log, time)?,
            Start::After(mark) => after(log, *mark)?,
            Start::Last { count, since, wanted } => last(log, *count, *since, wanted)?,
        };
        let log = log.to_owned();
        Ok(Self { log, file, buffer: Vec::new(), begin: 0, filled: 0, end: None, left: None })
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
            if self.read()? {
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
            if next.gap && self.read()? {
                self.insert_gap_record();
            }
        }
        Ok(true)
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
    fn insert_gap_record(&mut self) {
        let Some(record) = self.record().and_then(Record::parse) else { return };
        let mut note = head(record.time, record.run, Stream::Tool, End::Line).into_bytes();
        note.extend_from_slice(
            b"lines are missing here: they were deleted before they could be read\n",
        );
        let length = note.len();
        note.extend_from_slice(&self.buffer[self.begin..self.filled]);
        (self.begin, self.filled) = (0, note.len());
        self.buffer = note;
        self.end = Some(length - 1);
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
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

fn last(
    log: &Path,
    count: usize,
    since: Option<&str>,
    wanted: &dyn Fn(&Record<'_>) -> bool,
) -> io::Result<Option<LogFile>> {
    let mut found = 0;
    let mut start: Option<(LogFile, u64)> = None;
    for mut file in LogFile::all(log)?.into_iter().rev() {
        let end = file.length()?;
        let mut position = end;
        let flow = if found == count {
            ControlFlow::Break(())
        } else {
            backwards(&mut file, end, |at, _, line| {
                if since.is_some_and(|since| line.time < since) {
                    return ControlFlow::Break(());
                }
                position = at;
                found += usize::from(wanted(line));
                if found == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?
        };
        // With no record from this file, reading starts in the newer one.
        if position < end || start.is_none() {
            start = Some((file, position));
        }
        if flow.is_break() {
            break;
        }
    }
    let Some((mut file, position)) = start else { return Ok(None) };
    file.seek(SeekFrom::Start(position))?;
    Ok(Some(file))
}
