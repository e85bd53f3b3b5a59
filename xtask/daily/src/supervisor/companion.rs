//! Companions: guardian and sweeper as the supervisor sees them, and what the three share.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use xtask_control::StackPaths;

use crate::system::mark::Marks;

/// What supervisor, guardian and sweeper share.
pub(crate) struct Scene<'a> {
    pub(crate) paths: &'a StackPaths,
    /// The folder of the stack's sockets.
    pub(crate) runtime: &'a Path,
    pub(crate) marks: &'a Marks,
}

/// A process that outlives the supervisor.
pub(crate) struct Companion {
    pub(crate) pid: u32,
    /// Readable when the process has exited.
    pub(crate) pidfd: OwnedFd,
}

pub(crate) struct Companions {
    /// The supervisor's parent.
    pub(crate) guardian: Companion,
    /// `None` if it could not be forked.
    pub(crate) sweeper: Option<Companion>,
    /// The write end of the sweeper's pipe: the sweeper waits until it is closed.
    pub(crate) held: Option<OwnedFd>,
}

/// Forks: returns the child's process id in the parent and `None` in the child.
///
/// # Safety
/// The process must have a single thread, so that no lock is held in the child.
///
/// # Errors
/// When `fork` fails.
pub(super) unsafe fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: as the caller promises.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid => Pid::from_raw(pid.max(0)).map(Some).ok_or_else(io::Error::last_os_error),
    }
}

/// Redirects standard input from `/dev/null`. Only the supervisor may hold the client's
/// connection, or the client would not see it close.
pub(super) fn empty_standard_input() -> io::Result<()> {
    let nothing = std::fs::File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(&nothing)?)
}

/// Waits until the process with this pidfd has exited.
pub(super) fn wait_for_exit(pidfd: &OwnedFd) {
    while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None) {}
}

pub(super) fn ignore(signals: &[libc::c_int]) {
    for signal in signals {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

impl Companion {
    /// Opens a pidfd of `process`, which must be this process or an unreaped child: only their
    /// process ids cannot have been reused.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub(super) fn of(process: Pid) -> io::Result<Self> {
        let pidfd = pidfd_open(process, PidfdFlags::empty())?;
        Ok(Self { pid: process.as_raw_nonzero().get().unsigned_abs(), pidfd })
    }

    /// Waits until it has exited.
    pub(super) fn wait(&self) {
        wait_for_exit(&self.pidfd);
    }
}
