//! Which services died by themselves while tests ran against them.
//!
//! It reads what the supervisor tells. A run that a test killed through its handle, and
//! one that was told to stop, died by order and is not counted.

use std::collections::BTreeSet;

use serde::Serialize;
use xtask_client::connection::update;
use xtask_client::protocol::Reply;
use xtask_client::snapshot::{Failure, Phase, ServiceSnapshot, Snapshot};
use xtask_core::stack::{Fault, Report, Run};
use xtask_core::terms::Name;

/// One run that ended without having been told to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Death {
    /// The service.
    pub(crate) service: Name,
    /// Its run.
    pub(crate) run: Run,
    /// How it ended, in the supervisor's words.
    pub(crate) reason: String,
}

/// Takes in what the supervisor says, and counts.
#[derive(Debug)]
pub(crate) struct Deaths {
    snapshot: Snapshot,
    ordered: BTreeSet<(Name, Run)>,
    found: Vec<Death>,
}

impl Deaths {
    /// Counts from this state on.
    pub(crate) fn since(snapshot: Snapshot) -> Self {
        Self { snapshot, ordered: BTreeSet::new(), found: Vec::new() }
    }

    /// Takes in one message.
    pub(crate) fn take(&mut self, reply: Reply) {
        if let Reply::Report(Report::Fault { service, run, fault }) = &reply {
            let run = (service.clone(), *run);
            match fault {
                Fault::Kill | Fault::Pause => self.ordered.insert(run),
                Fault::Resume => self.ordered.remove(&run),
            };
        }
        if !update(&mut self.snapshot, reply) {
            return;
        }
        for service in &self.snapshot.services {
            let run = (service.name.clone(), service.run);
            if has_died(service) && !self.ordered.contains(&run) {
                self.found.push(Death {
                    service: run.0.clone(),
                    run: run.1,
                    reason: service.reason.clone().unwrap_or_default(),
                });
                // Said once, in however many messages it stays so.
                self.ordered.insert(run);
            }
        }
    }

    /// Every death so far, in the order in which they were told.
    pub(crate) fn found(&self) -> &[Death] {
        &self.found
    }
}

fn has_died(service: &ServiceSnapshot) -> bool {
    match service.phase {
        Phase::Backoff => true,
        // One that was given up because of another died by order too.
        Phase::Failed => matches!(
            service.failure,
            None | Some(Failure::Start | Failure::Timeout | Failure::Died)
        ),
        Phase::Waiting
        | Phase::Building
        | Phase::Starting
        | Phase::Ready
        | Phase::Stopping
        | Phase::Stopped
        | Phase::Succeeded => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask_client::snapshot::State;

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
            supervisor_pid: 1,
            guardian_pid: None,
            held: false,
            state: State::Ready,
            services: vec![serde_json::from_value(service).unwrap()],
            deadlocks: Vec::new(),
        }
    }

    fn changed(phase: Phase, run: Run) -> Reply {
        let snapshot = snapshot(phase, run);
        Reply::Changed { state: State::Working, services: snapshot.services }
    }

    fn told(fault: Fault) -> Reply {
        Reply::Report(Report::Fault { service: "greeter".into(), run: 1, fault })
    }

    fn deaths(replies: impl IntoIterator<Item = Reply>) -> Vec<Run> {
        let mut deaths = Deaths::since(snapshot(Phase::Ready, 1));
        for reply in replies {
            deaths.take(reply);
        }
        deaths.found().iter().map(|death| death.run).collect()
    }

    #[test]
    fn a_crash_is_counted_once() {
        let replies = [Phase::Backoff, Phase::Backoff].map(|phase| changed(phase, 1));
        assert_eq!(deaths(replies), [1]);
    }

    #[test]
    fn a_service_that_gave_up_has_died() {
        assert_eq!(deaths([changed(Phase::Failed, 1)]), [1]);
    }

    #[test]
    fn what_a_test_killed_did_not_die_by_itself_but_its_next_run_may() {
        let then = [changed(Phase::Backoff, 1), changed(Phase::Ready, 2)];
        assert_eq!(deaths([told(Fault::Kill)].into_iter().chain(then)), [0; 0]);
        let then = [changed(Phase::Backoff, 1), changed(Phase::Backoff, 2)];
        assert_eq!(deaths([told(Fault::Kill)].into_iter().chain(then)), [2]);
    }

    #[test]
    fn what_dies_while_a_test_pauses_it_died_by_order_and_later_by_itself() {
        let paused = [told(Fault::Pause), changed(Phase::Backoff, 1)];
        assert_eq!(deaths(paused), [0; 0]);
        let resumed = [told(Fault::Pause), told(Fault::Resume), changed(Phase::Backoff, 1)];
        assert_eq!(deaths(resumed), [1]);
    }

    #[test]
    fn a_restart_by_order_is_no_death() {
        let replies = [Phase::Stopping, Phase::Starting, Phase::Ready];
        assert_eq!(deaths(replies.map(|phase| changed(phase, 2))), [0; 0]);
    }
}
