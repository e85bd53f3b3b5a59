//! Runs that can still be signalled, and what each of them is in the system.
//!
//! Nothing is started here, and nothing is waited for.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use rustix::process::{Signal, pidfd_send_signal};
use tokio::task::AbortHandle;

use crate::effects::containers::run::ContainerHandle;
use crate::effects::logs::lines::LogPatterns;
use crate::effects::probe::ProbeTasks;
use crate::effects::process::notify::NotifySocket;
use crate::system::group::Leader;
use crate::system::sweep;

/// A run that can still be signalled, here or in its container, or a probed service that
/// has no process.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    pub(crate) process: Process,
    pub(crate) program: PathBuf,
    pub(crate) tasks: ProbeTasks,
    pub(crate) patterns: LogPatterns,
    /// The run owns it, and removes it in its end.
    pub(crate) notify: Weak<NotifySocket>,
}

/// What a run is in the system.
#[derive(Debug)]
pub(crate) enum Process {
    /// Nothing that is known: it is only probed.
    Unmanaged,
    /// A child of ours, with its group.
    Child(Arc<Leader>),
    /// In a container.
    Container(Arc<ContainerHandle>),
    /// Somebody else's.
    Adopted(Adopted),
}

/// A process of somebody else's that is watched.
#[derive(Debug)]
pub(crate) struct Adopted {
    /// It is only reached through this.
    pub(crate) pidfd: OwnedFd,
    /// Waits for its end.
    pub(crate) watch: AbortHandle,
}

impl ActiveRun {
    pub(crate) fn new(process: Process, program: PathBuf) -> Self {
        Self {
            process,
            program,
            tasks: ProbeTasks::new(),
            patterns: LogPatterns::default(),
            notify: Weak::new(),
        }
    }

    /// Whether it can still be signalled, or is probed without a process.
    pub(crate) fn is_active(&self) -> bool {
        match &self.process {
            Process::Unmanaged => true,
            Process::Child(leader) => !leader.is_reaped(),
            Process::Container(handle) => !handle.is_over(),
            Process::Adopted(adopted) => adopted.is_active(),
        }
    }

    pub(crate) fn leader(&self) -> Option<&Arc<Leader>> {
        match &self.process {
            Process::Child(leader) => Some(leader),
            Process::Unmanaged | Process::Container(_) | Process::Adopted(_) => None,
        }
    }
}

impl Adopted {
    /// Sends a signal. A process that is gone is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Whether it still runs.
    pub(crate) fn is_active(&self) -> bool {
        !sweep::has_ended(&self.pidfd)
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
