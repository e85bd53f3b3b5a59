//! Brings one service as close to the desired state as possible now.
//!
//! Only the present state counts, not its history, so that settling twice equals settling once.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::build::ProgramState;
use super::conditions::ConditionState;
use super::node::Id;
use super::phase::{Check, Launched, Phase, Rest, RunOrigin, Stage};
use super::ports::{PortState, same_ports};
use super::siblings::Outlook;
use super::{Effect, Report, Stack, messages};
use crate::snapshot::Failure;

impl Stack {
    pub(super) fn settle(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if self.nodes[id].handover.of.is_some() {
            return self.settle_beside(id, effects);
        }
        self.compare(id, effects);
        self.settle_handover(id, effects);
        self.starts.startable.remove(&id);
        let delayed_until = self.nodes[id].delayed_until.take();
        match self.nodes[id].phase() {
            Phase::Rest(_) => self.settle_rest(id, delayed_until, effects),
            Phase::Starting(_) | Phase::Ready(_) => self.settle_running(id, effects),
            Phase::Stopping(_) => self.escalate(id, effects),
        }
    }

    fn settle_rest(&mut self, id: Id, delayed_until: Option<Duration>, effects: &mut Vec<Effect>) {
        self.nodes[id].lifecycle.clear_replacement();
        if !self.nodes[id].wanted {
            self.nodes[id].lifecycle.rest_unwanted();
            self.forget_bind_failure(id);
            self.release_ports(id, effects);
            self.port_waiters.remove(&id);
            return;
        }
        if self.nodes[id].is_done() {
            self.nodes[id].lifecycle.skip();
        }
        match self.nodes[id].phase() {
            Phase::Rest(Rest::Idle) => self.settle_idle(id, delayed_until, effects),
            Phase::Rest(Rest::Backoff { until, .. }) => {
                if *until <= self.now {
                    self.nodes[id].lifecycle.retry();
                    self.settle_idle(id, None, effects);
                }
            }
            Phase::Rest(Rest::Failed { failure: Failure::Dependency, .. }) => {
                // It waits again if its dependency has recovered.
                self.nodes[id].lifecycle.retry();
                self.settle_idle(id, None, effects);
            }
            Phase::Rest(Rest::Stopped { .. } | Rest::Failed { .. }) => {
                self.release_ports(id, effects);
            }
            Phase::Rest(Rest::Succeeded) => {}
            Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_) => {}
        }
    }

    /// Starts a wanted service without a run, gives it up, or waits. `delayed_until` is the end
    /// of a `--slow` delay that has begun.
    fn settle_idle(&mut self, id: Id, delayed_until: Option<Duration>, effects: &mut Vec<Effect>) {
        self.nodes[id].lifecycle.clear_check();
        if let Some((failure, reason)) = self.own_obstacle(id) {
            return self.fail(id, failure, reason, effects);
        }
        if self.nodes[id].program() == ProgramState::Pending {
            // Bind first, so that callers queue during the build.
            return self.request_ports(id, effects);
        }
        if self.numbers(id).is_none() {
            // Other services may only need the address, whatever happens to this one.
            self.request_ports(id, effects);
        }
        if let Some(reason) = self.impossible_reason(id) {
            return self.fail(id, Failure::Dependency, reason, effects);
        }
        self.request_ports(id, effects);
        if let Some(reason) = self.inspection_obstacle(id) {
            return self.fail(id, Failure::Start, reason, effects);
        }
        if self.all_conditions_hold(id)
            && self.has_ports(id)
            && self.restarting_dependent(id).is_none()
            && !self.awaits_run_beside(id)
        {
            self.start_in_turn(id, delayed_until, effects);
        }
    }

    /// Why this service cannot start, regardless of other services.
    fn own_obstacle(&self, id: Id) -> Option<(Failure, String)> {
        let node = &self.nodes[id];
        if node.is_external() && self.numbers(id).is_none() {
            let reason = "the ports of an `external` service need fixed numbers".to_string();
            return Some((Failure::Start, reason));
        }
        if let PortState::Failed(failure, reason) = &node.ports.state {
            return Some((*failure, reason.clone()));
        }
        let ProgramState::Failed(message) = node.program() else { return None };
        Some((Failure::Build, message.to_string()))
    }

    /// Gives a service up. Its sockets close, so that callers are refused.
    pub(super) fn fail(
        &mut self,
        id: Id,
        failure: Failure,
        reason: String,
        effects: &mut Vec<Effect>,
    ) {
        self.nodes[id].lifecycle.give_up(failure, reason);
        self.release_ports(id, effects);
    }

    pub(super) fn settle_running(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if self.nodes[id].is_due() {
            self.replace_deferred_dependents(id);
            self.stop_unless_needed(id, effects);
            return;
        }
        let is_late = |deadline: Option<Duration>| deadline.is_some_and(|at| at <= self.now);
        match self.nodes[id].phase() {
            Phase::Starting(starting) if is_late(starting.deadline) => self.time_out(id, effects),
            Phase::Ready(ready) if is_late(ready.watchdog) => self.kill_unresponsive(id, effects),
            Phase::Ready(_) => self.check_health(id, effects),
            Phase::Starting(_) | Phase::Rest(_) | Phase::Stopping(_) => {}
        }
    }

    /// Compares the run with what is wanted, once both are known.
    fn compare(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        let comparable = node.is_running() || *node.phase() == Phase::Rest(Rest::Succeeded);
        let check = node.lifecycle.check();
        if check == Check::Done || node.is_building() || !node.wanted || !comparable {
            return;
        }
        if check != Check::Restart && node.is_done() && !node.is_running() {
            // Another program or other settings are no reason to do it again.
            return self.nodes[id].lifecycle.clear_check();
        }
        let comparison = match check {
            Check::Restart => Comparison::Other(None),
            _ => self.comparison(id),
        };
        let outlook = match comparison {
            Comparison::Other(_) if self.nodes[id].is_running() => self.port_outlook(id, effects),
            _ => Outlook::Free,
        };
        let lifecycle = &mut self.nodes[id].lifecycle;
        match (&comparison, &outlook) {
            (_, Outlook::Pending) => return,
            (Comparison::Coming, _) => {}
            (Comparison::Unsaid, _) => lifecycle.defer_check(),
            (Comparison::Same | Comparison::Other(_), _) => lifecycle.clear_check(),
        }
        let announced = check == Check::Announced;
        // A run that can no longer be rendered keeps running.
        let is_unsaid = comparison == Comparison::Unsaid;
        self.nodes[id].observed.outdated =
            if is_unsaid { self.render(id).err().map(|error| error.to_string()) } else { None };
        if comparison == Comparison::Same {
            self.drop_other_candidate(id);
        }
        // The user may ask for another run of the same program.
        let coming = check != Check::Restart && self.keep_candidate(id);
        let node = &mut self.nodes[id];
        let kept = comparison == Comparison::Same && !node.lifecycle.replaces();
        if kept {
            // A command that leaves a run alone leaves its context alone.
            node.contexts.requested = None;
        }
        match (comparison, outlook) {
            // What cannot start leaves what runs alone.
            (Comparison::Other(_), Outlook::Refused(refusal)) => {
                node.ports.refusal = Some(refusal);
                if !node.follows {
                    // An earlier request may have waited for dependents to stop.
                    node.lifecycle.cancel_replacement();
                    node.handover.defers_dependents = false;
                    node.due_reason = None;
                }
            }
            (Comparison::Other(_), _) if coming => {}
            (Comparison::Other(reason), _) => self.replace(id, reason),
            (Comparison::Same, _) if kept && announced && node.is_running() => {
                let service = node.spec.name.clone();
                effects.push(Effect::Report(Report::AlreadyRunning { service }));
            }
            (Comparison::Same | Comparison::Coming | Comparison::Unsaid, _) => {}
        }
    }

    /// Compares the last run with what would be started now.
    fn comparison(&self, id: Id) -> Comparison {
        let node = &self.nodes[id];
        let other = |what: &str| Comparison::Other(Some(what.to_string()));
        let Some(launched) = node.lifecycle.launched() else {
            // A job that was skipped, and is no longer done.
            return Comparison::Other(None);
        };
        if launched.kind != node.spec.kind {
            return other(messages::KIND_CHANGED);
        }
        if (launched.origin == RunOrigin::Unmanaged) != node.is_external() {
            return other(messages::PROGRAM_CHANGED);
        }
        if !same_ports(&launched.ports, &node.spec.ports) {
            return other(messages::PORTS_CHANGED);
        }
        // Before the addresses: if the sockets of two services that call each other change, each
        // would wait for the address of the other.
        let started = launched.command.as_ref().filter(|_| launched.origin == RunOrigin::Started);
        if started.is_some_and(|command| command.sockets != node.spec.inherited_sockets()) {
            return other(messages::SOCKETS_CHANGED);
        }
        if node.edges.known().any(|on| self.address_state(on) == ConditionState::Pending) {
            return Comparison::Coming;
        }
        if node.is_adopted() {
            return match self.is_as_adopted(id, launched) {
                true => Comparison::Same,
                false => other(messages::ADOPTED_DIFFERS),
            };
        }
        match self.render(id) {
            Ok(wanted) => match difference(launched, &wanted) {
                None => Comparison::Same,
                different => Comparison::Other(different),
            },
            Err(_) => Comparison::Unsaid,
        }
    }

    /// Sends the next signal of a stop that is overdue.
    pub(super) fn escalate(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if self.nodes[id].is_due() {
            self.nodes[id].lifecycle.reset_then();
        }
        let Phase::Stopping(stopping) = self.nodes[id].phase() else { return };
        let late = stopping.stage.deadline().is_some_and(|deadline| deadline <= self.now);
        match stopping.stage {
            Stage::Signalled { .. } if late || self.is_killing() => self.kill(id, effects),
            Stage::Unstarted { .. } | Stage::Killed { .. } if late => self.lose(id, effects),
            Stage::Unstarted { .. }
            | Stage::Signalled { .. }
            | Stage::Killed { .. }
            | Stage::Lost => {}
        }
    }
}

