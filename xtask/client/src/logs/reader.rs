//! One service's log, read record by record from some place on, across rotations.
//!
//! At the present end it says so and can be asked again later. It holds one read of one
//! file. When files were deleted before it came to them, it says that in a record.

use std::io::{self, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::backwards::{backwards, begins_before, place_of};
use super::files::{Next, Open};
use super::record::{End, Line, Stream, head};

/// How much is read at once, in bytes; a record is shorter.
const READ_BYTES: usize = 256 * 1024;

/// Where reading begins.
pub enum Start<'a> {
    /// With the oldest record.
    Beginning,
    /// With what is written from now on.
    Now,
    /// Close before the first record of this time, which the caller leaves out.
    Since(&'a str),
    /// With the last so many records that are wanted, and none before that time.
    Last {
        /// How many.
        count: usize,
        /// Not before.
        since: Option<&'a str>,
        /// Which count.
        wanted: &'a dyn Fn(&Line<'_>) -> bool,
    },
}

/// A place in a log.
#[derive(Debug)]
pub struct Reader {
    log: PathBuf,
    file: Option<Open>,
    buffer: Vec<u8>,
    /// What is in the buffer and was not taken yet.
    begin: usize,
    filled: usize,
    /// Where the first record in the buffer ends, if it is there whole.
    end: Option<usize>,
    /// How many bytes are still read, where an end was fixed.
    left: Option<u64>,
}

impl Reader {
    /// A reader of this log, which need not be there yet.
    ///
    /// # Errors
    /// What the system says of files that are there.
    pub fn new(log: &Path, start: &Start<'_>) -> io::Result<Self> {
        let file = match start {
            Start::Beginning => oldest(log)?,
            Start::Now => match Open::at(log)? {
                Some(mut file) => {
                    file.seek(SeekFrom::End(0))?;
                    Some(file)
                }
                None => None,
            },
            Start::Since(time) => since(log, time)?,
            Start::Last { count, since, wanted } => last(log, *count, *since, wanted)?,
        };
        let log = log.to_owned();
        Ok(Self { log, file, buffer: Vec::new(), begin: 0, filled: 0, end: None, left: None })
    }

    /// The same reader, which ends where the log ends now: who does not follow must not run
    /// after a service that prints faster than its lines are shown.
    ///
    /// # Errors
    /// What the system says.
    pub fn until_now(mut self) -> io::Result<Self> {
        let mut left = 0;
        if let Some(file) = &mut self.file {
            left = file.length()?.saturating_sub(file.seek(SeekFrom::Current(0))?);
            let files = Open::all(&self.log)?;
            let own = files.iter().position(|other| other.is(file));
            // One that is not among them any more was older than all of them.
            for later in &files[own.map_or(0, |own| own + 1)..] {
                left += later.length()?;
            }
        }
        self.left = Some(left);
        Ok(self)
    }

    /// Reads until a whole record is there; false at the present end.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        while self.end.is_none() {
            if self.file.is_none() {
                self.file = oldest(&self.log)?;
            }
            if self.read()? {
                continue;
            }
            let Some(next) = self.next_file()? else {
                self.release();
                return Ok(false);
            };
            // What was written before the file was put aside may have come after the
            // last look at it.
            if self.read()? {
                continue;
            }
            self.file = Some(next.file);
            // Half a record: its writer was killed in the middle of it.
            (self.begin, self.filled) = (0, 0);
            if next.gap && self.read()? {
                self.tell_gap();
            }
        }
        Ok(true)
    }

    /// The record that [`Reader::fill`] found.
    pub(super) fn record(&self) -> Option<&[u8]> {
        self.end.map(|end| &self.buffer[self.begin..end])
    }

    /// Goes to the record behind it, if that is in memory.
    pub(super) fn advance(&mut self) {
        if let Some(end) = self.end.take() {
            self.begin = end + 1;
            self.find_end(self.begin);
        }
    }

    fn next_file(&self) -> io::Result<Option<Next>> {
        self.file.as_ref().map_or(Ok(None), |file| file.next(&self.log))
    }

    fn find_end(&mut self, from: usize) {
        let found = memchr::memchr(b'\n', &self.buffer[from..self.filled]);
        self.end = found.map(|at| from + at);
    }

    /// Reads once, from the present file; false at its end.
    fn read(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        self.buffer.copy_within(self.begin..self.filled, 0);
        self.filled -= self.begin;
        self.begin = 0;
        self.buffer.resize(READ_BYTES, 0);
        if self.filled == self.buffer.len() {
            // No record is as long: this is no log file, and is passed over.
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

    /// Puts a record before those that were just read.
    fn tell_gap(&mut self) {
        let Some(line) = self.record().and_then(Line::parse) else { return };
        let mut note = head(line.time, line.run, Stream::Tool, End::Line).into_bytes();
        note.extend_from_slice(b"lines are missing here: they were put away too fast to follow\n");
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

    /// Whoever waits holds no memory.
    fn release(&mut self) {
        self.buffer.copy_within(self.begin..self.filled, 0);
        self.filled -= self.begin;
        self.begin = 0;
        self.buffer.truncate(self.filled);
        self.buffer.shrink_to_fit();
    }
}

fn oldest(log: &Path) -> io::Result<Option<Open>> {
    Ok(Open::all(log)?.into_iter().next())
}

fn since(log: &Path, time: &str) -> io::Result<Option<Open>> {
    for mut file in Open::all(log)?.into_iter().rev() {
        if begins_before(&mut file, time)? {
            let place = place_of(&mut file, time)?;
            file.seek(SeekFrom::Start(place))?;
            return Ok(Some(file));
        }
    }
    oldest(log)
}

fn last(
    log: &Path,
    count: usize,
    since: Option<&str>,
    wanted: &dyn Fn(&Line<'_>) -> bool,
) -> io::Result<Option<Open>> {
    let mut found = 0;
    let mut begin: Option<(Open, u64)> = None;
    for mut file in Open::all(log)?.into_iter().rev() {
        let end = file.length()?;
        let mut place = end;
        let flow = if found == count {
            ControlFlow::Break(())
        } else {
            backwards(&mut file, end, |at, _, line| {
                if since.is_some_and(|since| line.time < since) {
                    return ControlFlow::Break(());
                }
                place = at;
                found += usize::from(wanted(line));
                if found == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?
        };
        // Nothing of this file, and something of a newer one: that one is the first.
        if place < end || begin.is_none() {
            begin = Some((file, place));
        }
        if flow.is_break() {
            break;
        }
    }
    let Some((mut file, place)) = begin else { return Ok(None) };
    file.seek(SeekFrom::Start(place))?;
    Ok(Some(file))
}
