//! What a spawned child does until it executes its program.
//!
//! The child may share its memory with the supervisor, whose other threads keep running. So it does
//! not allocate or take a lock: it makes system calls and writes to prepared memory.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr;

use libc::{c_char, c_int};

use super::{Inherited, SpawnStep};
use crate::system::account::Account;

/// Digits reserved for a process id in the environment.
pub(super) const PID_DIGITS: usize = 10;

/// The failure of a child, which it writes into the memory of its parent: the step and the error
/// number.
pub(super) type Report = Cell<Option<(SpawnStep, i32)>>;

/// What the child needs, as pointers into memory of the parent.
pub(super) struct Prepared<'a> {
    pub(super) program: &'a CStr,
    pub(super) args: &'a [*const c_char],
    pub(super) env: &'a [*const c_char],
    pub(super) pid_slots: &'a [*mut u8],
    pub(super) cwd: &'a CStr,
    pub(super) descriptors: &'a [(RawFd, RawFd)],
    pub(super) above: RawFd,
    pub(super) report: &'a Report,
    pub(super) inherited: &'a Inherited,
    pub(super) parent: libc::pid_t,
}

/// The pipe of [`fork`].
#[cfg(not(target_os = "linux"))]
pub(super) static REPORT: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(-1);

/// Executes the program in the child. Never returns.
///
/// # Safety
/// Only in a process that was just created, with every pointer in `p` valid there. It may share its
/// memory with the parent. Calls nothing but async-signal-safe functions.
pub(super) unsafe fn in_child(p: &Prepared<'_>) -> ! {
    // SAFETY: the caller's promise; each call gets pointers into `p` or to locals.
    unsafe {
        if libc::setpgid(0, 0) != 0 || !die_with(p.parent) {
            fail(p, SpawnStep::CreateGroup);
        }
        for &(from, to) in p.descriptors {
            if libc::dup2(from, to) < 0 {
                fail(p, SpawnStep::PassDescriptors);
            }
        }
        close_the_rest_on_exec(p.above);
        if libc::chdir(p.cwd.as_ptr()) != 0 {
            fail(p, SpawnStep::EnterFolder);
        }
        default_signals();
        inherit(p.inherited);
        if let Some(account) = &p.inherited.account {
            if !become_account(account) {
                fail(p, SpawnStep::BecomeAccount);
            }
            // The kernel has cleared it.
            if !die_with(p.parent) {
                fail(p, SpawnStep::CreateGroup);
            }
        }
        let pid = libc::getpid();
        for &slot in p.pid_slots {
            write_digits(slot, pid);
        }
        // A program that was just copied is busy while another child, created during the copy, has
        // not executed its program. The supervisor waits meanwhile, at most a tenth of a second.
        for _ in 0..50 {
            libc::execve(p.program.as_ptr(), p.args.as_ptr(), p.env.as_ptr());
            if errno() != libc::ETXTBSY {
                break;
            }
            let pause = libc::timespec { tv_sec: 0, tv_nsec: 2_000_000 };
            libc::nanosleep(&raw const pause, ptr::null_mut());
        }
        fail(p, SpawnStep::Execute)
    }
}

/// Requests a kill of this process when the thread that forked it ends.
#[cfg(target_os = "linux")]
unsafe fn die_with(parent: libc::pid_t) -> bool {
    // SAFETY: plain system calls without pointers.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return false;
        }
        // The parent may have ended before the call above.
        if libc::getppid() != parent {
            libc::_exit(127);
        }
    }
    true
}

#[cfg(not(target_os = "linux"))]
unsafe fn die_with(_parent: libc::pid_t) -> bool {
    true
}

/// Sets umask, nice value and limits. Without privileges a process cannot raise a hard limit or
/// lower its nice value: then it gets what is nearest.
unsafe fn inherit(inherited: &Inherited) {
    // SAFETY: plain system calls on locals.
    unsafe {
        if let Some(mask) = inherited.umask {
            libc::umask(mask);
        }
        for &(resource, limit) in &inherited.limits {
            if libc::setrlimit(resource as _, &raw const limit) == 0 {
                continue;
            }
            let mut nearest = limit;
            if libc::getrlimit(resource as _, &raw mut nearest) == 0 {
                nearest.rlim_cur = limit.rlim_cur.min(nearest.rlim_max);
                libc::setrlimit(resource as _, &raw const nearest);
            }
        }
        if let Some(nice) = inherited.nice {
            libc::setpriority(libc::PRIO_PROCESS, 0, nice);
        }
    }
}

