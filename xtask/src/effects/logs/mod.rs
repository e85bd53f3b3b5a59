//! The pipes that runs print into: read as soon as there is something, whoever looks
//! at it or does not, so that no service waits for a reader.
//!
//! What is read goes to [`Lines`] and from there to the service's file. Nothing is
//! shown to anybody here: viewers read the file.

pub(crate) mod file;
pub(crate) mod lines;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::io::unix::AsyncFd;

use crate::effects::logs::lines::Lines;
use crate::system::async_fd::async_fd;

/// How much is read at once; also the size of the pipe of whoever prints that much.
const READ: usize = 256 * 1024;

/// The size that a pipe has unless somebody changes it, in bytes.
const USUAL_PIPE: usize = 64 * 1024;

/// After so many reads everybody else has a turn.
const READS_A_TURN: usize = 4;

/// How many reads in a row a drain makes at most, so that an endless printer that
/// its leader left behind cannot hold up the news of the leader's end.
pub(crate) const DRAIN_READS: usize = 64;

/// One pipe of a run.
#[derive(Debug)]
pub(crate) struct Pipe {
    fd: AsyncFd<OwnedFd>,
    lines: Mutex<Lines>,
    enlarged: AtomicBool,
}

/// What came out of one attempt to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Some,
    End,
}

thread_local! {
    /// One buffer for all pipes: reading, cutting and writing happen in one go, and a
    /// hundred quiet services need not keep a hundred buffers.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Pipe {
    /// The reading end `fd` of a stream whose lines these are.
    ///
    /// # Errors
    /// When the runtime cannot watch the descriptor.
    pub(crate) fn new(fd: OwnedFd, lines: Lines) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let enlarged = AtomicBool::new(false);
        Ok(Self { fd: async_fd(fd)?, lines: Mutex::new(lines), enlarged })
    }

    /// Reads until the last holder of the writing end is gone.
    pub(crate) async fn read_to_end(&self) {
        for turn in 1_usize.. {
            if turn.is_multiple_of(READS_A_TURN) {
                tokio::task::yield_now().await;
            }
            let Ok(mut ready) = self.fd.readable().await else { return };
            match ready.try_io(|fd| self.read(fd.get_ref().as_fd())) {
                Ok(Ok(Read::Some)) | Err(_) => {}
                Ok(Ok(Read::End) | Err(_)) => return self.flush(),
            }
        }
    }

    /// Reads what is there now, half lines included. For the moment when the leader
    /// has ended: its last words come before the news of its end.
    pub(crate) fn drain(&self) {
        for _ in 0..DRAIN_READS {
            match self.read(self.fd.get_ref().as_fd()) {
                Ok(Read::Some) => {}
                Ok(Read::End) | Err(_) => break,
            }
        }
        self.flush();
    }

    fn flush(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    fn read(&self, fd: BorrowedFd<'_>) -> io::Result<Read> {
        BUFFERS.with_borrow_mut(|(input, records)| {
            input.resize(READ, 0);
            let count = loop {
                match rustix::io::read(fd, &mut **input) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other?,
                }
            };
            if count == 0 {
                return Ok(Read::End);
            }
            self.enlarge(fd, count);
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.take(&input[..count], records);
            // Empty lines become forty times as long; once is no reason to keep that.
            records.shrink_to(2 * READ);
            Ok(Read::Some)
        })
    }

    /// A stream that fills its pipe gets a bigger one; all others do without, as the
    /// system limits what a user may have in sum.
    fn enlarge(&self, fd: BorrowedFd<'_>, count: usize) {
        if count < USUAL_PIPE || self.enlarged.swap(true, Ordering::Relaxed) {
            return;
        }
        #[cfg(target_os = "linux")]
        let _ = rustix::pipe::fcntl_setpipe_size(fd, READ);
        #[cfg(not(target_os = "linux"))]
        let _ = fd;
    }
}
