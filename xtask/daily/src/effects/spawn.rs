//! Spawns a process with its own fork and exec, which inherited sockets need.
//!
//! `std::process::Command` cannot set a variable to the pid of the child (`LISTEN_PID`). A hook of
//! it that moves descriptors to 3 and up can overwrite the pipe that reports a failed exec. Here
//! everything is prepared before the child exists. The child does not allocate, take a lock or
//! touch the environment.
//!
//! On Linux the child shares the memory of the supervisor until it executes its program, and the
//! calling thread sleeps until then, as with `vfork`. A copy of the memory for each start would
//! cost more than all the rest of the start. So the caller knows at once whether the exec failed,
//! and the child can write its pid and its failure into prepared memory.
//!
//! Only the main thread of the supervisor spawns, because the death signal of a child is tied to
//! the thread that forked it. [`crate::effects::exit`] waits for the process.

mod child;

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libc::{c_char, c_int};
use rustix::process::Pid;
use xtask_control::context::Context;

use crate::effects::error::Error;
use crate::system::account::Account;
use crate::system::group::Leader;
use crate::system::mark::Mark;
#[cfg(not(target_os = "linux"))]
use child::REPORT;
use child::{PID_DIGITS, Prepared, Report, in_child};

/// The first descriptor of inherited sockets, as `sd_listen_fds` has it.
pub(crate) const FIRST_SOCKET: RawFd = 3;

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
    /// The account that the child becomes.
    account: Option<Account>,
}

impl Inherited {
    pub(crate) fn of(context: &Context) -> Self {
        let limits = context.limits.iter().map(|limit| {
            let (soft, hard) = (limit.soft as libc::rlim_t, limit.hard as libc::rlim_t);
            (limit.resource, libc::rlimit { rlim_cur: soft, rlim_max: hard })
        });
        let (umask, nice) = (context.umask.map(|mask| mask as libc::mode_t), context.nice);
        Self { umask, nice, limits: limits.collect(), account: None }
    }

    /// The same, and the child becomes this account.
    pub(crate) fn run_by(self, account: Option<Account>) -> Self {
        Self { account, ..self }
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

#[derive(Debug)]
pub(crate) struct SpawnFailure {
    pub(crate) step: SpawnStep,
    pub(crate) error: io::Error,
}

/// The steps of the supervisor, then those of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpawnStep {
    /// Until there is a child.
    Fork,
    /// Includes the request for a death signal.
    CreateGroup,
    PassDescriptors,
    EnterFolder,
    BecomeAccount,
    Execute,
}

impl From<io::Error> for SpawnFailure {
    fn from(error: io::Error) -> Self {
        Self { step: SpawnStep::Fork, error }
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

/// Starts a child that executes the program, and returns it once it does. The child leads a group
/// of its own.
///
/// # Errors
/// If the system refuses a step; then no child is left.
pub(crate) fn start(request: &SpawnRequest<'_>) -> Result<Leader, SpawnFailure> {
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
        report: &Report::default(),
        inherited: &request.exec.inherited,
        // SAFETY: `getpid` has no preconditions.
        parent: unsafe { libc::getpid() },
    };
    Leader::spawn(request.mark.clone(), || execute(&prepared))
}

/// Starts the child and returns its pid once it executes its program. A failed child is reaped.
fn execute(prepared: &Prepared<'_>) -> Result<Pid, SpawnFailure> {
    // In a child whose handlers are not reset, a signal would run the supervisor's handler and
    // write to the supervisor's pipe.
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are valid memory; `sigfillset` initialises the first, and
    // `pthread_sigmask` the second, with which the mask is restored.
    let forked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        let forked = fork(prepared);
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        forked
    };
    let pid = Pid::from_raw(forked?);
    let pid = pid.ok_or_else(|| io::Error::other("the system returned no process id"))?;
    match prepared.report.get() {
        None => Ok(pid),
        Some((step, errno)) => {
            // It is about to exit. Its pid is still taken, because it was not reaped.
            while let Err(rustix::io::Errno::INTR) =
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
            {
            }
            Err(SpawnFailure { step, error: io::Error::from_raw_os_error(errno) })
        }
    }
}

/// The stack of a child until it executes its program, in units of 16 bytes: 64 KiB. The child
/// uses less than a tenth.
#[cfg(target_os = "linux")]
const STACK_UNITS: usize = 4096;

/// Creates a child that runs [`in_child`], and returns its pid once it has executed its program or
/// has exited.
///
/// # Safety
/// Every signal must be blocked.
#[cfg(target_os = "linux")]
unsafe fn fork(prepared: &Prepared<'_>) -> io::Result<libc::pid_t> {
    extern "C" fn child(prepared: *mut libc::c_void) -> c_int {
        // SAFETY: the pointer below is to a `Prepared` that outlives the child's use of it,
        // because the parent sleeps.
        unsafe { in_child(&*prepared.cast::<Prepared<'_>>()) }
    }
    let mut stack = Vec::<u128>::with_capacity(STACK_UNITS);
    let argument = ptr::from_ref(prepared).cast_mut().cast();
    // SAFETY: `CLONE_VFORK` suspends this thread until the child has executed or exited, so the
    // child has stack and `prepared` for itself. It has its own descriptors, folder, umask and
    // signal handlers (no `CLONE_FILES`, `CLONE_FS`, `CLONE_SIGHAND`), so nothing but memory is
    // shared. Other threads keep running, so the child may not use what they may have locked:
    // `in_child` makes system calls only, and writes only to `prepared`.
    let pid = unsafe {
        let top = stack.as_mut_ptr().add(STACK_UNITS);
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        libc::clone(child, top.cast(), flags, argument)
    };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// As on Linux, with a copy of the memory. A pipe reports the exec.
///
/// # Safety
/// Every signal must be blocked.
#[cfg(not(target_os = "linux"))]
unsafe fn fork(prepared: &Prepared<'_>) -> io::Result<libc::pid_t> {
    let (read, write) = close_on_exec_pipe()?;
    let write = rustix::io::fcntl_dupfd_cloexec(&write, prepared.above + 1)?;
    REPORT.store(write.as_raw_fd(), std::sync::atomic::Ordering::Relaxed);
    // SAFETY: after `fork` the child only runs `in_child`, which is made of async-signal-safe calls
    // and never returns.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            in_child(prepared);
        }
        pid
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    drop(write);
    let mut report = [0; 8];
    if rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut report))? == report.len() {
        let (step, errno) = report.split_at(4);
        let number = |bytes: &[u8]| i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let steps = [
            SpawnStep::CreateGroup,
            SpawnStep::PassDescriptors,
            SpawnStep::EnterFolder,
            SpawnStep::BecomeAccount,
        ];
        let step = steps.into_iter().find(|known| *known as i32 == number(step));
        prepared.report.set(Some((step.unwrap_or(SpawnStep::Execute), number(errno))));
    }
    Ok(pid)
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