/// Changes groups, group and user for good.
///
/// The functions of the C library would change all threads of the process whose memory the child
/// shares, so these are system calls.
#[cfg(target_os = "linux")]
unsafe fn become_account(account: &Account) -> bool {
    // Where numbers are shorter, these calls are other ones.
    if !cfg!(target_pointer_width = "64") {
        // SAFETY: the thread's own error number is always there.
        unsafe { *libc::__errno_location() = libc::ENOSYS };
        return false;
    }
    let (uid, gid) = (account.uid, account.gid);
    // SAFETY: plain system calls; the list is valid for its length.
    unsafe {
        libc::syscall(libc::SYS_setgroups, account.groups.len(), account.groups.as_ptr()) == 0
            && libc::syscall(libc::SYS_setresgid, gid, gid, gid) == 0
            && libc::syscall(libc::SYS_setresuid, uid, uid, uid) == 0
    }
}

#[cfg(not(target_os = "linux"))]
unsafe fn become_account(account: &Account) -> bool {
    // SAFETY: the list is valid for its length.
    unsafe {
        libc::setgroups(account.groups.len() as _, account.groups.as_ptr()) == 0
            && libc::setgid(account.gid) == 0
            && libc::setuid(account.uid) == 0
    }
}

/// Closes every other descriptor on exec, such as those that the supervisor inherited.
#[cfg(target_os = "linux")]
unsafe fn close_the_rest_on_exec(above: RawFd) {
    // SAFETY: a plain system call. An old kernel refuses it; then only descriptors that the
    // supervisor inherited stay open.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            above,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as c_int,
        );
    }
}

#[cfg(not(target_os = "linux"))]
unsafe fn close_the_rest_on_exec(_above: RawFd) {}

/// Resets the disposition of every signal, and unblocks all.
unsafe fn default_signals() {
    // SAFETY: the call gets a pointer to a local that it initialises.
    unsafe {
        for signal in 1..=64 {
            default_signal(signal);
        }
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// Uses the system call, because the C library refuses two signals, which the supervisor may have
/// inherited as ignored.
#[cfg(target_os = "linux")]
unsafe fn default_signal(signal: c_int) {
    // All-zero means the default; this is longer than the kernel's structure.
    let default = [0_usize; 16];
    let set_size = size_of::<u64>();
    let none = ptr::null_mut::<usize>();
    // SAFETY: the kernel reads from a local that is long enough, and refuses signals that cannot
    // be set.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, set_size);
    }
}

#[cfg(not(target_os = "linux"))]
unsafe fn default_signal(signal: c_int) {
    // SAFETY: all-zero is a valid `sigaction` and means the default.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, &raw const default, ptr::null_mut());
    }
}

/// Writes `pid` in decimal and a final NUL.
///
/// # Safety
/// `slot` must have room for [`PID_DIGITS`] digits and the NUL.
unsafe fn write_digits(slot: *mut u8, pid: libc::pid_t) {
    let mut digits = [0_u8; PID_DIGITS];
    let mut rest = pid.unsigned_abs();
    let mut count = 0;
    while count < PID_DIGITS && (rest > 0 || count == 0) {
        digits[count] = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
    }
    for place in 0..count {
        // SAFETY: `place` stays below `PID_DIGITS`; the caller's promise.
        unsafe { slot.add(place).write(digits[count - 1 - place]) };
    }
    // SAFETY: `count` is at most `PID_DIGITS`, where the NUL has its room.
    unsafe { slot.add(count).write(0) };
}

unsafe fn fail(p: &Prepared<'_>, step: SpawnStep) -> ! {
    p.report.set(Some((step, errno())));
    #[cfg(not(target_os = "linux"))]
    // SAFETY: the array is valid for its whole size.
    unsafe {
        let report = [step as i32, errno()];
        let pipe = REPORT.load(std::sync::atomic::Ordering::Relaxed);
        libc::write(pipe, report.as_ptr().cast(), size_of_val(&report));
    }
    // SAFETY: `_exit` runs no handlers.
    unsafe { libc::_exit(127) }
}

fn errno() -> i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: the thread's own error number is always there.
    unsafe {
        *libc::__errno_location()
    }
    #[cfg(not(target_os = "linux"))]
    // SAFETY: as above.
    unsafe {
        *libc::__error()
    }
}
