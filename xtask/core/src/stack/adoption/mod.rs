//! Port holders: which process is adopted, which is refused, and which is stopped.
//!
//! Adoption has three steps: collect the inputs, inspect the port holder, decide. The decision
//! takes effect once the service may start. An adopted process is a run that gets no signal. An
//! evicted process is a run that is stopping from the start, so that all rules about stops apply
//! to it.

mod expectation;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub(crate) use expectation::ExpectedProcess;
use expectation::Relation;

use super::effect::PreparedProbe;
use super::event::{Exit, InspectedHolder, InspectionResult, PortHolder, StartedBy};
use super::node::Id;
use super::phase::{Launched, PATIENCE, Phase, Rest, RunOrigin};
use super::ports::{HeldPort, HolderAction, HolderDecision, PortState};
use super::render::RenderError;
use super::{Effect, Stack, messages, unexpected};
use crate::plan::{Port, Probe, Program};
use crate::snapshot::Failure;
use crate::terms::{Adopt, Name, duration};

/// How many processes one request may stop. A process can be restarted by its own supervisor
/// each time.
const MOST_EVICTIONS: u32 = 8;

impl Stack {
    /// Decides whether a port holder is worth an inspection.
    pub(super) fn port_held(&mut self, id: Id, held: HeldPort) {
        // A process cannot replace a job, and a port without a number cannot be inspected.
        if self.nodes[id].is_job() || self.numbers(id).is_none() {
            return self.refuse(id, &held);
        }
        // Another inspection would not find it either, and binding again would never end.
        let unseen = self.nodes[id].ports.unseen_holder.take();
        if unseen.is_some() && unseen == held.holder.as_ref().map(|holder| holder.pid) {
            return self.refuse(id, &held);
        }
        let any = self.nodes[id].spec.adopt == Adopt::Any;
        self.nodes[id].ports.state = match &held.holder {
            None if any => PortState::Decided(HolderDecision {
                holder: None,
                expected: None,
                action: HolderAction::Adopt,
            }),
            // Callers do not reach a program that does not listen.
            Some(holder) if holder.connection.is_some() => return self.refuse(id, &held),
            Some(holder) if any || self.has_program_name(id, holder) => PortState::Held(held),
            None | Some(_) => return self.refuse(id, &held),
        };
    }

    /// Whether a process has the name of the service's program. If not, the user learns that the
    /// port is held without waiting for a build.
    fn has_program_name(&self, id: Id, holder: &PortHolder) -> bool {
        match &self.nodes[id].spec.program {
            Program::Artifact { binary, .. } => holder.program.rsplit('/').next() == Some(binary),
            Program::Command { .. } => true,
            Program::External | Program::Image { .. } => false,
        }
    }

    /// Requests the inspection, if everything is known that the holder is compared with.
    pub(super) fn inspect_holder(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let PortState::Held(held) = &self.nodes[id].ports.state else { return };
        let held = held.clone();
        let Some(expected) = self.comparison_basis(id) else { return };
        let Some(ports) = self.numbered_ports(id) else { return };
        let context = self.nodes[id].next_context();
        effects.push(Effect::InspectHolder {
            service: self.nodes[id].spec.name.clone(),
            ports,
            expected: expected.as_ref().map(|expected| expected.question(context)),
        });
        self.nodes[id].ports.state = PortState::Inspecting { held, expected };
    }

    /// What a holder is compared with. The outer `Option` is empty while that is unknown, the
    /// inner one where `adopt` accepts any process.
    fn comparison_basis(&self, id: Id) -> Option<Option<ExpectedProcess>> {
        match self.nodes[id].spec.adopt {
            Adopt::Any if self.nodes[id].ports.evictions == 0 => Some(None),
            Adopt::Any | Adopt::SameBinary | Adopt::Never => self.expected_process(id).map(Some),
        }
    }

    /// Why an inspection will never be possible. A start would report that its command cannot be
    /// rendered, but this service does not reach its start.
    pub(super) fn inspection_obstacle(&self, id: Id) -> Option<String> {
        let held = matches!(self.nodes[id].ports.state, PortState::Held(_));
        if !held || self.is_expectation_pending(id) {
            return None;
        }
        self.render(id).err().map(|error| error.to_string())
    }

    fn numbered_ports(&self, id: Id) -> Option<Vec<Port>> {
        let mut ports = self.nodes[id].spec.ports.clone();
        for (port, number) in ports.iter_mut().zip(self.numbers(id)?) {
            port.number = Some(number);
        }
        Some(ports)
    }

