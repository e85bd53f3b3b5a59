//! Handover: a new run becomes ready on the sockets of a service before its old run stops.
//!
//! A service with socket activation and a `notify` probe is handed over. Only `READY=1` comes from
//! the candidate for certain, because the old run answers other probes on the same sockets.
//!
//! The second run of a service has a node of its own, with the service's name, without ports, and
//! with edges to the dependencies only. It is a candidate while that node is wanted. When the
//! candidate takes over, the nodes exchange their runs, and the old run stops there. So start,
//! timeout, stop and SIGKILL of both runs have the same rules, and there is no third process.
//!
//! A candidate is not restarted: if it fails, the run of the service continues until the next plan
//! or request. Only a candidate that a dependency prevented is tried again once that can be ready.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::build::{Build, BuildState, ProgramState};
use super::edges::{DependencyEdge, Edges};
use super::effect::{Effect, Report};
use super::event::Run;
use super::node::{Contexts, Id, Node};
use super::phase::{Launched, Phase, Rest, RunOrigin};
use super::ports::{PortState, same_ports};
use super::settle::difference;
use super::{Stack, messages};
use crate::plan::{Replacement, Service};
use crate::snapshot::{self, Failure};
use crate::terms::{Kind, Restart};

/// The part of a service in handovers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handover {
    /// The node of its second run; none before the first handover.
    pub(crate) beside: Option<Id>,
    /// For the node of a second run: the service.
    pub(crate) of: Option<Id>,
    /// The last candidate, if it failed.
    pub(crate) failed: Option<FailedCandidate>,
    /// Whether its run has to stop before its dependency stops or starts again.
    pub(crate) stops_first: bool,
    /// Whether dependents that restart with it wait for its new run.
    pub(crate) defers_dependents: bool,
    /// Whether its second run survived SIGKILL.
    blocked: bool,
}

/// Why a candidate did not replace the run of its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedCandidate {
    /// 0 if it could not be started.
    pub(crate) run: Run,
    pub(crate) failure: Failure,
    pub(crate) reason: String,
    /// The request for it, if a dependency prevented it: then it is tried again.
    pub(crate) again: Option<HandoverRequest>,
}

/// What asked for a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandoverRequest {
    /// The context of the command, if there was one.
    pub(crate) context: Option<u64>,
    /// Why the run of the service has to end.
    due_reason: Option<String>,
}

impl Node {
    /// Whether its run serves until a candidate is ready to replace it.
    pub(crate) fn hands_over(&self) -> bool {
        self.lifecycle.replaces()
            && self.is_ready()
            && !self.handover.stops_first
            && !self.handover.blocked
            && self.inherits_ready_sockets()
    }

    /// Whether its run and the next one can share its sockets, and the next one reports `READY=1`.
    fn inherits_ready_sockets(&self) -> bool {
        let spec = &self.spec;
        let Some(launched) = self.lifecycle.launched() else { return false };
        let Some(command) = &launched.command else { return false };
        let inherits = launched.origin == RunOrigin::Started
            && launched.kind == Kind::Service
            && command.container.is_none()
            && !command.sockets.is_empty()
            && same_ports(&launched.ports, &spec.ports);
        let requested = self.ports.requested.as_ref();
        let has_sockets = self.ports.state == PortState::Bound
            && requested.is_some_and(|(ports, listen)| *listen && same_ports(ports, &spec.ports));
        inherits && has_sockets && spec.replacement() == Some(Replacement::Handover)
    }
}

impl Stack {
    /// The service of a node, which may be that of a second run.
    pub(super) fn service_of(&self, id: Id) -> Id {
        self.nodes[id].handover.of.unwrap_or(id)
    }

    /// The other node of the same service.
    fn partner(&self, id: Id) -> Option<Id> {
        let handover = &self.nodes[id].handover;
        handover.of.or(handover.beside)
    }

    pub(super) fn enqueue_partner(&mut self, id: Id) {
        if let Some(partner) = self.partner(id) {
            self.enqueue(partner);
        }
    }

    /// The number of the last run of a service, candidates included.
    pub(super) fn last_run(&self, id: Id) -> Run {
        let partner = self.partner(id).map_or(0, |partner| self.nodes[partner].run());
        self.nodes[id].run().max(partner)
    }

