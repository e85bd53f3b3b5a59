//! The life of one run after the fork: did it become its program, when did its
//! leader end, when was its group gone.
//!
//! One task for each run, top to bottom. The leader is not reaped before its group is
//! empty, so that its number cannot be reused under a signal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use xtask_core::stack::Exit;

use super::Outlet;
use super::group::Leader;
use super::lines::AwaitedLines;
use super::logs::Pipe;
use super::notify::NotifySocket;
use super::probe::{Probe, Tasks};
use super::spawn::{Failure, Step};
use super::watched::watched;

/// The first and the longest pause between two looks at a group whose leader ended.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How often a leader is looked at where the system cannot tell of its end.
const LOOK: Duration = Duration::from_millis(20);

/// Everything that belongs to one run.
#[derive(Debug)]
pub(crate) struct Life {
    /// Where its news goes.
    pub(crate) outlet: Outlet,
    /// Its first process.
    pub(crate) leader: Arc<Leader>,
    /// Says whether it became its program.
    pub(crate) outcome: OwnedFd,
    /// Its program and folder, for messages.
    pub(crate) program: String,
    /// See `program`.
    pub(crate) cwd: String,
    /// Its standard output and error.
    pub(crate) pipes: [Pipe; 2],
    /// Where it reports about itself.
    pub(crate) notify: Option<Arc<NotifySocket>>,
    /// The lines that log probes wait for.
    pub(crate) awaited: AwaitedLines,
    /// The probes to start once it runs.
    pub(crate) probes: Vec<Probe>,
    /// The probes that were started.
    pub(crate) tasks: Tasks,
}

impl Life {
    /// From the fork to the end.
    pub(crate) async fn run(self) {
        match outcome(self.outcome).await {
            Ok(None) => {}
            Ok(Some(failure)) => {
                self.leader.reap();
                self.outlet.start_failed(words(failure, &self.program, &self.cwd));
                return;
            }
            Err(error) => {
                self.leader.signal(Signal::KILL);
                self.leader.reap();
                self.outlet.start_failed(format!("cannot watch `{}`: {error}", self.program));
                return;
            }
        }
        self.outlet.started(self.leader.pid().as_raw_nonzero().get().unsigned_abs());

        let pipes = self.pipes.map(Arc::new);
        for pipe in pipes.clone() {
            tokio::spawn(async move { pipe.read_to_end().await });
        }
        let listening = self
            .notify
            .clone()
            .map(|socket| tokio::spawn(async move { socket.listen().await }).abort_handle());
        for probe in self.probes {
            self.tasks.start(probe);
        }

        let exit = ended(&self.leader).await;

        // Its last words come before the news of its end.
        pipes.iter().for_each(|pipe| pipe.drain());
        if let Some(socket) = &self.notify {
            socket.drain();
        }
        stop_probes(&self.tasks, &self.awaited, self.notify.as_deref());
        self.outlet.exited(exit);

        let (mut pause, longest) = PAUSES;
        while self.leader.has_survivors() {
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(longest);
        }
        self.leader.reap();
        if let Some(listening) = listening {
            listening.abort();
        }
        pipes.iter().for_each(|pipe| pipe.drain());
        self.outlet.gone();
    }
}

/// Ends the probes of a run.
pub(crate) fn stop_probes(tasks: &Tasks, awaited: &AwaitedLines, notify: Option<&NotifySocket>) {
    tasks.stop();
    awaited.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    if let Some(socket) = notify {
        socket.forget_ready();
    }
}

/// A child that does not outlive the task that waits for it.
#[derive(Debug)]
pub(crate) struct KillOnDrop(pub(crate) Arc<Leader>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.signal(Signal::KILL);
        if matches!(self.0.exit(), Ok(None)) && tokio::runtime::Handle::try_current().is_ok() {
            let leader = Arc::clone(&self.0);
            tokio::spawn(async move {
                ended(&leader).await;
                leader.reap();
            });
        } else {
            self.0.reap();
        }
    }
}

/// Waits until the child became its program (none), or says what kept it from that.
///
/// # Errors
/// When the pipe cannot be watched.
pub(crate) async fn outcome(pipe: OwnedFd) -> io::Result<Option<Failure>> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let pipe = watched(pipe)?;
    loop {
        let mut ready = pipe.readable().await?;
        let mut report = [0; 8];
        let read = |fd: &AsyncFd<OwnedFd>| Ok(rustix::io::read(fd.get_ref().as_fd(), &mut report)?);
        match ready.try_io(read) {
            Ok(Ok(length)) => return Ok(Failure::from_bytes(&report[..length])),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
    }
}

/// Waits until the leader ended; it stays a zombie.
pub(crate) async fn ended(leader: &Leader) -> Exit {
    wait_readable(leader).await;
    loop {
        match leader.exit() {
            Ok(Some(exit)) => return exit,
            // Somebody else reaped it: how it ended is lost.
            Err(_) => return Exit::Code(255),
            Ok(None) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Waits on the process's own descriptor, where the system has one.
async fn wait_readable(leader: &Leader) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{PidfdFlags, pidfd_open};
        let Ok(pidfd) = pidfd_open(leader.pid(), PidfdFlags::empty()) else { return };
        let Ok(pidfd) = watched(pidfd) else { return };
        let _ = pidfd.readable().await;
    }
    #[cfg(not(target_os = "linux"))]
    let _ = leader;
}

/// What kept a child from becoming its program, in words.
fn words(failure: Failure, program: &str, cwd: &str) -> String {
    let error = io::Error::from_raw_os_error(failure.errno);
    match failure.step {
        Step::Group => format!("cannot make a process group for `{program}`: {error}"),
        Step::Descriptors => format!("cannot hand its sockets to `{program}`: {error}"),
        Step::Folder => format!("cannot enter the working folder `{cwd}`: {error}"),
        Step::Program => {
            let there = std::path::Path::new(cwd).join(program).exists();
            match error.kind() {
                io::ErrorKind::NotFound if there => format!(
                    "cannot execute `{program}`: the interpreter or loader that it names is missing"
                ),
                io::ErrorKind::NotFound => format!("program `{program}` does not exist"),
                _ => format!("cannot execute `{program}`: {error}"),
            }
        }
    }
}
