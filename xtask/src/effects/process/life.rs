//! The life of one run after the fork: did it become its program, when did its
//! leader end, when was its group gone.
//!
//! One task for each run, top to bottom. The leader is not reaped before its group is
//! empty, so that its number cannot be reused under a signal.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::effects::Outlet;
use crate::effects::logs::Pipe;
use crate::effects::logs::lines::AwaitedLines;
use crate::effects::probe::{Probe, Tasks};
use crate::effects::process::exit::{ended, outcome};
use crate::effects::process::notify::NotifySocket;
use crate::effects::process::spawn::{Failure, Step};
use crate::system::group::Leader;

/// The first and the longest pause between two looks at a group whose leader ended.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

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
