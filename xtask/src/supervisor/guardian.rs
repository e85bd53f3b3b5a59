//! The guardian: the process between a client and its supervisor that outlives the
//! supervisor and leaves nothing of its stack behind.
//!
//! It is this program's first process; the supervisor is its fork, made before there
//! is any runtime or thread, so that the two share nearly all of their memory. It is
//! the parent of the supervisor and of every orphan of it, passes signals on, and
//! sleeps. It knows no plan, stops nothing in order, and starts nothing.
//!
//! A supervisor whose guardian dies starts a sweeper in its place: this program again,
//! which is nobody's parent and knows what is left by its mark.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::ptr;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, pidfd_open,
    set_child_subreaper, wait,
};
use xtask_client::StackPaths;

use super::leftovers::bury;
use super::lock::Lock;
use crate::effects::sweep::{end_descendants, end_marked};

/// The exit code of a process that a signal ended, without the signal's number.
const SIGNALLED: i32 = 128;

/// What guardian and supervisor share.
pub(crate) struct Scene<'a> {
    /// Where the stack keeps its files.
    pub(crate) paths: &'a StackPaths,
    /// The folder of its sockets.
    pub(crate) runtime: &'a Path,
}

/// The process that outlives a supervisor, as the supervisor knows it.
pub(crate) struct Guardian {
    /// Its number.
    pub(crate) pid: u32,
    /// Readable when it is gone.
    pub(crate) pidfd: OwnedFd,
}

/// Makes this process a guardian. Only the supervisor, its fork, returns.
///
/// To be called while there is one thread only. What is locked stays locked until both
/// are gone.
///
/// # Errors
/// When the system refuses; this process can be a supervisor without a guardian then.
pub(crate) fn guard(scene: &Scene<'_>) -> io::Result<Guardian> {
    let me = getpid();
    let pidfd = pidfd_open(me, PidfdFlags::empty())?;
    set_child_subreaper(Some(me))?;
    let before = take_signals_by_hand();
    // SAFETY: there is only this thread, so the child has everything in order and may
    // go on as if it had been started so.
    match unsafe { libc::fork() } {
        0 => {
            restore_signals(&before);
            Ok(Guardian { pid: me.as_raw_nonzero().get().unsigned_abs(), pidfd })
        }
        pid => match Pid::from_raw(pid) {
            Some(supervisor) if pid > 0 => {
                drop(pidfd);
                watch(supervisor, scene)
            }
            Some(_) | None => {
                let error = io::Error::last_os_error();
                let _ = set_child_subreaper(None);
                restore_signals(&before);
                Err(error)
            }
        },
    }
}

/// Starts a sweeper for this supervisor. The lock that it inherits as its standard
/// input keeps others from beginning before it is done.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start_sweeper(scene: &Scene<'_>, lock: &Lock) -> io::Result<Guardian> {
    // The program's own file may have been replaced or removed meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg("sweep").arg("--stack-dir").arg(scene.paths.folder());
    command.arg("--runtime-dir").arg(scene.runtime);
    command.arg("--supervisor").arg(std::process::id().to_string());
    command.stdin(Stdio::from(lock.share()?));
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // It is reaped with the orphans, should it be the first to go.
    let child: Child = command.spawn()?;
    let number = Pid::from_child(&child);
    Ok(Guardian { pid: child.id(), pidfd: pidfd_open(number, PidfdFlags::empty())? })
}

/// The life of a sweeper.
///
/// # Errors
/// When it cannot watch the supervisor.
pub(crate) fn sweep_after(supervisor: u32, scene: &Scene<'_>) -> io::Result<()> {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"xtask-sweeper");
    ignore(&[libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGTSTP]);
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

/// What a guardian does all its life.
fn watch(supervisor: Pid, scene: &Scene<'_>) -> ! {
    // The client's connection is the supervisor's alone: its end must be seen.
    if let Ok(nothing) = std::fs::File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&nothing);
    }
    let _ = rustix::thread::set_name(c"xtask-guardian");
    ignore(&[libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]);
    let status = loop {
        if let Some(status) = reap(supervisor) {
            break status;
        }
        match next_signal() {
            // It is our child and not reaped, so the number cannot be another's.
            Some(signal) if signal != Signal::CHILD => {
                let _ = kill_process(supervisor, signal);
            }
            Some(_) | None => {}
        }
    };
    let all_gone = end_descendants();
    if scene.paths.endpoint().exists() {
        // A supervisor that ends in order has removed it.
        say(&format!("supervisor {supervisor} died: {}", words(status)));
        sweep(scene);
    }
    if !all_gone {
        say(&format!("some processes below supervisor {supervisor} do not end"));
    }
    std::process::exit(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, signal) => SIGNALLED + signal.unwrap_or(0),
    })
}

/// Ends who carries the mark, and removes the files.
fn sweep(scene: &Scene<'_>) {
    let me = getpid().as_raw_nonzero().get();
    for ended in end_marked(&scene.paths.short_name(), &[me]) {
        say(&format!("process {} was left and is ended: `{}`", ended.pid, ended.command));
    }
    bury(scene.paths, scene.runtime);
}

/// A line in the supervisor's log. Where it cannot be written there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Reaps children that ended until the supervisor is among them.
fn reap(supervisor: Pid) -> Option<WaitStatus> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == supervisor => return Some(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

fn words(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// The signals that a guardian waits for.
fn waited_for() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that the others add to.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// Blocks them, so that they are taken by [`next_signal`] alone. The mask before.
fn take_signals_by_hand() -> libc::sigset_t {
    let wanted = waited_for();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid, and the call initialises the second; an all-zero
    // one stands in should it fail.
    unsafe {
        libc::sigemptyset(before.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const wanted, before.as_mut_ptr());
        before.assume_init()
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: the set was filled in by `take_signals_by_hand`.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
}

/// Sleeps until one of the signals is there.
fn next_signal() -> Option<Signal> {
    let wanted = waited_for();
    // SAFETY: the set is valid, and nothing more is asked about the signal.
    let number = unsafe { libc::sigwaitinfo(&raw const wanted, ptr::null_mut()) };
    Signal::from_named_raw(number)
}

fn ignore(signals: &[libc::c_int]) {
    for signal in signals {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}
