//! Active runs, and the process or container of each.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::effects::containers::run::ContainerHandle;
use crate::effects::process::run::RunProbes;
use crate::system::group::Leader;
use crate::system::pidfd;

/// A run that can be signalled, or a service that is probed only.
#[derive(Debug)]
pub(crate) struct ActiveRun {
    pub(crate) process: Process,
    pub(crate) program: PathBuf,
    pub(crate) probes: RunProbes,
}

#[derive(Debug)]
pub(crate) enum Process {
    /// No known process: the service is only probed.
    Unmanaged,
    /// A child of this process, with its group.
    Child(Arc<Leader>),
    Container(Arc<ContainerHandle>),
    Adopted {
        pidfd: OwnedFd,
        _watch: JoinSet<()>,
    },
}

impl ActiveRun {
    /// A service that this supervisor did not spawn.
    pub(crate) fn not_spawned(process: Process) -> Self {
        Self { process, program: PathBuf::new(), probes: RunProbes::new(None) }
    }

    /// Whether it can be signalled, or is probed only.
    pub(crate) fn is_active(&self) -> bool {
        match &self.process {
            Process::Unmanaged => true,
            Process::Child(leader) => !leader.is_reaped(),
            Process::Container(handle) => !handle.has_ended(),
            Process::Adopted { pidfd, .. } => !pidfd::has_ended(pidfd),
        }
    }
}
