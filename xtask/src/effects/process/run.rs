//! Follows one run from fork to end: the exec, the exit of its leader, the end of its group.
//!
//! Each run has one task, which reads top to bottom. The leader is reaped after its group is
//! empty, so that a signal to the group cannot reach an unrelated process.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::effects::RunEvents;
use crate::effects::error::Error;
use crate::effects::exit::{wait_for_exec, wait_for_exit};
use crate::effects::logs::Pipe;
use crate::effects::logs::lines::LogPatterns;
use crate::effects::probe::{PollingProbe, ProbeTasks};
use crate::effects::process::notify::NotifySocket;
use crate::system::group::Leader;

/// The first and the longest pause between two checks of a group whose leader has exited.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Everything that belongs to one run.
#[derive(Debug)]
pub(crate) struct ProcessRun {
    pub(crate) events: RunEvents,
    pub(crate) leader: Arc<Leader>,
    /// See [`crate::effects::spawn::Spawned`].
    pub(crate) exec_report: OwnedFd,
    /// The program, for messages.
    pub(crate) program: String,
    /// The working folder, for messages.
    pub(crate) cwd: String,
    /// Standard output and standard error.
    pub(crate) pipes: [Pipe; 2],
    pub(crate) notify: Option<Arc<NotifySocket>>,
    pub(crate) patterns: LogPatterns,
    /// The probes to start once the program is executed.
    pub(crate) probes: Vec<PollingProbe>,
    /// The probes that were started.
    pub(crate) tasks: ProbeTasks,
}

impl ProcessRun {
    /// Follows the run to its end.
    pub(crate) async fn follow(self) {
        if let Err(failure) = wait_for_exec(&self.leader, self.exec_report).await {
            self.events.start_failed(Error::of_spawn(failure, &self.program, &self.cwd));
            return;
        }
        self.events.started(self.leader.id().unsigned_abs());

        let output = OutputTasks::start(self.pipes, self.notify);
        for probe in self.probes {
            self.tasks.start(probe);
        }

        let exit = wait_for_exit(&self.leader).await;

        output.drain();
        stop_probes(&self.tasks, &self.patterns, output.notify.as_deref());
        self.events.exited(exit);

        let (mut pause, longest) = PAUSES;
        while self.leader.has_survivors() {
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(longest);
        }
        self.leader.reap();
        output.finish();
        self.events.gone();
    }
}

/// Reads what a run prints and reports.
pub(crate) struct OutputTasks {
    pipes: [Arc<Pipe>; 2],
    pub(crate) notify: Option<Arc<NotifySocket>>,
    listening: Option<tokio::task::AbortHandle>,
}

impl OutputTasks {
    /// Starts to read the pipes and the notify socket of a run.
    pub(crate) fn start(pipes: [Pipe; 2], notify: Option<Arc<NotifySocket>>) -> Self {
        let pipes = pipes.map(Arc::new);
        for pipe in pipes.clone() {
            tokio::spawn(async move { pipe.read_to_end().await });
        }
        let listening = notify
            .clone()
            .map(|socket| tokio::spawn(async move { socket.listen().await }).abort_handle());
        Self { pipes, notify, listening }
    }

    /// Reads what is there now. Call this when the leader has exited and before that is reported,
    /// so that its last lines precede its exit.
    pub(crate) fn drain(&self) {
        self.pipes.iter().for_each(|pipe| pipe.drain());
        if let Some(socket) = &self.notify {
            socket.drain();
        }
    }

    /// Reads what the rest of the group printed, and closes the notify socket. Processes that left
    /// the group may still print.
    pub(crate) fn finish(self) {
        if let Some(listening) = self.listening {
            listening.abort();
        }
        self.pipes.iter().for_each(|pipe| pipe.drain());
    }
}

/// Stops every probe of a run.
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
