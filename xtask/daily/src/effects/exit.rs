//! Waits for a spawned child: until it has executed its program, and until it has exited.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use xtask_core::stack::Exit;

use crate::effects::spawn::{SpawnFailure, SpawnStep};
use crate::system::async_fd::async_fd;
use crate::system::group::Leader;
use crate::system::pidfd::ExitWatch;

/// How often to poll for an exit where the system has no pidfds.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Kills and reaps a child when the task that waits for it is dropped.
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

/// Waits until a child has executed its program, or reaps it. `report` is the pipe of
/// [`crate::effects::spawn::Spawned`].
pub(crate) async fn wait_for_exec(leader: &Leader, report: OwnedFd) -> Result<(), SpawnFailure> {
    let failure = match read_report(report).await {
        Ok(None) => return Ok(()),
        Ok(Some(failure)) => failure,
        Err(error) => {
            leader.signal(Signal::KILL);
            SpawnFailure { step: SpawnStep::ReadReport, error }
        }
    };
    leader.reap();
    Err(failure)
}

async fn read_report(pipe: OwnedFd) -> io::Result<Option<SpawnFailure>> {
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

/// Waits until the leader has exited. It stays a zombie, so that its pid is not reused.
pub(crate) async fn wait_for_exit(leader: &Leader) -> Exit {
    if let Ok(watch) = ExitWatch::new(leader.id().unsigned_abs()) {
        watch.exited().await;
    }
    loop {
        match leader.exit() {
            Ok(Some(exit)) => return exit,
            // Other code reaped it, and its status is lost.
            Err(_) => return Exit::Unknown,
            Ok(None) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}
