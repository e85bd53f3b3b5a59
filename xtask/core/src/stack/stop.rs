//! How a run ends, and what follows: stop signal, SIGKILL, restart with a pause, or failure.
//!
//! `settle` decides which runs have to end.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::Exit;
use super::node::{Done, Id, Node};
use super::phase::{PATIENCE, Phase, Rest, Stage};
use super::{Effect, Ending, Signal, Stack, messages, unexpected};
use crate::snapshot::Failure;
use crate::terms::{Restart, duration};

/// How far `EXTEND_TIMEOUT_USEC=` can postpone SIGKILL, so that every stop ends.
pub(super) const LONGEST_EXTENSION: Duration = Duration::from_secs(300);

/// The first pause before a restart. It doubles with each restart.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The number of restarts within [`WINDOW`] after which a service is given up.
const MOST_TRIES: usize = 5;

/// The window of [`MOST_TRIES`].
const WINDOW: Duration = Duration::from_secs(60);

impl Stack {
    pub(super) fn is_killing(&self) -> bool {
        self.ending == Ending::Kill
    }

    /// Stops a due run, unless a dependent that is ending still needs it.
    pub(super) fn stop_unless_needed(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if !self.is_killing() && self.stopping_dependent(id).is_some() {
            return;
        }
        let reason = self.nodes[id].due_reason.clone();
        self.stop(id, Rest::Idle, reason, effects);
    }

    /// Stops a run. `then` follows when its process group is gone.
    pub(super) fn stop(
        &mut self,
        id: Id,
        then: Rest,
        reason: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        if self.nodes[id].is_adopted() {
            return self.release(id, then, effects);
        }
        self.stop_probes(id, effects);
        if !self.nodes[id].is_alive() {
            return self.nodes[id].lifecycle.end_run(then);
        }
        let give_up = self.now.saturating_add(PATIENCE);
        self.nodes[id].lifecycle.begin_stop(give_up, reason, then);
        if self.nodes[id].pid().is_some() {
            self.send_stop_signal(id, effects);
        } else {
            // Creating a container takes time, and pulling its image takes longer.
            let node = &self.nodes[id];
            effects.push(Effect::CancelStart { service: node.spec.name.clone(), run: node.run() });
        }
    }

    /// Sends the stop signal, or SIGKILL if the stack is being killed.
    pub(super) fn send_stop_signal(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if self.is_killing() {
            return self.kill(id, effects);
        }
        let signal = Signal::Stop(self.nodes[id].spec.stop.signal.clone());
        let kill_at = self.now.saturating_add(self.nodes[id].spec.stop.timeout);
        let latest = kill_at.saturating_add(LONGEST_EXTENSION);
        self.nodes[id].lifecycle.set_stage(Stage::Signalled { kill_at, latest });
        self.signal(id, signal, effects);
    }

    pub(super) fn kill(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let give_up = self.now.saturating_add(PATIENCE);
        self.nodes[id].lifecycle.set_stage(Stage::Killed { give_up });
        self.signal(id, Signal::Kill, effects);
    }

    /// Gives up a run that survived SIGKILL. No new run replaces it.
    pub(super) fn lose(&mut self, id: Id, effects: &mut Vec<Effect>) {
        self.nodes[id].lifecycle.set_stage(Stage::Lost);
        let node = &self.nodes[id];
        let (name, run) = (&node.spec.name, node.run());
        unexpected(effects, format!("`{name}` (run {run}) {}", messages::LOST));
    }

    fn signal(&self, id: Id, signal: Signal, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        effects.push(Effect::Signal { service: node.spec.name.clone(), run: node.run(), signal });
    }

    /// Stops the probes of a run that is not ready.
    fn stop_probes(&self, id: Id, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        if matches!(node.phase(), Phase::Starting(starting) if !starting.missing.is_empty()) {
            effects.push(Effect::StopProbes { service: node.spec.name.clone(), run: node.run() });
        }
    }

    /// Ends the stack once no service holds its dependencies.
    pub(super) fn end_if_over(&mut self, effects: &mut Vec<Effect>) {
        if matches!(self.ending, Ending::Shutdown | Ending::Kill) && self.holding == 0 {
            self.ending = Ending::Over;
            effects.push(Effect::End);
        }
    }

    /// What follows a run whose leader exited.
    pub(super) fn after_exit(&mut self, id: Id, exit: Exit, reason: &str) -> Rest {
        if self.nodes[id].is_due() { Rest::Idle } else { self.after_end(id, exit, reason) }
    }

