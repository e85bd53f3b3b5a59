//! What becomes of a child after the fork: did it become its program, and when did it end.
//!
//! Nothing is reaped here but what is killed with its task: until then the number of a child
//! cannot be reused under a signal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use xtask_core::stack::Exit;

use crate::effects::spawn::SpawnFailure;
use crate::system::async_fd::async_fd;
use crate::system::group::Leader;

/// How often a leader is looked at where the system cannot tell of its end.
const LOOK: Duration = Duration::from_millis(20);

/// A child that does not outlive the task that waits for it.
#[derive(Debug)]
pub(crate) struct KillOnDrop(pub(crate) Arc<Leader>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.signal(Signal::KILL);
        if matches!(self.0.exit(), Ok(None)) && tokio::runtime::Handle::try_current().is_ok() {
            let leader = Arc::clone(&self.0);
            tokio::spawn(async move {
                wait_for_exit(&leader).await;
                leader.reap();
            });
        } else {
            self.0.reap();
        }
    }
}

/// Waits until the child became its program (none), or says what kept it from that.
///
/// # Errors
/// When the pipe cannot be watched.
pub(crate) async fn exec_failure(pipe: OwnedFd) -> io::Result<Option<SpawnFailure>> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let pipe = async_fd(pipe)?;
    loop {
        let mut ready = pipe.readable().await?;
        let mut report = [0; 8];
        let read = |fd: &AsyncFd<OwnedFd>| Ok(rustix::io::read(fd.get_ref().as_fd(), &mut report)?);
        match ready.try_io(read) {
            Ok(Ok(length)) => return Ok(SpawnFailure::from_bytes(&report[..length])),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
}

/// Waits until the leader ended; it stays a zombie.
pub(crate) async fn wait_for_exit(leader: &Leader) -> Exit {
    wait_readable(leader).await;
    loop {
        match leader.exit() {
            Ok(Some(exit)) => return exit,
            // Somebody else reaped it: how it ended is lost.
            Err(_) => return Exit::Unknown,
            Ok(None) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Waits on the process's own descriptor, where the system has one.
async fn wait_readable(leader: &Leader) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{PidfdFlags, pidfd_open};
        let Ok(pidfd) = pidfd_open(leader.pid(), PidfdFlags::empty()) else { return };
        let Ok(pidfd) = async_fd(pidfd) else { return };
        let _ = pidfd.readable().await;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = leader;
}
