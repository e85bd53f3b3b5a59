//! Waiting for the end of a process that need not be a child.
//!
//! It sends nothing to the process and learns nothing but that it is gone.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

/// A process to wait for, held so that its number cannot mean another one.
pub(crate) struct Watched(Option<AsyncFd<OwnedFd>>);

impl Watched {
    /// The process of that number, as it is now. If there is none it counts as gone.
    pub(crate) fn new(pid: u32) -> Self {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK).ok());
        pidfd.map_or(Self(None), Self::of)
    }

    /// The process that a descriptor stands for.
    pub(crate) fn of(pidfd: OwnedFd) -> Self {
        // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
        Self(unsafe { AsyncFd::register(pidfd) }.ok())
    }

    /// Waits until the process is gone.
    pub(crate) async fn gone(&self) {
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
        let watched = Watched::new(child.id());
        drop(child.stdin.take());
        watched.gone().await;
        assert!(child.wait().unwrap().success());
        Watched::new(u32::MAX).gone().await;
    }
}