    /// What follows a run that ended by itself.
    fn after_end(&mut self, id: Id, exit: Exit, reason: &str) -> Rest {
        let node = &self.nodes[id];
        let well = exit == Exit::Code(0);
        if node.is_job() && well {
            return Rest::Succeeded;
        }
        match node.spec.restart {
            Restart::Always => self.try_again(id, reason),
            Restart::OnFailure if !well => self.try_again(id, reason),
            Restart::OnFailure | Restart::No if well && node.is_ready() => {
                let clue = node.observed.clue.map_or("", messages::exit_clue);
                Rest::Stopped { reason: format!("exited by itself with status 0{clue}") }
            }
            Restart::OnFailure | Restart::No => {
                let when = if well { " before it was ready" } else { "" };
                let clue = node.observed.clue.map_or("", messages::exit_clue);
                self.give_up(id, format!("{reason}{when}{clue}"))
            }
        }
    }

    /// Restarts after a pause, or gives up after too many restarts.
    pub(super) fn try_again(&mut self, id: Id, reason: &str) -> Rest {
        let now = self.now;
        let Node { retries, observed, .. } = &mut self.nodes[id];
        let clue = observed.clue.map_or("", messages::exit_clue);
        retries.again.retain(|at| now.saturating_sub(*at) < WINDOW);
        // An end that a test injected does not count against the service.
        let asked_for = observed.fault.is_some();
        let tries = if asked_for { 0 } else { retries.again.len() };
        if tries >= MOST_TRIES {
            let window = duration::spell(WINDOW);
            return self.give_up(
                id,
                format!("{reason}{clue}; started again {tries} times within {window}"),
            );
        }
        if !asked_for {
            retries.again.push(now);
        }
        retries.restarts += 1;
        let doubled = FIRST_PAUSE.saturating_mul(1 << tries.min(16));
        self.replace_dependents(id);
        Rest::Backoff {
            until: now.saturating_add(doubled.min(LONGEST_PAUSE)),
            reason: format!("{reason}{clue}"),
        }
    }

    fn give_up(&self, id: Id, reason: String) -> Rest {
        let ready = self.nodes[id].retries.was_ready;
        let failure = if ready { Failure::Died } else { Failure::Start };
        Rest::Failed { failure, reason }
    }

    /// Stops the rest of the process group after its leader exited.
    pub(super) fn stop_after_exit(
        &mut self,
        id: Id,
        then: Rest,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        if then == Rest::Succeeded {
            let since = self.nodes[id].starting().map(|starting| starting.since);
            self.nodes[id].observed.ready = since.map(|since| self.now.saturating_sub(since));
            self.nodes[id].observed.ready_at = Some(self.now);
            if self.nodes[id].spec.once {
                self.nodes[id].done = Done::Here;
                effects.push(Effect::MarkDone { service: self.nodes[id].spec.name.clone() });
            }
        }
        let give_up = self.now.saturating_add(PATIENCE);
        self.nodes[id].lifecycle.leader_exited(give_up, reason, then);
        // A run that never reported `Started` has no pid to signal.
        if self.nodes[id].pid().is_some() {
            self.send_stop_signal(id, effects);
        }
    }

    /// Stops a run that was not ready in time. It is not restarted, because the next run would
    /// be as slow.
    pub(super) fn time_out(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        let seen = self.missing_probes(id).join(", ");
        if let Some(then) = self.unready(id, &seen) {
            return self.stop(id, then, None, effects);
        }
        let mut reason = if node.is_external() {
            format!("not running: {seen}")
        } else {
            let limit = duration::spell(node.spec.start_timeout);
            match (&node.observed.status, seen.is_empty()) {
                (Some(status), _) => {
                    format!("not ready within {limit}: {seen}; its status is `{status}`")
                }
                (None, false) => format!("not ready within {limit}: {seen}"),
                (None, true) => format!("not started within {limit}"),
            }
        };
        let elsewhere = &self.nodes[id].observed.elsewhere;
        if !elsewhere.is_empty() {
            reason += &format!("; {}", messages::elsewhere(elsewhere));
        }
        if let Some(blocked) = self.blocked(id) {
            reason += &format!("; {blocked}");
        }
        let then = Rest::Failed { failure: Failure::Timeout, reason: reason.clone() };
        self.stop(id, then, Some(reason), effects);
    }

    /// Kills a run that missed its watchdog deadline. That counts as a crash.
    pub(super) fn kill_unresponsive(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let every = self.nodes[id].spec.watchdog.unwrap_or_default();
        let reason = format!("sent no `WATCHDOG=1` for {}", duration::spell(every));
        let then = self.after_end(id, Exit::Signal(9), &reason);
        self.nodes[id].lifecycle.begin_stop(self.now, Some(reason), then);
        self.kill(id, effects);
    }

    /// The probes that have not passed, each with its last result.
    pub(crate) fn missing_probes(&self, id: Id) -> Vec<String> {
        let node = &self.nodes[id];
        let missing = node.starting().into_iter().flat_map(|starting| &starting.missing);
        missing
            .filter_map(|index| {
                let probe = node.spec.probes.get(*index)?;
                let what = messages::probe(node.lifecycle.launched(), probe);
                let seen = node.observed.seen.get(*index).and_then(Option::as_deref);
                Some(messages::seen(&what, seen))
            })
            .collect()
    }
}
