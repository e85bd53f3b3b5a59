//! What becomes of SIGTERM and SIGHUP.

use std::process::exit;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::output::say;
use crate::sockets::{DRAINING, OPEN};
use crate::wanted::{HOLD, Wanted};

/// From before the socket can be connected to until the grandchildren are there SIGTERM
/// is put off: who sends it once the socket answers finds them, deaf from their start.
pub(crate) struct DeafForNow;

impl DeafForNow {
    pub(crate) fn begin() -> Self {
        mask_term(libc::SIG_BLOCK);
        // A child inherits that the signal is ignored, though not that it is blocked;
        // what is blocked is kept even while it is ignored.
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        Self
    }

    pub(crate) fn end(self, wanted: &Wanted) {
        if !wanted.has("--ignore-term") {
            // SAFETY: the default runs no code of this program.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
        }
        if !wanted.has("--drain") {
            mask_term(libc::SIG_UNBLOCK);
        }
    }
}

/// Blocks or unblocks SIGTERM for this thread and those that it starts from now on.
pub(crate) fn mask_term(how: libc::c_int) -> libc::sigset_t {
    // SAFETY: the set is made by sigemptyset before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut());
        set
    }
}

pub(crate) fn choose_signals(wanted: &Wanted) {
    if wanted.has("--ignore-term") || wanted.has(HOLD) {
        // SAFETY: no other thread runs yet, and ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    }
    if wanted.has(HOLD) {
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
    if let Some(drain) = wanted.pause("--drain") {
        // Blocked before any other thread starts, it is left to the one that waits.
        let set = mask_term(libc::SIG_BLOCK);
        thread::spawn(move || {
            let mut signal = 0;
            // SAFETY: both pointers are to live values of this thread.
            unsafe { libc::sigwait(&raw const set, &raw mut signal) };
            DRAINING.store(true, Ordering::SeqCst);
            say("draining");
            thread::sleep(drain);
            while OPEN.load(Ordering::SeqCst) > 0 {
                thread::sleep(Duration::from_millis(1));
            }
            say("drained");
            exit(0);
        });
    }
}
