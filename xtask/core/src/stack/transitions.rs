//! The state machine of one service: phase × event → phase.
//!
//! The fields of [`Lifecycle`] are private, so only the transitions in this file write
//! phase, check and replace mark. The reducer decides when a transition happens and which
//! effects go with it.
//!
//! The first five columns are the kinds of [`Rest`]. `-` keeps the phase. `then` is the rest
//! that the caller passes or that the stop recorded. A unit test holds the table.
//!
//! | event | method | idle | backoff | stopped | succeeded | failed | starting | ready | stopping |
//! |---|---|---|---|---|---|---|---|---|---|
//! | `Apply` of a service | `apply` | - | idle | idle | idle | idle | - | - | - |
//! | `Apply` of a job | `apply_job` | - | idle | idle | - | idle | - | - | - |
//! | not wanted at rest | `rest_unwanted` | - | idle | idle | - | idle | - | - | - |
//! | done before | `skip` | succeeded | succeeded | succeeded | succeeded | succeeded | - | - | - |
//! | may start again | `retry` | - | idle | idle | idle | idle | - | - | - |
//! | new run requested | `request_replacement` | - | idle | idle | idle | idle | - | - | - |
//! | `StartFailed` | `give_up` | failed | failed | failed | failed | - | failed | - | - |
//! | can start | `begin_run` | starting | starting | starting | starting | starting | - | - | - |
//! | last `ProbePassed` | `become_ready` | - | - | - | - | - | ready | - | - |
//! | stop due, too slow | `begin_stop` | - | - | - | - | - | stopping | stopping | - |
//! | `Exited` | `leader_exited` | - | - | - | - | - | stopping | stopping | - |
//! | late `Started` | `resume_run` | - | - | - | - | - | - | - | starting |
//! | no process is left | `end_run` | - | - | - | - | - | then | then | then |
//! | `Gone` while wanted | `gone` | - | - | - | - | - | - | - | then |
//! | `Gone` while due | `gone_due` | - | - | - | - | - | - | - | idle |
//! | candidate takes over | `take_over` | - | - | - | - | - | - | ready | ready |
//!
//! `take_over` exchanges the run of a service and that of a ready candidate. The candidate is a
//! run with a lifecycle of its own, which follows the same table; `handover` decides about both.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::Run;
use super::phase::{
    Check, Health, Launched, NextCheck, Phase, Ready, Rest, Stage, Starting, Stopping,
};
use crate::snapshot::Failure;
use crate::terms::Kind;

/// What runs, whether it must be compared, and whether it must be replaced.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    phase: Phase,
    check: Check,
    replace: bool,
    run: Run,
    launched: Option<Launched>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            phase: Phase::Rest(Rest::Idle),
            check: Check::Done,
            replace: false,
            run: 0,
            launched: None,
        }
    }
}

impl Lifecycle {
    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(crate) fn check(&self) -> Check {
        self.check
    }

    /// Whether the run must end so that a new run can take its place.
    pub(crate) fn replaces(&self) -> bool {
        self.replace
    }

    /// The number of the last run, 0 before the first.
    pub(crate) fn run(&self) -> Run {
        self.run
    }

    /// What the last run was started as.
    pub(crate) fn launched(&self) -> Option<&Launched> {
        self.launched.as_ref()
    }

    /// A new plan names the service. It keeps only the success of a job that stays a job.
    pub(super) fn apply(&mut self, kind: Kind) {
        match &mut self.phase {
            Phase::Rest(rest) | Phase::Stopping(Stopping { then: rest, .. }) => {
                if kind != Kind::Job || *rest != Rest::Succeeded {
                    *rest = Rest::Idle;
                }
            }
            Phase::Starting(_) | Phase::Ready(_) => {}
        }
    }

    /// Nothing runs and nothing is wanted. A job that succeeded keeps its success.
    pub(super) fn rest_unwanted(&mut self) {
        self.check = Check::Done;
        if let Phase::Rest(rest) = &mut self.phase
            && *rest != Rest::Succeeded
        {
            *rest = Rest::Idle;
        }
    }

