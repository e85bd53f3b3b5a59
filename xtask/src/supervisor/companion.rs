//! Those that outlive a supervisor, as it knows them, and what all of them know.
//!
//! What they do is told where each of them is.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use xtask_client::StackPaths;

/// What all of them know of their stack.
pub(crate) struct Scene<'a> {
    /// Where the stack keeps its files.
    pub(crate) paths: &'a StackPaths,
    /// The folder of its sockets.
    pub(crate) runtime: &'a Path,
}

/// A process that outlives a supervisor, as the supervisor knows it.
pub(crate) struct Companion {
    /// Its number.
    pub(crate) pid: u32,
    /// Readable when it is gone.
    pub(crate) pidfd: OwnedFd,
}

/// Those that outlive a supervisor.
pub(crate) struct Companions {
    /// Its parent.
    pub(crate) guardian: Companion,
    /// Who is left when both are gone; none where it could not be forked.
    pub(crate) sweeper: Option<Companion>,
    /// What keeps the sweeper waiting.
    pub(crate) held: Option<OwnedFd>,
}

/// Forks: the child's number for the parent, and none for the child.
///
/// # Safety
/// There must be one thread only, so that the child has everything in order and may go on as
/// if it had been started so.
///
/// # Errors
/// When the system refuses.
pub(super) unsafe fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: as the caller promises.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid => Pid::from_raw(pid.max(0)).map(Some).ok_or_else(io::Error::last_os_error),
    }
}

/// Lets go of standard input. A client's connection is the supervisor's alone, so that its
/// end is seen.
pub(super) fn empty_standard_input() -> io::Result<()> {
    let nothing = std::fs::File::open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(&nothing)?)
}

impl Companion {
    /// Of a process that cannot have been replaced by another one: this one, or a child
    /// that is not reaped.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn of(process: Pid) -> io::Result<Self> {
        let pidfd = pidfd_open(process, PidfdFlags::empty())?;
        Ok(Self { pid: process.as_raw_nonzero().get().unsigned_abs(), pidfd })
    }
}
