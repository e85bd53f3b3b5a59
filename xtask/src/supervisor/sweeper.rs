//! The sweeper: the process that is there when supervisor and guardian are both gone, and
//! ends what they could not.
//!
//! It is forked before either of them begins, and sleeps on a pipe that only these two
//! hold open: the pipe's end is the end of both, however they died and however busy the
//! machine is. Whoever of them is the last and leaves nothing to do says so with a byte. A
//! sweeper that is killed is replaced by this program, started anew, which watches the
//! supervisor. It is nobody's parent, knows what is left by its mark, and stops nothing in
//! order.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, getpid, getppid, pidfd_open};

use super::companion::{Companion, Scene, empty_standard_input, fork};
use super::leftovers::bury;
use super::lock::Lock;
use crate::effects::containers::remains::{self, NoteThen};
use crate::system::say;
use crate::system::sweep::end_marked;

/// A sweeper that waits for the end of everybody who holds the pipe.
pub(super) struct Standby {
    /// The sweeper.
    pub(super) sweeper: Companion,
    /// What keeps it waiting.
    pub(super) held: OwnedFd,
}

/// Forks a sweeper. To be called while there is one thread only; what is locked stays
/// locked until it is gone too.
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
    // It is our child and not reaped, so the number cannot be another's.
    match Companion::of(pid) {
        Ok(sweeper) => Ok(Standby { sweeper, held }),
        Err(error) => {
            nothing_is_left(&held);
            Err(error)
        }
    }
}

/// Tells a sweeper that was forked that there will be nothing to do. It would take the end
/// of the pipe for that of the stack.
pub(super) fn nothing_is_left(held: &OwnedFd) {
    let _ = rustix::io::write(held, b".");
}

/// The life of a sweeper that was forked.
fn wait_for_both(ended: &OwnedFd, scene: &Scene<'_>) -> ! {
    settle();
    let _ = empty_standard_input();
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

/// Starts another sweeper. The lock that it inherits as its standard input keeps others
/// from beginning before it is done.
///
/// # Errors
/// When it cannot be started.
pub(super) fn start_another(scene: &Scene<'_>, lock: &Lock) -> io::Result<Companion> {
    // The program's own file may have been replaced or removed meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg("sweep").arg("--stack-dir").arg(scene.paths.folder());
    command.arg("--runtime-dir").arg(scene.runtime);
    command.arg("--supervisor").arg(std::process::id().to_string());
    command.stdin(Stdio::from(lock.share()?));
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // It is reaped with the orphans, should it be the first to go.
    let child: Child = command.spawn()?;
    Companion::of(Pid::from_child(&child))
}

/// The life of a sweeper that was started.
///
/// # Errors
/// When it cannot watch the supervisor.
pub(crate) fn sweep_after(supervisor: u32, scene: &Scene<'_>) -> io::Result<()> {
    settle();
    let number = i32::try_from(supervisor).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| io::Error::other("not the number of a process"))?;
    let pidfd = pidfd_open(number, PidfdFlags::empty());
    // As long as it is our parent it lives, and the descriptor means no other process.
    if getppid() == Some(number) {
        let pidfd = pidfd?;
        while let Err(rustix::io::Errno::INTR) =
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None)
        {}
    }
    sweep(scene);
    Ok(())
}

/// Ends who carries the mark, and removes the files.
pub(super) fn sweep(scene: &Scene<'_>) {
    let me = getpid().as_raw_nonzero().get();
    let ended = end_marked(&scene.paths.short_name(), &[me]);
    for ended in &ended {
        say(&format!("process {} was left and is ended: `{}`", ended.pid, ended.command));
    }
    let note = scene.paths.engine_note();
    let removed = remains::remove(&note, &scene.paths.short_name(), NoteThen::Keep);
    if let Some(why) = removed.kept {
        say(&format!("containers or networks may be left: {why}"));
    }
    bury(scene.paths, scene.runtime, ended, removed.containers);
}

/// No terminal and no client concerns it.
fn settle() {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"xtask-sweeper");
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGTSTP] {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
