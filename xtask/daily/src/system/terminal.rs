//! The terminal that a command runs on: its size, who may read it, and keys without Enter.
//!
//! Keys use the mode that shells call `cbreak`: no echo and no line editing. The terminal still
//! turns Ctrl-C, Ctrl-Z and Ctrl-\ into signals, so that these work as in every other program. The
//! mode is restored when its guard is dropped, after a panic, and by the handlers of signals that
//! end the process. No process in the background changes or reads it: both would stop the process.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{tcgetpgrp, tcgetwinsize};

use super::async_fd::is_readable;

/// The size of a terminal in characters, if it does not report one.
const DEFAULT_SIZE: Size = Size { columns: 80, rows: 24 };

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// The mode of the terminal before the first key was read. Handlers of signals read it, so it is
/// allocated once and never freed.
static BEFORE: AtomicPtr<libc::termios> = AtomicPtr::new(null_mut());

/// Whether the terminal has the mode for keys now.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// The size of the terminal on standard error.
pub(crate) fn size() -> Size {
    match tcgetwinsize(io::stderr()) {
        Ok(found) if found.ws_col > 0 && found.ws_row > 0 => {
            Size { columns: found.ws_col.into(), rows: found.ws_row.into() }
        }
        _ => DEFAULT_SIZE,
    }
}

/// Whether all three standard streams are terminals.
pub(crate) fn is_on_all_streams() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Whether this process is in the foreground of the terminal on this descriptor. It is too if the
/// terminal has no job control.
pub(crate) fn is_in_foreground(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).map_or(true, |group| group == rustix::process::getpgrp())
}

/// As [`is_in_foreground`], for the terminal on standard error.
pub(crate) fn is_output_in_foreground() -> bool {
    is_in_foreground(io::stderr())
}

/// Makes the terminal on standard input pass on each key. Returns whether it does: a process in the
/// background changes nothing.
pub(crate) fn read_keys() -> bool {
    let stdin = io::stdin();
    if !is_in_foreground(&stdin) {
        return false;
    }
    let mut mode = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the kernel fills in the whole structure if the call succeeds.
    let mode = unsafe {
        if libc::tcgetattr(stdin.as_raw_fd(), mode.as_mut_ptr()) != 0 {
            return false;
        }
        mode.assume_init()
    };
    if !CHANGED.load(Ordering::Relaxed) {
        let before = BEFORE.load(Ordering::Relaxed);
        match before.is_null() {
            true => BEFORE.store(Box::leak(Box::new(mode)), Ordering::Release),
            // SAFETY: it was leaked above, and handlers read it only while `CHANGED` is set.
            false => unsafe { *before = mode },
        }
    }
    let mut keys = mode;
    keys.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ECHONL);
    // A read returns what is there, and never waits.
    keys.c_cc[libc::VMIN] = 0;
    keys.c_cc[libc::VTIME] = 0;
    // Set first: a signal between both calls then restores what it was.
    CHANGED.store(true, Ordering::Release);
    // SAFETY: the descriptor is open, and the structure is complete.
    unsafe { libc::tcsetattr(stdin.as_raw_fd(), libc::TCSADRAIN, &raw const keys) == 0 }
}

/// Restores the mode from before [`read_keys`], if this process is in the foreground. A signal
/// handler may call it.
pub(crate) fn restore() {
    let before = BEFORE.load(Ordering::Acquire);
    if before.is_null() || !CHANGED.swap(false, Ordering::AcqRel) {
        return;
    }
    // SAFETY: the calls are async-signal-safe, and the structure is never freed.
    unsafe {
        if libc::tcgetpgrp(libc::STDIN_FILENO) == libc::getpgrp() {
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before);
        }
    }
}

/// What became of a read of keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Keys(Vec<u8>),
    /// No key was pressed.
    Nothing,
    /// The terminal is gone.
    End,
}

/// The keys that were pressed. Returns at once.
pub(crate) fn pressed() -> Read {
    let stdin = io::stdin();
    if !is_in_foreground(&stdin) || !matches!(is_readable(&stdin), Ok(true)) {
        return Read::Nothing;
    }
    let mut keys = [0; 256];
    // A shell may put this process into the background at this moment. With the signal blocked the
    // read then fails, instead of stopping the process.
    let read = with_blocked(libc::SIGTTIN, || rustix::io::read(&stdin, &mut keys));
    match read {
        Ok(0) if is_gone(&stdin) => Read::End,
        Ok(0) => Read::Nothing,
        Ok(length) => Read::Keys(keys[..length].to_vec()),
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => Read::Nothing,
        Err(_) if !is_in_foreground(&stdin) => Read::Nothing,
        Err(_) => Read::End,
    }
}

fn is_gone(terminal: impl AsFd) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(&terminal, PollFlags::IN)];
    let answered = poll(&mut polled, Some(&at_once));
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    answered.is_ok_and(|count| count > 0) && polled[0].revents().intersects(gone)
}

/// Calls `act` while this thread blocks a signal.
fn with_blocked<T>(signal: libc::c_int, act: impl FnOnce() -> T) -> T {
    // SAFETY: the calls fill in and read two sets of signals of this function.
    unsafe {
        let mut blocked = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(blocked.as_mut_ptr());
        libc::sigaddset(blocked.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), before.as_mut_ptr());
        let result = act();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut());
        result
    }
}

/// Makes Ctrl-\ and a panic restore the terminal first.
pub(crate) fn restore_on_abort() {
    // SAFETY: the handler makes async-signal-safe calls only.
    unsafe {
        libc::signal(libc::SIGQUIT, quit as extern "C" fn(libc::c_int) as libc::sighandler_t)
    };
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        report(panic);
    }));
}

extern "C" fn quit(number: libc::c_int) {
    restore();
    // SAFETY: the calls are async-signal-safe. The signal ends the process once this handler
    // returns.
    unsafe {
        libc::signal(number, libc::SIG_DFL);
        libc::raise(number);
    }
}

/// Stops this process as Ctrl-Z does; returns when it continues.
pub(crate) fn stop_self() {
    // SAFETY: the call takes two numbers.
    unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
}

/// Makes Ctrl-Z stop this process again, after its signal was received.
pub(crate) fn stop_on_ctrl_z() {
    // SAFETY: the call takes two numbers.
    unsafe { libc::signal(libc::SIGTSTP, libc::SIG_DFL) };
}
