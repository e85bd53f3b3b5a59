//! SIGINT, SIGTERM and SIGHUP for commands that clean up before they exit.
//!
//! The command decides what a second signal does.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Exit;
use crate::system::terminal;

/// Whether [`Interrupts`] receives the signals. The handler below is still called then.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Makes these signals exit the process with code 130 or 143, until [`Interrupts`] receives
/// them. Nothing needs cleaning up before that. An ignored signal, as under `nohup`, stays
/// ignored. Call it again once [`Interrupts`] is no longer read.
pub fn exit_on_signal() {
    TAKEN.store(false, Ordering::Relaxed);
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut before = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: the kernel fills in the whole structure, and the handler makes only calls that
        // are async-signal-safe.
        unsafe {
            let got = libc::sigaction(number, std::ptr::null(), before.as_mut_ptr());
            if got == 0 && before.assume_init().sa_sigaction == libc::SIG_DFL {
                libc::signal(number, exit as extern "C" fn(libc::c_int) as libc::sighandler_t);
            }
        }
    }
}

extern "C" fn exit(number: libc::c_int) {
    if TAKEN.load(Ordering::Relaxed) {
        return;
    }
    terminal::restore();
    let code = if number == libc::SIGINT { Exit::INTERRUPTED } else { Exit::TERMINATED };
    // SAFETY: `_exit` is async-signal-safe.
    unsafe { libc::_exit(code.code().into()) }
}

/// Receives the signals that ask a command to exit.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// From now on these signals no longer exit the process.
    pub fn new() -> io::Result<Self> {
        let taken = Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        };
        TAKEN.store(true, Ordering::Relaxed);
        Ok(taken)
    }

    /// Waits for the next signal and returns its exit code. Cancel safe.
    pub async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::INTERRUPTED,
            _ = self.terminate.recv() => Exit::TERMINATED,
            _ = self.hangup.recv() => Exit::TERMINATED,
        }
    }
}