    pub(super) fn holder_inspected(
        &mut self,
        service: &Name,
        result: InspectionResult,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.known(service, "`looked`", effects) else { return };
        let PortState::Inspecting { held, expected } = &self.nodes[id].ports.state else {
            let what = format!("`looked` for `{service}`, which requested no inspection");
            return unexpected(effects, what);
        };
        let (held, expected) = (held.clone(), expected.clone());
        // Whatever is not decided now starts over.
        self.nodes[id].ports.state = PortState::Unbound;
        self.enqueue(id);
        if !self.ports_match_plan(id) || self.comparison_basis(id).as_ref() != Some(&expected) {
            return;
        }
        match result {
            InspectionResult::Free => {
                self.nodes[id].ports.unseen_holder = held.holder.map(|holder| holder.pid);
            }
            // The service may have become a job since the request.
            InspectionResult::Process(found) if self.nodes[id].is_job() => {
                self.refuse(id, &HeldPort { holder: Some(Box::new(found.holder)), ..held });
            }
            InspectionResult::Hidden => self.refuse(id, &HeldPort { holder: None, ..held }),
            InspectionResult::Process(found) => self.judge(id, held, expected, *found),
        }
    }

    fn judge(
        &mut self,
        id: Id,
        held: HeldPort,
        expected: Option<ExpectedProcess>,
        mut found: InspectedHolder,
    ) {
        // Only the failed bind names the service of a port holder in this stack.
        if let Some(known) = held.holder.as_ref().filter(|known| known.pid == found.holder.pid) {
            found.holder.stack.clone_from(&known.stack);
        }
        let node = &self.nodes[id];
        let relation = match &expected {
            Some(expected) => expected.relation(&found, node.build.linked.as_deref()),
            None => Relation::Stranger,
        };
        let holder = Some(Box::new(found.holder.clone()));
        let decide = |action| {
            let holder = holder.clone();
            PortState::Decided(HolderDecision { holder, expected: expected.clone(), action })
        };
        let any = node.spec.adopt == Adopt::Any;
        let bound = match relation {
            Relation::Stranger if any => decide(HolderAction::Adopt),
            Relation::Stranger => {
                return self.refuse(id, &HeldPort { holder, user: None, ..held });
            }
            Relation::Same | Relation::OtherBuild => match found.started_by {
                StartedBy::OtherUser if any => decide(HolderAction::Adopt),
                StartedBy::OtherUser => {
                    return self.refuse(id, &HeldPort { holder, user: None, ..held });
                }
                // The supervisor of the other stack would restart it.
                StartedBy::OtherStack if !any => {
                    let held = HeldPort { holder, user: None, ..held };
                    PortState::Failed(Failure::Port, messages::held(&held))
                }
                StartedBy::Hand | StartedBy::ThisStack if node.ports.evictions > 0 => {
                    decide(HolderAction::Evict)
                }
                StartedBy::Hand | StartedBy::ThisStack | StartedBy::OtherStack if any => {
                    decide(HolderAction::Adopt)
                }
                StartedBy::Hand | StartedBy::ThisStack | StartedBy::OtherStack => {
                    match self.objection(id, expected.as_ref(), relation, &found) {
                        Some(reason) => PortState::Failed(Failure::Unadopted, reason),
                        None => decide(HolderAction::Adopt),
                    }
                }
            },
        };
        self.nodes[id].ports.state = bound;
    }

    /// Why a process of the same program cannot be adopted.
    fn objection(
        &self,
        id: Id,
        expected: Option<&ExpectedProcess>,
        relation: Relation,
        found: &InspectedHolder,
    ) -> Option<String> {
        match (relation, found.started_by, self.nodes[id].spec.adopt) {
            (Relation::OtherBuild, _, _) => Some(messages::other_build(found)),
            (_, StartedBy::ThisStack, _) => Some(messages::left_behind(found)),
            (_, _, Adopt::Never) => Some(messages::not_to_be_adopted(found)),
            (_, _, Adopt::SameBinary | Adopt::Any) => {
                let differences = expected?.differences(found);
                (!differences.is_empty()).then(|| messages::differs(found, &differences))
            }
        }
    }

    /// Refuses the port holder, for good or until another number is tried.
    fn refuse(&mut self, id: Id, held: &HeldPort) {
        self.nodes[id].ports.refuse(Failure::Port, messages::held(held));
    }

    /// Whether the system hides the process that holds the ports.
    pub(super) fn is_hidden(&self, id: Id) -> bool {
        let state = &self.nodes[id].ports.state;
        matches!(state, PortState::Decided(HolderDecision { holder: None, .. }))
    }

    /// Whether the decision about a holder is still valid.
    pub(super) fn is_decision_current(&self, id: Id, decision: &HolderDecision) -> bool {
        let HolderDecision { holder, expected, .. } = decision;
        let any = self.nodes[id].spec.adopt == Adopt::Any;
        let unasked = any && holder.is_none() && expected.is_none();
        (unasked || self.comparison_basis(id).as_ref() == Some(expected))
            && self.ports_match_plan(id)
    }

