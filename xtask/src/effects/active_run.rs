//! Active runs, and the process or container of each.

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
use crate::system::pidfd;

/// A run that can be signalled, or a service that is probed only.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    pub(crate) process: Process,
    pub(crate) program: PathBuf,
    pub(crate) tasks: ProbeTasks,
    pub(crate) patterns: LogPatterns,
    /// The task of the run owns it.
    pub(crate) notify: Weak<NotifySocket>,
}

/// The process of a run.
#[derive(Debug)]
pub(crate) enum Process {
    /// No known process: the service is only probed.
    Unmanaged,
    /// A child of this process, with its group.
    Child(Arc<Leader>),
    Container(Arc<ContainerHandle>),
    /// A process that this supervisor did not spawn.
    Adopted(Adopted),
}

/// An adopted process.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) pidfd: OwnedFd,
    /// The task that waits for its exit.
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

    /// Whether it can be signalled, or is probed only.
    pub(crate) fn is_active(&self) -> bool {
        match &self.process {
            Process::Unmanaged => true,
            Process::Child(leader) => !leader.is_reaped(),
            Process::Container(handle) => !handle.has_ended(),
            Process::Adopted(adopted) => adopted.is_running(),
        }
    }
}

impl Adopted {
    /// Sends a signal. A process that has ended is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    pub(crate) fn is_running(&self) -> bool {
        !pidfd::has_ended(&self.pidfd)
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
