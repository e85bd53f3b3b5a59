//! Follows one run from its start to its end: the exit of its leader, the end of its members.
//!
//! Each run has one task, which reads top to bottom. The leader is reaped after all other members
//! have ended, so that a signal to its group cannot reach an unrelated process.

use std::sync::{Arc, PoisonError, Weak};

use tokio::task::JoinSet;
use xtask_core::stack::{Exit, ExitClue};

use crate::effects::RunEvents;
use crate::effects::exit::wait_for_exit;
use crate::effects::logs::Pipe;
use crate::effects::logs::lines::LogPatterns;
use crate::effects::probe::{PollingProbe, ProbeTasks};
use crate::effects::process::input::EmptyInput;
use crate::effects::process::notify::NotifySocket;
use crate::effects::process::reaper::Reaper;
use crate::system::group::Leader;
use crate::system::members::{Orphans, left_behind};
use crate::system::task;

/// What can pass the probes of one run: polling tasks, log patterns and the notify socket.
#[derive(Clone, Debug)]
pub(crate) struct RunProbes {
    pub(crate) tasks: ProbeTasks,
    pub(crate) patterns: LogPatterns,
    /// The task of the run owns it.
    notify: Weak<NotifySocket>,
}

impl RunProbes {
    pub(crate) fn new(notify: Option<&Arc<NotifySocket>>) -> Self {
        let (tasks, patterns) = (ProbeTasks::new(), LogPatterns::default());
        Self { tasks, patterns, notify: notify.map(Arc::downgrade).unwrap_or_default() }
    }

    /// Forwards the messages on the notify socket that have arrived.
    pub(crate) fn read_notifications(&self) {
        if let Some(socket) = self.notify.upgrade() {
            socket.drain();
        }
    }

    /// Stops the tasks, and ignores later log lines and `READY=1` messages.
    pub(crate) fn stop(&self) {
        self.tasks.stop();
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some(socket) = self.notify.upgrade() {
            socket.forget_ready();
        }
    }
}

#[derive(Debug)]
pub(crate) struct ProcessRun {
    pub(crate) events: RunEvents,
    pub(crate) leader: Arc<Leader>,
    pub(crate) reaper: Reaper,
    pub(crate) input: EmptyInput,
    pub(crate) pipes: [Pipe; 2],
    pub(crate) notify: Option<Arc<NotifySocket>>,
    pub(crate) probes: RunProbes,
    pub(crate) polling: Vec<PollingProbe>,
}

impl ProcessRun {
    pub(crate) async fn follow(self) {
        let output = OutputTasks::start(self.pipes, self.notify);
        for probe in self.polling {
            self.probes.tasks.start(probe);
        }

        let exit = wait_for_exit(&self.leader).await;

        output.drain();
        self.probes.stop();
        let clue = clue(&self.leader, &self.input, exit);
        self.events.exited(exit, clue);

        self.reaper.none_left(&self.leader).await;
        self.leader.reap();
        output.finish();
        self.events.gone();
    }
}

/// What may explain an exit that the stack did not request.
fn clue(leader: &Leader, input: &EmptyInput, exit: Exit) -> Option<ExitClue> {
    if leader.was_signalled() {
        return None;
    }
    if exit == Exit::Code(0) && !left_behind(leader, &Orphans::look()).is_empty() {
        return Some(ExitClue::LeftProcesses);
    }
    input.was_read().then_some(ExitClue::ReadEmptyInput)
}

pub(crate) struct OutputTasks {
    pipes: [Arc<Pipe>; 2],
    notify: Option<Arc<NotifySocket>>,
    /// Listens until the drop.
    _listening: JoinSet<()>,
}

impl OutputTasks {
    pub(crate) fn start(pipes: [Pipe; 2], notify: Option<Arc<NotifySocket>>) -> Self {
        let pipes = pipes.map(Arc::new);
        for pipe in pipes.clone() {
            task::spawn(async move { pipe.read_to_end().await });
        }
        let sockets = notify.clone().into_iter();
        let _listening =
            sockets.map(|socket| task::boxed(async move { socket.listen().await })).collect();
        Self { pipes, notify, _listening }
    }

    /// Reads what is there now. Call this when the leader has exited and before that is reported,
    /// so that its last lines precede its exit.
    pub(crate) fn drain(&self) {
        self.pipes.iter().for_each(|pipe| pipe.drain());
        if let Some(socket) = &self.notify {
            socket.drain();
        }
    }

    /// Reads what the other members printed, and closes the notify socket.
    pub(crate) fn finish(self) {
        self.pipes.iter().for_each(|pipe| pipe.drain());
    }
}