    /// The candidate that may still replace the run of a service.
    pub(super) fn candidate(&self, id: Id) -> Option<Id> {
        let beside = self.nodes[id].handover.beside?;
        let node = &self.nodes[beside];
        (node.wanted && node.is_running()).then_some(beside)
    }

    /// Whether a start waits for the end of a second run.
    pub(super) fn awaits_run_beside(&self, id: Id) -> bool {
        self.nodes[id].handover.beside.is_some_and(|beside| {
            let node = &self.nodes[beside];
            !matches!(node.phase(), Phase::Rest(_)) && !node.is_lost()
        })
    }

    /// Settles the node of a second run. What begins there is decided at the service.
    pub(super) fn settle_beside(&mut self, id: Id, effects: &mut Vec<Effect>) {
        match self.nodes[id].phase() {
            Phase::Rest(_) => {}
            Phase::Starting(_) | Phase::Ready(_) => {
                self.report_superseded(id, effects);
                self.settle_running(id, effects);
            }
            Phase::Stopping(_) => self.escalate(id, effects),
        }
    }

    /// Reports a candidate that stops without a failure.
    fn report_superseded(&self, id: Id, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        let service = &self.nodes[self.service_of(id)];
        // The run that a candidate replaced is older.
        if !node.wanted && node.run() > service.run() {
            let reason = Some(messages::SUPERSEDED.to_string());
            let (service, run) = (node.spec.name.clone(), node.run());
            let phase = snapshot::Phase::Stopped;
            effects.push(Effect::Report(Report::Candidate { service, run, phase, reason }));
        }
    }

    /// Starts, ends or completes the handover of a service.
    pub(super) fn settle_handover(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if matches!(self.nodes[id].phase(), Phase::Rest(_)) {
            self.nodes[id].handover.stops_first = false;
        }
        if let Some(beside) = self.nodes[id].handover.beside {
            self.nodes[id].handover.blocked = self.nodes[beside].is_lost();
            self.note_failed_candidate(id, beside, effects);
            self.settle_candidate(id, beside, effects);
        }
        if !self.nodes[id].is_ready() {
            self.replace_deferred_dependents(id);
        }
        self.retry_handover(id);
        if self.nodes[id].wanted && self.nodes[id].hands_over() && !self.awaits_run_beside(id) {
            self.start_candidate(id, effects);
        }
    }

    /// Stops a candidate that is no longer wanted, and lets one take over that is ready. If the run
    /// of the service ends by itself, the candidate takes over before it is ready.
    fn settle_candidate(&mut self, id: Id, beside: Id, effects: &mut Vec<Effect>) {
        if self.candidate(id).is_none() {
            return;
        }
        let node = &self.nodes[id];
        if !node.wanted || (node.is_ready() && !node.hands_over()) {
            self.stop_candidate(id);
        } else if self.nodes[beside].is_ready() || !node.is_ready() {
            self.take_over(id, beside, effects);
        }
    }

    /// The candidate becomes the run of the service, and the old run stops in its place.
    fn take_over(&mut self, id: Id, beside: Id, effects: &mut Vec<Effect>) {
        // They restart in the context of the command that asked for this run.
        self.restart_dependents(id, false);
        let [node, other] = if id < beside {
            let (left, right) = self.nodes.split_at_mut(beside);
            [&mut left[id], &mut right[0]]
        } else {
            let (left, right) = self.nodes.split_at_mut(id);
            [&mut right[0], &mut left[beside]]
        };
        node.lifecycle.take_over(&mut other.lifecycle);
        core::mem::swap(&mut node.observed, &mut other.observed);
        core::mem::swap(&mut node.started_as, &mut other.started_as);
        core::mem::swap(&mut node.contexts.current, &mut other.contexts.current);
        let current = node.contexts.current;
        node.contexts.requested = node.contexts.requested.filter(|context| *context != current);
        node.retries.reset();
        node.retries.was_ready = node.is_ready();
        node.handover.defers_dependents = false;
        node.follows = false;
        other.wanted = false;
        other.due_reason = node.due_reason.take();
        let (service, run) = (node.spec.name.clone(), node.run());
        let ready = node.is_ready();
        self.enqueue(id);
        self.enqueue(beside);
        if ready {
            let phase = snapshot::Phase::Ready;
            effects.push(Effect::Report(Report::Candidate { service, run, phase, reason: None }));
        }
    }

