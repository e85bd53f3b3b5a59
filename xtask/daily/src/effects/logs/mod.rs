//! Reads the output pipes of runs at once, so that no service waits for a reader.
//!
//! The output goes to [`Lines`] and from there to the log file of the service, which viewers read.

pub(crate) mod file;
pub(crate) mod lines;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::effects::logs::lines::Lines;
use crate::system::async_fd::async_fd;
use crate::system::wait_if_some;

/// The size of one read, and of the pipe of a run that fills its pipe, in bytes.
const READ: usize = 256 * 1024;

/// The default size of a pipe, in bytes.
const USUAL_PIPE: usize = 64 * 1024;

/// After this many reads the task yields to others.
const READS_A_TURN: usize = 4;

/// The most reads of one drain. A process that outlives its leader and prints without end must not
/// delay the report of the leader's exit.
pub(crate) const DRAIN_READS: usize = 64;

#[derive(Debug)]
pub(crate) struct Pipe {
    fd: AsyncFd<OwnedFd>,
    lines: Mutex<Lines>,
    enlarged: AtomicBool,
}

thread_local! {
    /// Input and records. All pipes share these buffers, because reading, splitting and writing
    /// happen in one step.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Pipe {
    pub(crate) fn new(fd: OwnedFd, lines: Lines) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let enlarged = AtomicBool::new(false);
        Ok(Self { fd: async_fd(fd)?, lines: Mutex::new(lines), enlarged })
    }

    /// Reads until every process has closed the writing end.
    pub(crate) async fn read_to_end(&self) {
        for turn in 1_usize.. {
            if turn.is_multiple_of(READS_A_TURN) {
                tokio::task::yield_now().await;
            }
            let Some(ready) = self.readable().await else { continue };
            let Ok(mut ready) = ready else { return };
            let read = ready.try_io(|fd| self.read(fd.get_ref().as_fd()));
            if let Ok(Ok(0) | Err(_)) = read {
                return self.flush();
            }
        }
    }

    /// Waits for output; none if an incomplete line was due, and is now written.
    async fn readable(&self) -> Option<io::Result<AsyncFdReadyGuard<'_, OwnedFd>>> {
        let due = self.lines.lock().unwrap_or_else(PoisonError::into_inner).due();
        let due = due.map(|due| tokio::time::sleep_until(due.into()));
        tokio::select! {
            ready = self.fd.readable() => Some(ready),
            () = wait_if_some(due) => {
                self.flush();
                None
            }
        }
    }

    /// Reads what is there now, incomplete lines included.
    pub(crate) fn drain(&self) {
        for _ in 0..DRAIN_READS {
            match self.read(self.fd.get_ref().as_fd()) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.flush();
    }

    fn flush(&self) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }

    /// Returns how many bytes it has read: 0 at the end.
    fn read(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        BUFFERS.with_borrow_mut(|(input, records)| {
            if input.is_empty() {
                // Zeroed pages of the system, which `resize` would write one byte at a time.
                *input = vec![0; READ];
            }
            let count = loop {
                match rustix::io::read(fd, &mut **input) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other?,
                }
            };
            if count == 0 {
                return Ok(0);
            }
            self.enlarge(fd, count);
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.take(&input[..count], records);
            // Records of empty lines are forty times as long as the input.
            records.shrink_to(2 * READ);
            Ok(count)
        })
    }

    /// Enlarges a pipe that is full. The system limits the total size of all pipes of a user.
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
