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

use crate::effects::RunEvents;
use crate::effects::exit::{exec_failure, wait_for_exit};
use crate::effects::logs::Pipe;
use crate::effects::logs::lines::LogPatterns;
use crate::effects::probe::{PollingProbe, ProbeTasks};
use crate::effects::process::notify::NotifySocket;
use crate::effects::spawn::{SpawnFailure, SpawnStep};
use crate::system::group::Leader;

/// The first and the longest pause between two looks at a group whose leader ended.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Everything that belongs to one run.
#[derive(Debug)]
pub(crate) struct ProcessRun {
    /// Where its news goes.
    pub(crate) events: RunEvents,
    /// Its first process.
    pub(crate) leader: Arc<Leader>,
    /// Says whether it became its program.
    pub(crate) exec_report: OwnedFd,
    /// Its program and folder, for messages.
    pub(crate) program: String,
    /// See `program`.
    pub(crate) cwd: String,
    /// Its standard output and error.
    pub(crate) pipes: [Pipe; 2],
    /// Where it reports about itself.
    pub(crate) notify: Option<Arc<NotifySocket>>,
    /// The lines that log probes wait for.
    pub(crate) patterns: LogPatterns,
    /// The probes to start once it runs.
    pub(crate) probes: Vec<PollingProbe>,
    /// The probes that were started.
    pub(crate) tasks: ProbeTasks,
}

impl ProcessRun {
    /// From the fork to the end.
    pub(crate) async fn run(self) {
        match exec_failure(self.exec_report).await {
            Ok(None) => {}
            Ok(Some(failure)) => {
                self.leader.reap();
                self.events.start_failed(words(failure, &self.program, &self.cwd));
                return;
            }
            Err(error) => {
                self.leader.signal(Signal::KILL);
                self.leader.reap();
                self.events.start_failed(format!("cannot watch `{}`: {error}", self.program));
                return;
            }
        }
        self.events.started(self.leader.pid().as_raw_nonzero().get().unsigned_abs());

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

        let exit = wait_for_exit(&self.leader).await;

        // Its last words come before the news of its end.
        pipes.iter().for_each(|pipe| pipe.drain());
        if let Some(socket) = &self.notify {
            socket.drain();
        }
        stop_probes(&self.tasks, &self.patterns, self.notify.as_deref());
        self.events.exited(exit);

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
        self.events.gone();
    }
}

/// Ends the probes of a run.
pub(crate) fn stop_probes(
    tasks: &ProbeTasks,
    patterns: &LogPatterns,
    notify: Option<&NotifySocket>,
) {
    tasks.stop();
    patterns.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    if let Some(socket) = notify {
        socket.forget_ready();
    }
}

/// What kept a child from becoming its program, in words.
fn words(failure: SpawnFailure, program: &str, cwd: &str) -> String {
    let error = io::Error::from_raw_os_error(failure.errno);
    match failure.step {
        SpawnStep::Group => format!("cannot make a process group for `{program}`: {error}"),
        SpawnStep::Descriptors => format!("cannot hand its sockets to `{program}`: {error}"),
        SpawnStep::Folder => format!("cannot enter the working folder `{cwd}`: {error}"),
        SpawnStep::Program => {
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