/// How a run compares with what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    /// An address that it names will be known.
    Coming,
    /// An address that it names is unknown.
    Unsaid,
    Same,
    /// Another run is wanted, for this reason or because the user asked for one.
    Other(Option<String>),
}

/// What differs between two launches of a service, none if they run the same program with the
/// same settings. Different probes, watchdogs or places of the program do not count: they are no
/// reason to end a run.
pub(super) fn difference(left: &Launched, right: &Launched) -> Option<String> {
    let (old, new) = match (&left.command, &right.command) {
        (Some(old), Some(new)) => (old, new),
        (None, None) => return None,
        (Some(_), None) | (None, Some(_)) => return Some(messages::PROGRAM_CHANGED.to_string()),
    };
    let same_program = match (left.content, right.content) {
        (Some(old), Some(new)) => old == new,
        (None, None) => old.program == new.program,
        (Some(_), None) | (None, Some(_)) => false,
    };
    let changes = [
        (!same_program, messages::PROGRAM_CHANGED),
        (old.args != new.args, "its arguments changed"),
        (old.cwd != new.cwd, "its working directory changed"),
        (old.user != new.user, "its account changed"),
        (old.sockets != new.sockets, messages::SOCKETS_CHANGED),
        (old.container != new.container, "its container changed"),
    ];
    if let Some((_, reason)) = changes.iter().find(|(changed, _)| *changed) {
        return Some((*reason).to_string());
    }
    (old.env != new.env).then(|| messages::variables_changed(&old.env, &new.env))
}
