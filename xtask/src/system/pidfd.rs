//! Waiting for the end of a process that need not be a child.
//!
//! It sends nothing to the process and learns nothing but that it is gone.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

/// A process to wait for, held so that its number cannot mean another one.
pub(crate) struct ExitWatch(Option<AsyncFd<OwnedFd>>);

impl ExitWatch {
    /// The process of that number, as it is now. If there is none it counts as gone.
    ///
    /// # Errors
    /// When the system cannot watch it, which says nothing of the process.
    pub(crate) fn new(pid: u32) -> io::Result<Self> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
            return Ok(Self(None));
        };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => Self::of(pidfd),
            Err(Errno::SRCH) => Ok(Self(None)),
            Err(error) => Err(error.into()),
        }
    }

    /// The process that a descriptor stands for.
    ///
    /// # Errors
    /// As for [`ExitWatch::new`].
    pub(crate) fn of(pidfd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
        Ok(Self(Some(unsafe { AsyncFd::register(pidfd) }?)))
    }

    /// Waits until the process is gone.
    pub(crate) async fn exited(&self) {
        if let Some(fd) = &self.0 {
            let _ = fd.readable().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_gone_when_it_ended_or_never_was() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let watched = ExitWatch::new(child.id()).unwrap();
        drop(child.stdin.take());
        watched.exited().await;
        assert!(child.wait().unwrap().success());
        ExitWatch::new(u32::MAX).unwrap().exited().await;
    }

    /// A thread is no process, which the system says with an error of its own.
    #[tokio::test]
    async fn what_cannot_be_watched_is_not_taken_for_gone() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (ours, theirs) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = theirs.recv();
        });
        let number = receiver.recv().unwrap().unsigned_abs();
        assert!(ExitWatch::new(number).is_err());
        assert!(!crate::system::sweep::has_died(number));
        drop(ours);
        thread.join().unwrap();
    }
}
