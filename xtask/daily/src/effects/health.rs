//! Performs health checks of ready services.
//!
//! A run in which a signal has stopped a process cannot answer, for example under a debugger. Its
//! check is repeated once the process continues, so it never counts as failed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::{Run, stopped_text};
use xtask_core::terms::Name;

use super::World;
use super::active_run::{ActiveRun, Process};
use super::logs::file::LogFile;
use super::probe::{self, question};
use crate::system::group::Leader;
use crate::system::members::{Orphans, pids_of, stopped_of};
use crate::system::task;

/// How often a stopped run is looked at.
const PAUSE: Duration = Duration::from_millis(200);

impl World {
    /// Asks a ready service once. Answers with one event.
    pub(super) fn check_health(&mut self, service: &Name, run: Run, question: PreparedProbe) {
        let events = self.events(service, run);
        let leader = match self.runs.get(&(service.clone(), run)) {
            Some(ActiveRun { process: Process::Child(leader), .. }) => Some(Arc::clone(leader)),
            _ => None,
        };
        let log = self.log(service);
        task::spawn(async move {
            let failure = loop {
                let failure = question::ask(&question, probe::CALL_TIMEOUT).await.err();
                let Some(leader) = leader.as_ref().filter(|_| failure.is_some()) else {
                    break failure;
                };
                if !wait_while_stopped(leader, run, &log).await {
                    break failure;
                }
            };
            events.health_checked(failure.map(|error| error.to_string()));
        });
    }
}

/// Waits until no process of a run is stopped. Returns whether one was, which the log names.
async fn wait_while_stopped(leader: &Leader, run: Run, log: &Mutex<LogFile>) -> bool {
    let stopped = || stopped_of(&pids_of(leader, &Orphans::look()));
    let Some(pid) = stopped() else { return false };
    // Trouble with the log is reported with the next line of the service.
    let _ = log.lock().unwrap_or_else(PoisonError::into_inner).note(run, &stopped_text(pid));
    while stopped().is_some() {
        tokio::time::sleep(PAUSE).await;
    }
    true
}
