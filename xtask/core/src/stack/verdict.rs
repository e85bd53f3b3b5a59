//! What follows when a run ends by itself, is too slow, or goes silent: another try,
//! a pause, or the end of tries.
//!
//! The policy is here; who is told is not.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::event::Exit;
use super::node::{Id, Node, Phase, Rest, Stage, Stopping};
use super::phase::PATIENCE;
use super::{Effect, Stack, words};
use crate::snapshot::Failure;
use crate::terms::{Restart, duration};

/// The first pause before a new try.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// So many new tries within [`WINDOW`], and no more.
const MOST_TRIES: usize = 5;

/// See [`MOST_TRIES`].
const WINDOW: Duration = Duration::from_secs(60);

impl Stack {
    /// What follows the end of a run that nobody told to end.
    pub(super) fn after_end(&mut self, id: Id, exit: Exit, reason: &str) -> Rest {
        let node = &self.nodes[id];
        let well = exit == Exit::Code(0);
        if node.is_job() && well {
            return Rest::Succeeded;
        }
        let was_ready = match node.phase {
            Phase::Ready(_) => true,
            Phase::Starting(_) | Phase::Stopping(_) | Phase::Rest(_) => false,
        };
        match node.spec.restart {
            Restart::Always => self.try_again(id, reason),
            Restart::OnFailure if !well => self.try_again(id, reason),
            Restart::OnFailure | Restart::No if well && was_ready => {
                Rest::Stopped { reason: "exited by itself with status 0".to_string() }
            }
            Restart::OnFailure | Restart::No => {
                let when = if well { " before it was ready" } else { "" };
                self.give_up(id, format!("{reason}{when}"))
            }
        }
    }

    /// A pause, or the end of tries.
    fn try_again(&mut self, id: Id, reason: &str) -> Rest {
        let now = self.now;
        let Node { series, shown, .. } = &mut self.nodes[id];
        series.again.retain(|at| now.saturating_sub(*at) < WINDOW);
        // An end that was asked for says nothing against the service.
        let asked_for = shown.fault.is_some();
        let tries = if asked_for { 0 } else { series.again.len() };
        if tries >= MOST_TRIES {
            let all =
                format!("{reason}; started again {tries} times within {}", duration::spell(WINDOW));
            return self.give_up(id, all);
        }
        if !asked_for {
            series.again.push(now);
        }
        series.restarts += 1;
        let doubled = FIRST_PAUSE.saturating_mul(1 << tries.min(16));
        self.replace_dependents(id);
        Rest::Backoff {
            until: now.saturating_add(doubled.min(LONGEST_PAUSE)),
            reason: reason.to_string(),
        }
    }

    fn give_up(&self, id: Id, reason: String) -> Rest {
        let ready = self.nodes[id].series.was_ready;
        let failure = if ready { Failure::Died } else { Failure::Start };
        Rest::Failed { failure, reason }
    }

    /// The leader of a run is gone: whatever is left of its group has to go too.
    pub(super) fn leader_is_gone(
        &mut self,
        id: Id,
        then: Rest,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        let since = match &self.nodes[id].phase {
            Phase::Starting(starting) => Some(starting.since),
            Phase::Rest(_) | Phase::Ready(_) | Phase::Stopping(_) => None,
        };
        if then == Rest::Succeeded {
            self.nodes[id].shown.ready = since.map(|since| self.now.saturating_sub(since));
        }
        let pid = self.nodes[id].pid();
        self.nodes[id].phase = Phase::Stopping(Stopping {
            pid,
            stage: Stage::Unborn { give_up: self.now.saturating_add(PATIENCE) },
            exited: true,
            reason: Some(reason),
            then,
        });
        // Of whom nobody has heard that it is there, nobody can be told.
        if pid.is_some() {
            self.tell(id, effects);
        }
    }

    /// A run that was not ready in time. Not tried again: the next try would be as slow.
    pub(super) fn time_out(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        let seen = words::list(&self.missing_probes(id));
        if let Some(then) = self.unready(id, &seen) {
            return self.stop(id, then, None, effects);
        }
        let mut reason = if node.is_external() {
            format!("not running: {seen}")
        } else {
            let limit = duration::spell(node.spec.start_timeout);
            match (&node.shown.status, seen.is_empty()) {
                (Some(status), _) => {
                    format!("not ready within {limit}: {seen}; it says `{status}`")
                }
                (None, false) => format!("not ready within {limit}: {seen}"),
                (None, true) => format!("not started within {limit}"),
            }
        };
        if let Some(blocked) = self.blocked(id) {
            reason.push_str("; ");
            reason.push_str(&blocked);
        }
        let then = Rest::Failed { failure: Failure::Timeout, reason: reason.clone() };
        self.stop(id, then, Some(reason), effects);
    }

    /// A run that promised to say that it is alive, and did not: it is killed, and that
    /// counts as a crash.
    pub(super) fn watchdog_bites(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let every = self.nodes[id].spec.watchdog.unwrap_or_default();
        let reason = format!("sent no `WATCHDOG=1` for {}", duration::spell(every));
        let then = self.after_end(id, Exit::Signal(9), &reason);
        self.nodes[id].phase = Phase::Stopping(Stopping {
            pid: self.nodes[id].pid(),
            stage: Stage::Unborn { give_up: self.now },
            exited: false,
            reason: Some(reason),
            then,
        });
        self.kill(id, effects);
    }

    /// The probes that have not passed, each with what it saw.
    pub(crate) fn missing_probes(&self, id: Id) -> Vec<String> {
        let node = &self.nodes[id];
        let missing = match &node.phase {
            Phase::Starting(starting) => starting.missing.as_slice(),
            Phase::Rest(_) | Phase::Ready(_) | Phase::Stopping(_) => &[],
        };
        let numbers = self.numbers(id);
        missing
            .iter()
            .filter_map(|index| {
                let probe = node.spec.probes.get(*index)?;
                let what = words::probe(&node.spec, numbers.as_deref(), probe);
                let seen = node.shown.seen.get(*index).and_then(Option::as_deref);
                Some(words::seen(&what, seen))
            })
            .collect()
    }
}