    /// Records the failure of a candidate. The run of the service continues.
    fn note_failed_candidate(&mut self, id: Id, beside: Id, effects: &mut Vec<Effect>) {
        let node = &self.nodes[beside];
        if !node.wanted {
            return;
        }
        let (failure, reason) = match node.phase() {
            Phase::Starting(_) | Phase::Ready(_) => return,
            Phase::Rest(Rest::Failed { failure, reason }) => (*failure, reason.clone()),
            Phase::Stopping(stopping) => match &stopping.then {
                Rest::Failed { failure, reason } => (*failure, reason.clone()),
                _ => (Failure::Start, stopping.reason.clone().unwrap_or_default()),
            },
            Phase::Rest(_) => (Failure::Start, messages::SUPERSEDED.to_string()),
        };
        let run = node.run();
        self.nodes[beside].wanted = false;
        self.enqueue(beside);
        let failed = FailedCandidate { run, failure, reason, again: None };
        // A later plan that waits for its program has not failed.
        let context = self.nodes[beside].contexts.current;
        let later = self.nodes[id].contexts.requested.filter(|requested| *requested != context);
        self.give_up_handover(id, failed, effects);
        let requested = &mut self.nodes[id].contexts.requested;
        *requested = requested.or(later);
    }

    /// The run of the service stays as it is.
    fn give_up_handover(&mut self, id: Id, failed: FailedCandidate, effects: &mut Vec<Effect>) {
        let node = &mut self.nodes[id];
        if node.is_ready() {
            node.lifecycle.cancel_replacement();
            let context = node.contexts.requested.take();
            let due_reason = node.due_reason.take();
            node.follows = false;
            let again = (failed.failure == Failure::Dependency)
                .then_some(HandoverRequest { context, due_reason });
            // A request starts a new series, and this run was ready.
            node.retries.was_ready = true;
            node.handover.defers_dependents = false;
            node.handover.failed = Some(FailedCandidate { again, ..failed.clone() });
        }
        let (service, run) = (node.spec.name.clone(), failed.run);
        let (phase, reason) = (snapshot::Phase::Failed, Some(failed.reason));
        self.enqueue(id);
        effects.push(Effect::Report(Report::Candidate { service, run, phase, reason }));
    }

    /// Asks again for a candidate that a dependency prevented, once that can be ready.
    fn retry_handover(&mut self, id: Id) {
        let node = &self.nodes[id];
        let failed = node.handover.failed.as_ref();
        let Some(request) = failed.and_then(|failed| failed.again.clone()) else { return };
        if node.wanted && node.is_ready() && self.impossible_reason(id).is_none() {
            self.nodes[id].contexts.requested = request.context;
            self.replace(id, request.due_reason);
        }
    }

    /// Starts a candidate once its conditions hold.
    fn start_candidate(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let give_up = |failure, reason| FailedCandidate { run: 0, failure, reason, again: None };
        match self.nodes[id].program() {
            ProgramState::Available => {}
            ProgramState::Pending => return,
            ProgramState::Failed(message) => {
                let failed = give_up(Failure::Build, message.to_string());
                return self.give_up_handover(id, failed, effects);
            }
        }
        if let Some(reason) = self.impossible_reason(id) {
            let failed = give_up(Failure::Dependency, reason);
            return self.give_up_handover(id, failed, effects);
        }
        if !self.all_conditions_hold(id) {
            return;
        }
        let (launched, probes) = match self.prepare(id) {
            Ok(prepared) => prepared,
            Err(error) => {
                let failed = give_up(Failure::Start, error.to_string());
                return self.give_up_handover(id, failed, effects);
            }
        };
        let Some(command) = launched.command.clone() else { return };
        // As a start of the service, it is the new run that the user asked for.
        self.nodes[id].lifecycle.clear_check();
        let beside = self.node_beside(id);
        let run = self.begin(beside, launched, &probes);
        self.enqueue(beside);
        let spec = &self.nodes[id].spec;
        let (service, log, start_timeout) = (spec.name.clone(), spec.log, spec.start_timeout);
        let (phase, reason) = (snapshot::Phase::Starting, None);
        let report = Report::Candidate { service: service.clone(), run, phase, reason };
        effects.push(Effect::Report(report));
        effects.push(Effect::Spawn { service, run, command, probes, log, start_timeout });
    }

