//! The guardian: the process between a client and its supervisor that outlives the
//! supervisor and leaves nothing of its stack behind.
//!
//! It is this program's first process; the supervisor is its fork, made before there
//! is any runtime or thread, so that the two share nearly all of their memory. It is
//! the parent of the supervisor and of every orphan of it, passes signals on, and
//! sleeps. It knows no plan, stops nothing in order, and starts nothing.
//!
//! What it cannot finish because it is killed itself, the sweeper does, which is forked
//! with it.

use std::io;
use std::ptr;

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, set_child_subreaper, wait, waitpid,
};

use super::companion::{Companion, Companions, Scene, empty_standard_input, fork};
use super::sweeper::{Standby, nothing_is_left, stand_by, sweep};
use crate::system::say;
use crate::system::sweep::end_descendants;

/// The exit code of a process that a signal ended, without the signal's number.
const SIGNALLED: i32 = 128;

/// Makes this process a guardian. Only the supervisor, its fork, returns.
///
/// To be called while there is one thread only. What is locked stays locked until all
/// are gone.
///
/// # Errors
/// When the system refuses; this process can be a supervisor without a guardian then.
pub(crate) fn guard(scene: &Scene<'_>) -> io::Result<Companions> {
    let me = getpid();
    let guardian = Companion::of(me)?;
    let standby = match stand_by(scene) {
        Ok(standby) => Some(standby),
        Err(error) => {
            say(&format!("there is no sweeper: {error}"));
            None
        }
    };
    let before = take_signals_by_hand();
    let subreaper = set_child_subreaper(Some(me)).map_err(io::Error::from);
    // SAFETY: there is only this thread.
    match subreaper.and_then(|()| unsafe { fork() }) {
        Ok(None) => {
            restore_signals(&before);
            let (sweeper, held) = match standby {
                Some(Standby { sweeper, held }) => (Some(sweeper), Some(held)),
                None => (None, None),
            };
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

/// What a guardian does all its life.
fn watch(supervisor: Pid, standby: Option<Standby>, scene: &Scene<'_>) -> ! {
    let _ = empty_standard_input();
    let _ = rustix::thread::set_name(c"xtask-guardian");
    ignore(&[libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]);
    let (mut sweeper, held) = match standby {
        Some(standby) => (number(&standby.sweeper), Some(standby.held)),
        None => (None, None),
    };
    let status = loop {
        if let Some(status) = reap(supervisor, &mut sweeper) {
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
    let all_gone = end_descendants(&mut sweeper);
    if scene.paths.endpoint().exists() {
        // A supervisor that ends in order has removed it.
        say(&format!("supervisor {supervisor} died: {}", words(status)));
        sweep(scene);
    }
    // It may have died before it could say where it is found.
    let _ = std::fs::remove_dir_all(scene.runtime);
    if !all_gone {
        say(&format!("some processes below supervisor {supervisor} do not end"));
    }
    if let (true, Some(held)) = (all_gone, &held) {
        nothing_is_left(held);
    }
    // Whoever sees the guardian end may rely on it that the stack's lock is free.
    drop(held);
    if let Some(sweeper) = sweeper {
        let _ = waitpid(Some(sweeper), WaitOptions::empty());
    }
    std::process::exit(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, signal) => SIGNALLED + signal.unwrap_or(0),
    })
}

fn number(companion: &Companion) -> Option<Pid> {
    Pid::from_raw(companion.pid.cast_signed())
}

/// Reaps children that ended until the supervisor is among them. A sweeper that ended
/// is forgotten.
fn reap(supervisor: Pid, sweeper: &mut Option<Pid>) -> Option<WaitStatus> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == supervisor => return Some(status),
            Ok(Some((pid, _))) => *sweeper = sweeper.filter(|sweeper| *sweeper != pid),
            Err(rustix::io::Errno::INTR) => {}
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
