//! The sweeper: the process that cleans up when supervisor and guardian have both died.
//!
//! It is the process that the client started, and forks the guardian. It sleeps on a pipe that only
//! those two hold open, so the pipe closes when both are dead. If nothing is left to clean up, the
//! last of them writes one byte first. As a child subreaper it is then the parent of all that is
//! left, also of a process that changed its mark or its user. It stops nothing in order.
//!
//! A killed sweeper is replaced by a new process of this program, which watches the supervisor.
//! That one has no children, and finds processes by the stack's marks.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, getpid, getppid, pidfd_open, set_child_subreaper, setsid};

use super::companion::{Companion, Scene, empty_standard_input, fork, ignore, wait_for_exit};
use super::leftovers::bury;
use super::lock::Lock;
use crate::effects::containers::cleanup::{self, AfterCleanup};
use crate::system::release::release_code;
use crate::system::say;
use crate::system::supervisors::{SWEEPER, be_called};
use crate::system::sweep::{KilledProcess, kill_descendants, kill_marked};

/// A sweeper and the pipe that it waits on.
pub(super) struct Standby {
    pub(super) sweeper: Companion,
    /// The write end of its pipe.
    pub(super) held: OwnedFd,
}

/// Makes this process a sweeper, and returns only in its fork, in a session of its own. The process
/// must have a single thread; its locks stay held until the sweeper has exited too.
///
/// # Errors
/// When the system refuses. It then returns in this process.
pub(super) fn stand_by(scene: &Scene<'_>) -> io::Result<Standby> {
    let (ended, held) = pipe_with(PipeFlags::CLOEXEC)?;
    let sweeper = Companion::of(getpid())?;
    #[cfg(target_os = "linux")]
    set_child_subreaper(Some(getpid()))?;
    // SAFETY: there is only this thread.
    match unsafe { fork() } {
        Ok(Some(guardian)) => {
            drop((held, sweeper));
            wait_for_both(guardian, &ended, scene);
        }
        Ok(None) => {
            let _ = setsid();
            Ok(Standby { sweeper, held })
        }
        Err(error) => {
            #[cfg(target_os = "linux")]
            let _ = set_child_subreaper(None);
            Err(error)
        }
    }
}

/// Tells a sweeper that nothing is left to clean up when the pipe closes.
pub(super) fn nothing_is_left(held: &OwnedFd) {
    let _ = rustix::io::write(held, b".");
}

/// Runs a sweeper that forked a guardian.
fn wait_for_both(guardian: Pid, ended: &OwnedFd, scene: &Scene<'_>) -> ! {
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
        let ended = kill_all_marked(scene);
        // A living guardian waits for the end of this process.
        kill_descendants(&mut Some(guardian));
        remove_rest(scene, ended);
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
        wait_for_exit(&pidfd);
    }
    sweep(scene);
    Ok(())
}

/// Kills every process with a mark of the stack and removes the stack's sockets and containers.
pub(super) fn sweep(scene: &Scene<'_>) {
    let ended = kill_all_marked(scene);
    remove_rest(scene, ended);
}

fn kill_all_marked(scene: &Scene<'_>) -> Vec<KilledProcess> {
    let me = getpid().as_raw_nonzero().get();
    let ended = kill_marked(scene.marks, &[me]);
    for ended in &ended {
        say(&format!("killed leftover process {}: `{}`", ended.pid, ended.command));
    }
    ended
}

/// Removes the stack's sockets and containers, and notes what was killed.
fn remove_rest(scene: &Scene<'_>, ended: Vec<KilledProcess>) {
    let note = scene.paths.engine_record();
    let removed = cleanup::remove(&note, scene.marks, AfterCleanup::KeepRecord);
    if let Some(why) = removed.failure {
        say(&format!("containers or networks may remain: {why}"));
    }
    bury(scene.paths, scene.runtime, ended, removed.containers);
}

/// Detaches from the terminal and ignores signals that are meant for clients.
fn settle() {
    let _ = setsid();
    be_called(SWEEPER);
    ignore(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGTSTP]);
}