    /// Adopts or stops the holder. The conditions of a start must hold.
    pub(super) fn take_holder(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let PortState::Decided(decision) = self.nodes[id].ports.state.clone() else { return };
        let (mut launched, mut probes) = match self.prepare(id) {
            Ok(prepared) => prepared,
            Err(error) => return self.fail(id, Failure::Start, error.to_string(), effects),
        };
        let Some(command) = launched.command.clone() else { return };
        launched.expected = decision.expected;
        match decision.action {
            HolderAction::Adopt => {
                launched.origin = RunOrigin::Adopted;
                if let Err(error) = self.keep_external_probes(id, &mut probes) {
                    return self.fail(id, Failure::Start, error.to_string(), effects);
                }
            }
            HolderAction::Evict => {
                launched.origin = RunOrigin::Evicted;
                probes.clear();
            }
        }
        let run = self.begin(id, launched, &probes);
        let service = self.nodes[id].spec.name.clone();
        match decision.holder {
            Some(holder) => {
                let pid = holder.pid;
                effects.push(Effect::Adopt { service, run, pid, command, probes });
            }
            None => {
                let context = self.nodes[id].contexts.current;
                effects.push(Effect::Probe { service, run, context, probes });
            }
        }
        match decision.action {
            HolderAction::Adopt => {
                self.nodes[id].ports.evictions = 0;
                if let Some(numbers) = self.numbers(id) {
                    self.set_numbers(id, numbers);
                }
            }
            HolderAction::Evict => self.evict(id),
        }
    }

    /// The probes of an adopted process, whose log and notifications xtask does not receive. If
    /// none is left, it must accept a connection.
    fn keep_external_probes(
        &self,
        id: Id,
        probes: &mut Vec<PreparedProbe>,
    ) -> Result<(), RenderError> {
        probes.retain(|prepared| {
            matches!(prepared.probe, Probe::Http { .. } | Probe::Tcp { .. } | Probe::Command { .. })
        });
        if probes.is_empty() {
            let own = self.nodes[id].spec.probes.len();
            probes.push(self.prepare_probe(id, own, &Probe::Tcp { port: 0 })?);
        }
        probes.iter_mut().for_each(|prepared| prepared.queued = false);
        Ok(())
    }

    /// Makes the new run a stopping one. It gets its stop signal after `Started`.
    fn evict(&mut self, id: Id) {
        let give_up = self.now.saturating_add(PATIENCE);
        let node = &mut self.nodes[id];
        node.ports.evictions = node.ports.evictions.saturating_sub(1);
        let reason = Some(String::from(messages::MAKES_ROOM));
        node.lifecycle.begin_stop(give_up, reason, Rest::Idle);
    }

    /// An adopted process exited. It leaves no process group to wait for.
    pub(super) fn adopted_ended(&mut self, id: Id, exit: Exit) {
        let then = self.after_exit(id, exit, &messages::exit(exit));
        self.end_foreign_run(id, then);
    }

    /// The failure of an adopted process that is not ready in time. It names the process.
    pub(super) fn unready(&self, id: Id, seen: &str) -> Option<Rest> {
        let PortState::Decided(decision) = &self.nodes[id].ports.state else { return None };
        let limit = duration::spell(self.nodes[id].spec.start_timeout);
        let who = messages::holder(decision.holder.as_deref());
        let reason = format!("{who} is not ready within {limit}: {seen}");
        let failure = decision.expected.as_ref().map_or(Failure::Port, |_| Failure::Timeout);
        Some(Rest::Failed { failure, reason })
    }

    /// Releases an adopted process without a signal.
    pub(super) fn release(&mut self, id: Id, then: Rest, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        effects.push(Effect::Release { service: node.spec.name.clone(), run: node.run() });
        self.end_foreign_run(id, then);
    }

    /// Ends the run of a process that was not started here. The next start requests the ports
    /// again.
    pub(super) fn end_foreign_run(&mut self, id: Id, then: Rest) {
        let node = &mut self.nodes[id];
        node.lifecycle.end_run(then);
        node.lifecycle.clear_check();
        node.lifecycle.clear_replacement();
        node.ports.state = PortState::Unbound;
    }

    /// Whether an adopted process is still what is wanted.
    pub(super) fn is_as_adopted(&self, id: Id, launched: &Launched) -> bool {
        let node = &self.nodes[id];
        node.ports.evictions == 0
            && match node.spec.adopt {
                Adopt::Any => true,
                // An unknown expectation is no reason for another inspection.
                Adopt::SameBinary => launched.expected.as_ref().is_some_and(|known| {
                    self.expected_process(id).is_none_or(|expected| expected == *known)
                }),
                Adopt::Never => false,
            }
    }

    /// Sets how many processes the request may stop.
    pub(super) fn allow_evictions(&mut self, id: Id, allowed: bool) {
        let node = &mut self.nodes[id];
        node.ports.evictions = if allowed { MOST_EVICTIONS } else { 0 };
        // Repeat a decision that has not taken effect.
        if let (Phase::Rest(_), PortState::Decided(_)) = (node.phase(), &node.ports.state) {
            node.ports.state = PortState::Unbound;
        }
    }
}
