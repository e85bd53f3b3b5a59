//! Waits until a spawned child has exited.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use xtask_core::stack::Exit;

use crate::system::group::Leader;
use crate::system::pidfd::ExitWatch;
use crate::system::task;

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
            task::spawn(async move {
                wait_for_exit(&leader).await;
                leader.reap();
            });
        } else {
            self.0.reap();
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