    /// The node of the second run, as the service is now.
    fn node_beside(&mut self, id: Id) -> Id {
        let node = &self.nodes[id];
        let (spec, context) = (second_run_spec(&node.spec), node.next_context());
        let beside = node.handover.beside.unwrap_or(self.nodes.len());
        if beside == self.nodes.len() {
            let mut new = Node::new(spec.clone());
            new.handover.of = Some(id);
            self.nodes.push(new);
            self.nodes[id].handover.beside = Some(beside);
        }
        let node = &mut self.nodes[beside];
        node.spec = spec;
        node.wanted = true;
        node.due_reason = None;
        node.build = Build { state: BuildState::Unneeded, ..Build::default() };
        node.contexts = Contexts { current: context, requested: None };
        node.retries.reset();
        self.connect_beside(beside);
        beside
    }

    /// A new plan for a service holds for its second run too: its dependencies, and how it stops.
    pub(super) fn plan_second_run(&mut self, id: Id) {
        if let Some(beside) = self.nodes[id].handover.beside {
            self.nodes[beside].spec = second_run_spec(&self.nodes[id].spec);
        }
    }

    /// The dependencies of a second run stay up for it. It has no dependents.
    pub(super) fn connect_beside(&mut self, beside: Id) {
        let depends_on = &self.nodes[beside].spec.depends_on;
        let waits = depends_on.iter().filter_map(|dependency| {
            let on = self.id_of(&dependency.on)?;
            Some(DependencyEdge { on, condition: dependency.condition, restart: false })
        });
        let dependencies: Vec<DependencyEdge> = waits.collect();
        for former in core::mem::take(&mut self.nodes[beside].edges).dependencies {
            self.nodes[former.on].edges.dependents.retain(|(id, _)| *id != beside);
        }
        for edge in &dependencies {
            self.nodes[edge.on].edges.dependents.push((beside, false));
        }
        self.nodes[beside].edges = Edges { dependencies, ..Edges::default() };
    }

    /// A newer program or request replaces the candidate, which stops first.
    pub(super) fn stop_candidate(&mut self, id: Id) {
        if let Some(beside) = self.candidate(id) {
            self.nodes[beside].wanted = false;
            self.enqueue(beside);
        }
    }

    /// Whether the candidate is what would be started now. Then it is kept, in its context.
    pub(super) fn keep_candidate(&mut self, id: Id) -> bool {
        let Some(beside) = self.candidate(id) else { return false };
        let same = self.is_current(id, beside);
        if same {
            self.nodes[id].contexts.requested = Some(self.nodes[beside].contexts.current);
        }
        same
    }

    /// The run of the service is what is wanted: no candidate with other settings replaces it.
    pub(super) fn drop_other_candidate(&mut self, id: Id) {
        let Some(beside) = self.candidate(id) else { return };
        if self.nodes[id].hands_over() && !self.is_current(id, beside) {
            let node = &mut self.nodes[id];
            node.lifecycle.cancel_replacement();
            node.handover.defers_dependents = false;
            node.due_reason = None;
        }
    }

    fn is_current(&self, id: Id, beside: Id) -> bool {
        let launched: Option<&Launched> = self.nodes[beside].lifecycle.launched();
        let wanted = self.render(id).ok();
        launched.zip(wanted).is_some_and(|(is, wanted)| difference(is, &wanted).is_none())
    }

    /// A handover became a stop: the dependents that restart with the service stop first.
    pub(super) fn replace_deferred_dependents(&mut self, id: Id) {
        let handover = &mut self.nodes[id].handover;
        if core::mem::take(&mut handover.defers_dependents) && self.nodes[id].wanted {
            self.replace_dependents(id);
        }
    }
}

/// The service of a plan as its second run sees it.
fn second_run_spec(service: &Service) -> Service {
    // The restart policy is for the run of the service.
    Service { restart: Restart::No, ..service.clone() }
}
