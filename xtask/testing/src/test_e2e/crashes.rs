//! Finds the services that crashed while tests ran on them.
//!
//! It reads the supervisor's messages. A run that a test stopped, or killed through its handle, is
//! not a crash.

use xtask_core::sorted::SortedSet;

use serde::Serialize;
use xtask_control::connection::update;
use xtask_control::protocol::Reply;
use xtask_core::snapshot::{Failure, Phase, ServiceSnapshot, Snapshot};
use xtask_core::stack::{Fault, Report, Run};
use xtask_core::terms::Name;

/// A run that ended unexpectedly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Crash {
    pub(crate) service: Name,
    pub(crate) run: Run,
    /// The supervisor's text.
    pub(crate) reason: String,
}

/// Collects crashes from the supervisor's messages.
#[derive(Debug)]
pub(crate) struct Crashes {
    snapshot: Snapshot,
    /// Runs with an injected fault, and runs that were counted.
    excused: SortedSet<(Name, Run)>,
    found: Vec<Crash>,
}

impl Crashes {
    /// Collects crashes after this state.
    pub(crate) fn since(snapshot: Snapshot) -> Self {
        Self { snapshot, excused: SortedSet::new(), found: Vec::new() }
    }

    pub(crate) fn apply(&mut self, reply: Reply) {
        if let Reply::Report(Report::Fault { service, run, fault }) = &reply {
            let run = (service.clone(), *run);
            match fault {
                Fault::Kill | Fault::Pause => self.excused.insert(run),
                Fault::Resume => self.excused.remove(&run),
            };
        }
        if !update(&mut self.snapshot, reply) {
            return;
        }
        for service in &self.snapshot.services {
            let run = (service.name.clone(), service.run);
            if has_crashed(service) && !self.excused.contains(&run) {
                self.found.push(Crash {
                    service: run.0.clone(),
                    run: run.1,
                    reason: service.reason.clone().unwrap_or_default(),
                });
                // Later messages repeat the state.
                self.excused.insert(run);
            }
        }
    }

    pub(crate) fn found(&self) -> &[Crash] {
        &self.found
    }
}

fn has_crashed(service: &ServiceSnapshot) -> bool {
    // A failure because of another service is not a crash.
    let own = [None, Some(Failure::Start), Some(Failure::Timeout), Some(Failure::Died)];
    service.phase == Phase::Backoff
        || service.phase == Phase::Failed && own.contains(&service.failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask_core::snapshot::State;

    fn snapshot(phase: Phase, run: Run) -> Snapshot {
        let service = serde_json::json!({
            "name": "greeter", "kind": "service", "phase": phase, "wanted": true,
            "reason": "exited with code 3", "failure": null, "waiting_on": [], "pid": null,
            "run": run, "url": null, "ports": {}, "ready_ms": null, "ready_at_ms": null,
            "restarts": 0, "seen": [], "status": null, "depends_on": [], "uses": [],
        });
        Snapshot {
            stack: "s".into(),
            workspace: "/w".into(),
            tool: None,
            supervisor_pid: 1,
            guardian_pid: None,
            held: false,
            watch: None,
            state: State::Ready,
            services: vec![serde_json::from_value(service).unwrap()],
            kept_flags: None,
            deadlocks: Vec::new(),
        }
    }

    fn changed(phase: Phase, run: Run) -> Reply {
        let snapshot = snapshot(phase, run);
        Reply::Changed { state: State::Working, services: snapshot.services }
    }

    fn injected(fault: Fault) -> Reply {
        Reply::Report(Report::Fault { service: "greeter".into(), run: 1, fault })
    }

    fn crashes(replies: impl IntoIterator<Item = Reply>) -> Vec<Run> {
        let mut crashes = Crashes::since(snapshot(Phase::Ready, 1));
        for reply in replies {
            crashes.apply(reply);
        }
        crashes.found().iter().map(|crash| crash.run).collect()
    }

    #[test]
    fn repeated_crash_message_counts_once() {
        let replies = [Phase::Backoff, Phase::Backoff].map(|phase| changed(phase, 1));
        assert_eq!(crashes(replies), [1]);
    }

    #[test]
    fn failed_service_counts_as_crash() {
        assert_eq!(crashes([changed(Phase::Failed, 1)]), [1]);
    }

    #[test]
    fn killed_run_is_excused_and_the_next_is_not() {
        let then = [changed(Phase::Backoff, 1), changed(Phase::Ready, 2)];
        assert_eq!(crashes([injected(Fault::Kill)].into_iter().chain(then)), [0; 0]);
        let then = [changed(Phase::Backoff, 1), changed(Phase::Backoff, 2)];
        assert_eq!(crashes([injected(Fault::Kill)].into_iter().chain(then)), [2]);
    }

    #[test]
    fn paused_run_is_excused_until_resumed() {
        let paused = [injected(Fault::Pause), changed(Phase::Backoff, 1)];
        assert_eq!(crashes(paused), [0; 0]);
        let resumed = [injected(Fault::Pause), injected(Fault::Resume), changed(Phase::Backoff, 1)];
        assert_eq!(crashes(resumed), [1]);
    }

    #[test]
    fn requested_restart_is_no_crash() {
        let replies = [Phase::Stopping, Phase::Starting, Phase::Ready];
        assert_eq!(crashes(replies.map(|phase| changed(phase, 2))), [0; 0]);
    }
}
