//! The sweeper: the process that cleans up when supervisor and guardian have both died.
//!
//! It is forked up front, because a process that is being killed cannot fork it. It sleeps on a
//! pipe that only those two hold open, so the pipe closes when both are dead. If nothing is left to
//! clean up, the last of them writes one byte first. A killed sweeper is replaced by a new process
//! of this program, which watches the supervisor. The sweeper has no children, finds processes by
//! the stack's mark, and stops nothing in order.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, getpid, getppid, pidfd_open};

use super::companion::{Companion, Scene, empty_standard_input, fork, ignore};
use super::leftovers::bury;
use super::lock::Lock;
use crate::effects::containers::cleanup::{self, AfterCleanup};
use crate::system::release::release_code;
use crate::system::say;
use crate::system::supervisors::SWEEPER;
use crate::system::sweep::kill_marked;

/// A forked sweeper and the pipe that it waits on.
pub(super) struct Standby {
    pub(super) sweeper: Companion,
    /// The write end of its pipe.
    pub(super) held: OwnedFd,
}

/// Forks a sweeper. The process must have a single thread; its locks stay held until the sweeper
/// has exited too.
///
/// # Errors
/// When the system refuses.
pub(super) fn stand_by(scene: &Scene<'_>) -> io::Result<Standby> {
    let (ended, held) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: there is only this thread.
    let Some(pid) = (unsafe { fork() })? else {
        drop(held);
        wait_for_both(&ended, scene);
    };
    // It is an unreaped child, so its process id cannot have been reused.
    match Companion::of(pid) {
        Ok(sweeper) => Ok(Standby { sweeper, held }),
        Err(error) => {
            nothing_is_left(&held);
            Err(error)
        }
    }
}

/// Tells a forked sweeper that nothing is left to clean up when the pipe closes.
pub(super) fn nothing_is_left(held: &OwnedFd) {
    let _ = rustix::io::write(held, b".");
}

/// Runs a forked sweeper.
fn wait_for_both(ended: &OwnedFd, scene: &Scene<'_>) -> ! {
    settle();
    let _ = empty_standard_input();
    release_code();
    let said = loop {
        match rustix::io::read(ended, &mut [0; 1]) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other.unwrap_or(0),
        }
    };
    if said == 0 {
        sweep(scene);
    }
    std::process::exit(0)
}

/// Starts a new sweeper. It inherits the stack's lock as standard input, so no command can take
/// the lock before the sweeper is done.
///
/// # Errors
/// When the process cannot be started.
pub(super) fn start_another(scene: &Scene<'_>, lock: &Lock) -> io::Result<Companion> {
    // The program's file may have been replaced or removed since the start.
    let mut command = Command::new("/proc/self/exe");
    command.arg("sweep").arg("--stack-dir").arg(scene.paths.folder());
    command.arg("--runtime-dir").arg(scene.runtime);
    command.arg("--supervisor").arg(std::process::id().to_string());
    command.stdin(Stdio::from(lock.share()?));
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // If it exits first, it is reaped with the orphans.
    let child: Child = command.spawn()?;
    Companion::of(Pid::from_child(&child))
}

/// Runs a sweeper that was started by [`start_another`].
///
/// # Errors
/// When the supervisor cannot be watched.
pub(crate) fn sweep_after(supervisor: u32, scene: &Scene<'_>) -> io::Result<()> {
    settle();
    let number = i32::try_from(supervisor).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| io::Error::other("not a process id"))?;
    let pidfd = pidfd_open(number, PidfdFlags::empty());
    // While it is our parent it is alive, so the pidfd refers to no other process.
    if getppid() == Some(number) {
        let pidfd = pidfd?;
        release_code();
        while let Err(rustix::io::Errno::INTR) =
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None)
        {}
    }
    sweep(scene);
    Ok(())
}

/// Kills every process with the stack's mark and removes the stack's sockets and containers.
pub(super) fn sweep(scene: &Scene<'_>) {
    let me = getpid().as_raw_nonzero().get();
    let ended = kill_marked(&scene.paths.short_name(), &[me]);
    for ended in &ended {
        say(&format!("killed leftover process {}: `{}`", ended.pid, ended.command));
    }
    let note = scene.paths.engine_record();
    let removed = cleanup::remove(&note, &scene.paths.short_name(), AfterCleanup::KeepRecord);
    if let Some(why) = removed.failure {
        say(&format!("containers or networks may remain: {why}"));
    }
    bury(scene.paths, scene.runtime, ended, removed.containers);
}

/// Detaches from the terminal and ignores signals that are meant for clients.
fn settle() {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(SWEEPER);
    ignore(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGTSTP]);
}
