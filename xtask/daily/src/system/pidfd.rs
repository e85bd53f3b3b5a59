//! Process descriptors (pidfds): they name one process, even after its pid is reused.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use crate::system::async_fd::{async_fd, is_readable};

/// The descriptor of the process that has this pid now.
pub(crate) fn open(pid: i32) -> Option<OwnedFd> {
    try_open(pid).ok().flatten()
}

/// As [`open`], with the failures of the system apart from a missing process.
fn try_open(pid: i32) -> Result<Option<OwnedFd>, Errno> {
    // `Pid::from_raw` panics for a negative number.
    let Some(pid) = Pid::from_raw(pid.max(0)) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the process has ended, reaped or not.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    is_readable(pidfd).is_ok_and(|ended| ended)
}

/// Whether no process has this pid, or only a zombie. If the system cannot tell, this is false.
pub(crate) fn has_died(pid: u32) -> bool {
    try_open(pid.cast_signed()).is_ok_and(|pidfd| pidfd.as_ref().is_none_or(has_ended))
}

/// Waits for the exit of a process, which need not be a child.
pub(crate) struct ExitWatch(Option<AsyncFd<OwnedFd>>);

impl ExitWatch {
    /// Watches the process that has this pid now. A pid without a process counts as exited.
    /// After an error the process may be running.
    pub(crate) fn new(pid: u32) -> io::Result<Self> {
        Ok(Self(try_open(pid.cast_signed())?.map(async_fd).transpose()?))
    }

    /// Watches the process of a descriptor.
    pub(crate) fn of(pidfd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Some(async_fd(pidfd)?)))
    }

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
    async fn exit_watch_ends_with_the_process() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let watch = ExitWatch::new(child.id()).unwrap();
        drop(child.stdin.take());
        watch.exited().await;
        assert!(child.wait().unwrap().success());
        ExitWatch::new(u32::MAX).unwrap().exited().await;
    }

    /// The id of a thread is no pid, and the system reports that with a different error.
    #[tokio::test]
    async fn unwatchable_process_does_not_count_as_ended() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (ours, theirs) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            sender.send(own.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap();
            let _ = theirs.recv();
        });
        let thread_id: u32 = receiver.recv().unwrap();
        assert!(ExitWatch::new(thread_id).is_err());
        assert!(!has_died(thread_id));
        drop(ours);
        thread.join().unwrap();
    }
}