    /// The job is done for its data folder, so that no run is needed.
    pub(super) fn skip(&mut self) {
        if let Phase::Rest(rest) = &mut self.phase {
            *rest = Rest::Succeeded;
        }
    }

    /// A service at rest may start again.
    pub(super) fn retry(&mut self) {
        if let Phase::Rest(rest) = &mut self.phase {
            *rest = Rest::Idle;
        }
    }

    /// A new run is wanted: now if nothing runs, else after the end of what runs.
    pub(super) fn request_replacement(&mut self) {
        match &mut self.phase {
            Phase::Rest(rest) | Phase::Stopping(Stopping { then: rest, .. }) => *rest = Rest::Idle,
            Phase::Starting(_) | Phase::Ready(_) => self.replace = true,
        }
    }

    /// The run stays: no new run is wanted any more.
    pub(super) fn cancel_replacement(&mut self) {
        self.replace = false;
    }

    /// The candidate becomes the run of the service, and the previous run gets its place.
    pub(super) fn take_over(&mut self, candidate: &mut Self) {
        if let (Phase::Ready(_) | Phase::Stopping(_), Phase::Starting(_) | Phase::Ready(_)) =
            (&self.phase, &candidate.phase)
        {
            core::mem::swap(&mut self.phase, &mut candidate.phase);
            core::mem::swap(&mut self.run, &mut candidate.run);
            core::mem::swap(&mut self.launched, &mut candidate.launched);
            (self.replace, candidate.replace) = (false, false);
        }
    }

    /// A service at rest has nothing to replace.
    pub(super) fn clear_replacement(&mut self) {
        if let Phase::Rest(_) = self.phase {
            self.replace = false;
        }
    }

    /// No start will be tried until the user acts or a condition changes.
    pub(super) fn give_up(&mut self, failure: Failure, reason: String) {
        if let Phase::Rest(_) | Phase::Starting(_) = self.phase {
            self.phase = Phase::Rest(Rest::Failed { failure, reason });
        }
    }

    /// Run `number` begins at `since`, with `probes` probes of which `missing` must pass.
    pub(super) fn begin_run(
        &mut self,
        number: Run,
        launched: Launched,
        since: Duration,
        deadline: Duration,
        probes: usize,
        missing: Vec<usize>,
    ) {
        if let Phase::Rest(_) = self.phase {
            self.run = number;
            self.launched = Some(launched);
            let deadline = Some(deadline);
            self.phase = Phase::Starting(Starting { since, pid: None, deadline, probes, missing });
        }
    }

    /// The process exists.
    pub(super) fn note_pid(&mut self, started: u32) {
        match &mut self.phase {
            Phase::Starting(Starting { pid, .. }) | Phase::Stopping(Stopping { pid, .. }) => {
                *pid = Some(started);
            }
            Phase::Rest(_) | Phase::Ready(_) => {}
        }
    }

    /// A probe passed.
    pub(super) fn pass_probe(&mut self, probe: usize) {
        if let Phase::Starting(starting) = &mut self.phase {
            starting.missing.retain(|missing| *missing != probe);
        }
    }

    /// All probes passed. `watchdog` is the deadline of the first ping.
    pub(super) fn become_ready(&mut self, watchdog: Option<Duration>) {
        if let Phase::Starting(Starting { pid, probes, .. }) = self.phase {
            self.phase = Phase::Ready(Ready { pid, probes, watchdog, health: Health::default() });
        }
    }

    /// Moves the deadline of a start, or that of SIGKILL up to its limit. `None` lifts the
    /// deadline of a start.
    pub(super) fn move_deadline(&mut self, new: Option<Duration>) {
        match &mut self.phase {
            Phase::Starting(Starting { deadline, .. }) => *deadline = deadline.and(new),
            Phase::Stopping(stopping) => {
                if let (Stage::Signalled { kill_at, latest }, Some(new)) =
                    (&mut stopping.stage, new)
                {
                    *kill_at = new.min(*latest);
                }
            }
            Phase::Rest(_) | Phase::Ready(_) => {}
        }
    }

