//! Spawns a process with its own fork and exec, which inherited sockets need.
//!
//! `std::process::Command` cannot set a variable to the pid of the child (`LISTEN_PID`). A hook of
//! it that moves descriptors to 3 and up can overwrite the pipe that reports a failed exec. Here
//! everything is prepared before the fork. Between fork and exec the child does not allocate,
//! take a lock or touch the environment.
//!
//! Only the main thread of the supervisor spawns, because the death signal of a child is tied to
//! the thread that forked it. [`crate::effects::exit`] waits for the process.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libc::{c_char, c_int};
use rustix::process::Pid;
use xtask_client::context::Context;

use crate::effects::error::Error;
use crate::system::group::Leader;
use crate::system::sweep::Mark;

/// The first descriptor of inherited sockets, as `sd_listen_fds` has it.
pub(crate) const FIRST_SOCKET: RawFd = 3;

/// Digits reserved for a process id in the environment.
const PID_DIGITS: usize = 10;

#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) program: CString,
    pub(crate) args: Vec<CString>,
    /// The whole environment, as `NAME=VALUE`.
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: CString,
    pub(crate) inherited: Inherited,
}

/// What a child gets from the command that started it, besides variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited {
    umask: Option<libc::mode_t>,
    nice: Option<c_int>,
    limits: Vec<(u32, libc::rlimit)>,
}

impl Inherited {
    pub(crate) fn of(context: &Context) -> Self {
        let limits = context.limits.iter().map(|limit| {
            let (soft, hard) = (limit.soft as libc::rlim_t, limit.hard as libc::rlim_t);
            (limit.resource, libc::rlimit { rlim_cur: soft, rlim_max: hard })
        });
        let (umask, nice) = (context.umask.map(|mask| mask as libc::mode_t), context.nice);
        Self { umask, nice, limits: limits.collect() }
    }

    /// The limit of the child's stack in bytes.
    pub(crate) fn stack(&self) -> u64 {
        let stack = self.limits.iter().find(|(resource, _)| *resource == libc::RLIMIT_STACK);
        stack.map_or(u64::MAX, |(_, limit)| limit.rlim_cur)
    }
}

#[derive(Debug)]
pub(crate) struct SpawnRequest<'a> {
    pub(crate) exec: &'a Exec,
    /// The mark in its environment by which what it leaves behind is known.
    pub(crate) mark: Mark,
    /// Variables that are set to the pid of the child.
    pub(crate) pid_variables: &'static [&'static str],
    /// The standard input; the null device if there is none.
    pub(crate) input: Option<BorrowedFd<'a>>,
    pub(crate) output: [BorrowedFd<'a>; 2],
    /// Descriptors to inherit, from [`FIRST_SOCKET`] on.
    pub(crate) sockets: Vec<BorrowedFd<'a>>,
}

/// A child that was forked, and may not have executed its program yet.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// The child, which leads a group of its own.
    pub(crate) leader: Leader,
    /// A pipe that ends without a byte once the program is executed, or else with a failure. See
    /// [`crate::effects::exit::wait_for_exec`].
    pub(crate) exec_report: OwnedFd,
}

#[derive(Debug)]
pub(crate) struct SpawnFailure {
    pub(crate) step: SpawnStep,
    pub(crate) error: io::Error,
}

/// The steps from fork to exec, and the one of the supervisor that reads the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpawnStep {
    /// Includes the request for a death signal.
    CreateGroup,
    PassDescriptors,
    EnterFolder,
    Execute,
    ReadReport,
}

impl SpawnFailure {
    /// The failure in a report; none if it has other than eight bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (step, errno) = bytes.split_first_chunk::<4>()?;
        let step = match i32::from_ne_bytes(*step) {
            0 => SpawnStep::CreateGroup,
            1 => SpawnStep::PassDescriptors,
            2 => SpawnStep::EnterFolder,
            _ => SpawnStep::Execute,
        };
        let errno = i32::from_ne_bytes(errno.try_into().ok()?);
        Some(Self { step, error: io::Error::from_raw_os_error(errno) })
    }
}

impl Exec {
    /// # Errors
    /// If a text contains a NUL byte.
    pub(crate) fn new(
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<str>>,
        env: Vec<CString>,
        cwd: &str,
        inherited: Inherited,
    ) -> Result<Self, Error> {
        let text = |text: &OsStr| {
            CString::new(text.as_bytes())
                .map_err(|_| Error::ContainsNul(text.to_string_lossy().into_owned()))
        };
        let args = args.into_iter().map(|arg| text(arg.as_ref().as_ref()));
        let args = args.collect::<Result<_, _>>()?;
        Ok(Self {
            program: text(program.as_ref())?,
            args,
            env,
            cwd: text(cwd.as_ref())?,
            inherited,
        })
    }
}

