//! Ctrl-C and its relatives, for commands that end in order.
//!
//! It counts and decides nothing: what the second one means is the command's affair.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Exit;

/// Whether somebody waits for the signals: what was set before is still called then.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// From now on these signals end the process with the code of one that they ended, until
/// [`Interrupts`] takes them: nothing is left behind before that, and whoever reads the
/// code need not tell the two apart. What is ignored, as by `nohup`, stays so. To be called
/// again when nobody takes them any more.
pub(crate) fn end_with_its_code() {
    TAKEN.store(false, Ordering::Relaxed);
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut before = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: the kernel fills in a whole structure, and the handler makes one call,
        // which is safe in it.
        unsafe {
            let got = libc::sigaction(number, std::ptr::null(), before.as_mut_ptr());
            if got == 0 && before.assume_init().sa_sigaction == libc::SIG_DFL {
                libc::signal(number, end as extern "C" fn(libc::c_int) as libc::sighandler_t);
            }
        }
    }
}

extern "C" fn end(number: libc::c_int) {
    if TAKEN.load(Ordering::Relaxed) {
        return;
    }
    let exit = if number == libc::SIGINT { Exit::INTERRUPTED } else { Exit::TERMINATED };
    // SAFETY: it ends the process and runs nothing of it.
    unsafe { libc::_exit(exit.code().into()) }
}

/// The signals that ask a command to end.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// From now on these signals no longer end the process by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        let taken = Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        };
        TAKEN.store(true, Ordering::Relaxed);
        Ok(taken)
    }

    /// Waits for the next one, and says how the process is to end because of it.
    /// Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::INTERRUPTED,
            _ = self.terminate.recv() => Exit::TERMINATED,
            _ = self.hangup.recv() => Exit::TERMINATED,
        }
    }
}
