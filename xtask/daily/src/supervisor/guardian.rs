//! The guardian: the supervisor's parent, which cleans up after a supervisor that died.
//!
//! The sweeper forks the guardian, and that the supervisor, before any runtime or thread exists. So
//! the three share nearly all of their memory. The guardian is a child subreaper: orphans of the
//! stack become its children. It forwards signals and sleeps. It reads no plan, starts nothing, and
//! stops nothing in order.
//!
//! If the guardian is killed as well, the sweeper finishes its work.

use std::io;
use std::ptr;

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait,
};

use super::companion::{Companion, Companions, Scene, empty_standard_input, fork, ignore};
use super::sweeper::{Standby, nothing_is_left, stand_by, sweep};
use crate::system::release::release_code;
use crate::system::say;
use crate::system::supervisors::{GUARDIAN, be_called};
use crate::system::sweep::kill_descendants;

/// The exit code of a process that a signal ended, without the signal's number.
const SIGNALLED: i32 = 128;

/// Makes this process a sweeper, and its fork a guardian. Returns only in the fork of that, the
/// supervisor.
///
/// The process must have a single thread. The forks inherit its locks, which stay held until all of
/// them have exited.
///
/// # Errors
/// When the system refuses; this process can then be a supervisor without a guardian.
pub(crate) fn guard(scene: &Scene<'_>) -> io::Result<Companions> {
    let failed = |error: &io::Error| say(&format!("failed to start the sweeper: {error}"));
    let standby = stand_by(scene).inspect_err(failed).ok();
    let me = getpid();
    let guardian = Companion::of(me)?;
    let before = take_signals_by_hand();
    let subreaper = set_child_subreaper(Some(me)).map_err(io::Error::from);
    // SAFETY: there is only this thread.
    match subreaper.and_then(|()| unsafe { fork() }) {
        Ok(None) => {
            restore_signals(&before);
            let (sweeper, held) = standby.map(|Standby { sweeper, held }| (sweeper, held)).unzip();
            Ok(Companions { guardian, sweeper, held })
        }
        Ok(Some(supervisor)) => {
            drop(guardian);
            watch(supervisor, standby, scene)
        }
        Err(error) => {
            if let Some(Standby { held, .. }) = &standby {
                nothing_is_left(held);
            }
            let _ = set_child_subreaper(None);
            restore_signals(&before);
            Err(error)
        }
    }
}

/// Waits for the supervisor's end, cleans up and exits.
fn watch(supervisor: Pid, standby: Option<Standby>, scene: &Scene<'_>) -> ! {
    let _ = empty_standard_input();
    be_called(GUARDIAN);
    ignore(&[libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]);
    release_code();
    let (sweeper, held) = standby.map(|Standby { sweeper, held }| (sweeper, held)).unzip();
    let status = loop {
        if let Some(status) = reap(supervisor) {
            break status;
        }
        match next_signal() {
            // It is an unreaped child, so its process id cannot have been reused.
            Some(signal) if signal != Signal::CHILD => {
                let _ = kill_process(supervisor, signal);
            }
            Some(_) | None => {}
        }
    };
    let all_gone = kill_descendants(&mut None);
    if scene.paths.endpoint().exists() {
        // A supervisor that exits in order has removed the file.
        say(&format!("supervisor {supervisor} died: {}", describe(status)));
        sweep(scene);
    }
    // The supervisor may have died before it wrote its endpoint.
    let _ = std::fs::remove_dir_all(scene.runtime);
    if !all_gone {
        say(&format!("some descendants of supervisor {supervisor} do not exit"));
    }
    if let (true, Some(held)) = (all_gone, &held) {
        nothing_is_left(held);
    }
    // The stack's lock must be free when the guardian has exited.
    drop(held);
    if let Some(sweeper) = sweeper {
        sweeper.wait();
    }
    std::process::exit(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, signal) => SIGNALLED + signal.unwrap_or(0),
    })
}

/// Reaps exited children until the supervisor is one of them.
fn reap(supervisor: Pid) -> Option<WaitStatus> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == supervisor => return Some(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "status unknown".to_owned(),
    }
}

/// The signals that the guardian waits for.
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

/// Blocks them, so that only [`next_signal`] receives them. Returns the previous mask.
fn take_signals_by_hand() -> libc::sigset_t {
    let wanted = waited_for();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid, and the call initialises the second, which is empty if the
    // call fails.
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

/// Sleeps until one of the signals arrives.
fn next_signal() -> Option<Signal> {
    let wanted = waited_for();
    // SAFETY: the set is valid, and a null pointer requests no details.
    let number = unsafe { libc::sigwaitinfo(&raw const wanted, ptr::null_mut()) };
    Signal::from_named_raw(number)
}