/// Forks a child that executes the program. A failed exec is reported through
/// [`Spawned::exec_report`].
pub(crate) fn start(request: &SpawnRequest<'_>) -> io::Result<Spawned> {
    // Every source is above the targets, so that no move overwrites a descriptor that is still
    // needed.
    let above = FIRST_SOCKET + c_int::try_from(request.sockets.len()).unwrap_or(c_int::MAX);
    let null = std::fs::File::open("/dev/null")?;
    let mut lifted = Vec::new();
    let stdin = lift(request.input.unwrap_or(null.as_fd()), above, &mut lifted)?;
    let stdout = lift(request.output[0], above, &mut lifted)?;
    let stderr = lift(request.output[1], above, &mut lifted)?;
    let mut descriptors = vec![(stdin, 0), (stdout, 1), (stderr, 2)];
    for (place, socket) in (FIRST_SOCKET..).zip(&request.sockets) {
        descriptors.push((lift(*socket, above, &mut lifted)?, place));
    }
    let (exec_report, report) = close_on_exec_pipe()?;
    let report_fd = lift(report.as_fd(), above, &mut lifted)?;

    let args = pointers(&request.exec.args);
    let mut pid_buffers: Vec<Vec<u8>> =
        request.pid_variables.iter().map(|name| pid_buffer(name)).collect();
    let mut env = pointers(&request.exec.env);
    env.pop();
    let mut pid_slots = Vec::with_capacity(pid_buffers.len());
    for buffer in &mut pid_buffers {
        let digits = buffer.len() - PID_DIGITS - 1;
        env.push(buffer.as_ptr().cast());
        pid_slots.push(buffer[digits..].as_mut_ptr());
    }
    env.push(ptr::null());

    let prepared = Prepared {
        program: &request.exec.program,
        args: &args,
        env: &env,
        pid_slots: &pid_slots,
        cwd: &request.exec.cwd,
        descriptors: &descriptors,
        above,
        report: report_fd,
        inherited: &request.exec.inherited,
        // SAFETY: `getpid` has no preconditions.
        parent: unsafe { libc::getpid() },
    };
    Ok(Spawned { leader: Leader::spawn(request.mark.clone(), || fork(&prepared))?, exec_report })
}

/// What the child needs, as pointers into memory of the parent.
struct Prepared<'a> {
    program: &'a CStr,
    args: &'a [*const c_char],
    env: &'a [*const c_char],
    pid_slots: &'a [*mut u8],
    cwd: &'a CStr,
    descriptors: &'a [(RawFd, RawFd)],
    above: RawFd,
    report: RawFd,
    inherited: &'a Inherited,
    parent: libc::pid_t,
}

fn fork(prepared: &Prepared<'_>) -> io::Result<Pid> {
    // In a child whose handlers are not reset, a signal would run the supervisor's handler and
    // write to the supervisor's pipe.
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid memory; `sigfillset` initialises the first, and
    // `pthread_sigmask` the second. After `fork` the child only runs `in_child`,
    // which is made of async-signal-safe calls and never returns; the parent
    // restores its mask.
    let pid = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        let pid = libc::fork();
        if pid == 0 {
            in_child(prepared);
        }
        let error = io::Error::last_os_error();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        if pid < 0 {
            return Err(error);
        }
        // Parent and child both do this, so that a signal to the group always reaches the child.
        libc::setpgid(pid, pid);
        pid
    };
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork returned no process id"))
}

/// Executes the program in the forked child. Never returns.
///
/// # Safety
/// Only in a process that was just forked, with every pointer in `p` valid there.
/// Calls nothing but async-signal-safe functions.
unsafe fn in_child(p: &Prepared<'_>) -> ! {
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
        let pid = libc::getpid();
        for &slot in p.pid_slots {
            write_digits(slot, pid);
        }
        // A program that was just copied is busy while another child, forked during the copy, has
        // not executed its program.
        for _ in 0..100 {
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
    let report = [step as i32, errno()];
    // SAFETY: `report` is valid for its whole size, and `_exit` runs no handlers.
    unsafe {
        libc::write(p.report, report.as_ptr().cast(), size_of_val(&report));
        libc::_exit(127)
    }
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

/// `fd`, or a copy of it at `above` or higher, which `lifted` owns.
fn lift(fd: BorrowedFd<'_>, above: RawFd, lifted: &mut Vec<OwnedFd>) -> io::Result<RawFd> {
    if fd.as_raw_fd() >= above {
        return Ok(fd.as_raw_fd());
    }
    let copy = rustix::io::fcntl_dupfd_cloexec(fd, above)?;
    let number = copy.as_raw_fd();
    lifted.push(copy);
    Ok(number)
}

/// A pipe that is closed on exec: reading end, writing end.
pub(crate) fn close_on_exec_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(target_os = "linux")]
    {
        Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let (read, write) = rustix::pipe::pipe()?;
        for end in [&read, &write] {
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        }
        Ok((read, write))
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// `NAME=` and space for the digits and the final NUL.
fn pid_buffer(name: &str) -> Vec<u8> {
    let mut buffer = format!("{name}=").into_bytes();
    buffer.resize(buffer.len() + PID_DIGITS + 1, 0);
    buffer
}