    /// The service sent a watchdog ping; `next` is the deadline of the next one.
    pub(super) fn reset_watchdog(&mut self, next: Option<Duration>) {
        if let Phase::Ready(ready) = &mut self.phase {
            ready.watchdog = ready.watchdog.and(next);
        }
    }

    /// The time of the next health check.
    pub(super) fn plan_check(&mut self, next: NextCheck) {
        if let Phase::Ready(ready) = &mut self.phase {
            ready.health.next = next;
        }
    }

    /// Other checks replace those of the run.
    pub(super) fn forget_checks(&mut self) {
        if let Phase::Ready(ready) = &mut self.phase {
            ready.health = Health::default();
        }
    }

    /// A health check passed, or failed because of what it saw.
    pub(super) fn note_check(&mut self, failure: Option<String>) {
        if let Phase::Ready(Ready { health, .. }) = &mut self.phase {
            health.next = NextCheck::Off;
            health.failures = failure.as_ref().map_or(0, |_| health.failures.saturating_add(1));
            health.seen = failure;
        }
    }

    /// The run ends. No signal has been sent yet.
    pub(super) fn begin_stop(&mut self, give_up: Duration, reason: Option<String>, then: Rest) {
        let (Phase::Starting(Starting { pid, .. }) | Phase::Ready(Ready { pid, .. })) = self.phase
        else {
            return;
        };
        let stage = Stage::Unstarted { give_up };
        self.phase = Phase::Stopping(Stopping { pid, stage, exited: false, reason, then });
    }

    /// The leader of a run exited, and the rest of its group has to end as well.
    pub(super) fn leader_exited(&mut self, give_up: Duration, reason: String, then: Rest) {
        self.begin_stop(give_up, Some(reason), then);
        self.note_exit();
    }

    /// The leader of a run that is stopping exited.
    pub(super) fn note_exit(&mut self) {
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.exited = true;
        }
    }

    /// A stop reached its next stage.
    pub(super) fn set_stage(&mut self, stage: Stage) {
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.stage = stage;
        }
    }

    /// What was to follow a stop is no longer wanted.
    pub(super) fn reset_then(&mut self) {
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.then = Rest::Idle;
        }
    }

    /// A stop that has sent no signal waits for dependents: the run continues, without a
    /// deadline and with all probes missing, until they have ended.
    pub(super) fn resume_run(&mut self, since: Duration, probes: usize) {
        if let Phase::Stopping(Stopping { pid, .. }) = self.phase {
            let missing = (0..probes).collect();
            self.replace = true;
            self.phase = Phase::Starting(Starting { since, pid, deadline: None, probes, missing });
        }
    }

    /// The run is over without a process to wait for.
    pub(super) fn end_run(&mut self, then: Rest) {
        if !matches!(self.phase, Phase::Rest(_)) {
            self.phase = Phase::Rest(then);
        }
    }

    /// Nothing is left of the run. What the stop recorded follows, unless the run was due.
    pub(super) fn gone(&mut self, wanted: bool) {
        let Phase::Stopping(stopping) = &self.phase else { return };
        let due = !wanted || self.replace;
        let then = if due { Rest::Idle } else { stopping.then.clone() };
        if then != Rest::Succeeded {
            self.check = Check::Done;
        }
        self.replace = false;
        self.phase = Phase::Rest(then);
    }

    /// What runs must be compared with what is wanted. A comparison that the user asked for
    /// stays announced.
    pub(super) fn request_check(&mut self, announced: bool) {
        match self.check {
            Check::Restart => {}
            Check::Announced if !announced => {}
            _ if announced => self.check = Check::Announced,
            _ => self.check = Check::Silent,
        }
    }

    /// What runs must be replaced, whatever the comparison finds.
    pub(super) fn request_restart(&mut self) {
        self.check = Check::Restart;
    }

    /// The comparison is impossible for now.
    pub(super) fn defer_check(&mut self) {
        self.check = Check::Deferred;
    }

    /// No comparison is due.
    pub(super) fn clear_check(&mut self) {
        self.check = Check::Done;
    }
}

#[cfg(test)]
mod tests;
