//! Somebody holds the ports of a service: who may stand in its place, who is refused,
//! and who is stopped to make room.
//!
//! First it is waited for what a closer look needs, then the world looks, then it is
//! decided, and when the service may start, it is done. An adopted process is a run
//! that gets no signal and that nobody waits for. One that is stopped on demand is a
//! run that ends from its first moment, so that everything about ends holds for it.

mod expectation;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub(crate) use expectation::ExpectedProcess;
use expectation::Relation;

use super::effect::PreparedProbe;
use super::event::{Exit, InspectedHolder, InspectionResult, PortHolder, StartedBy};
use super::node::Id;
use super::phase::{Launched, PATIENCE, Phase, Rest, RunOrigin};
use super::ports::{HeldPort, HolderAction, HolderDecision, PortState};
use super::{Effect, Stack, unexpected, words};
use crate::plan::{Port, Probe, Program};
use crate::snapshot::Failure;
use crate::terms::{Adopt, Name, duration};

/// How many processes are stopped for one wish: some are started again by somebody
/// else each time.
const MOST_EVICTIONS: u32 = 8;

impl Stack {
    /// Somebody holds a port: is that worth a closer look?
    pub(super) fn port_held(&mut self, id: Id, held: HeldPort) {
        // Nobody stands in for what runs to completion, or at a number that nobody knows.
        if self.nodes[id].is_job() || self.numbers(id).is_none() {
            return self.refuse(id, &held);
        }
        let bound = match (self.nodes[id].spec.adopt, &held.holder) {
            (Adopt::Any, None) => {
                let decision =
                    HolderDecision { holder: None, expected: None, action: HolderAction::Adopt };
                PortState::Decided(decision)
            }
            (Adopt::Any, Some(_)) => PortState::Held(held),
            (Adopt::SameBinary | Adopt::Never, Some(holder))
                if self.has_program_name(id, holder) =>
            {
                PortState::Held(held)
            }
            (Adopt::SameBinary | Adopt::Never, _) => return self.refuse(id, &held),
        };
        self.nodes[id].ports.state = bound;
    }

    /// Whether a process has the name of the service's program. Without it nobody has
    /// to wait for the end of a build to hear that the port is held.
    fn has_program_name(&self, id: Id, holder: &PortHolder) -> bool {
        match &self.nodes[id].spec.program {
            Program::Artifact { binary, .. } => holder.program.rsplit('/').next() == Some(binary),
            Program::Command { .. } => true,
            Program::External | Program::Image { .. } => false,
        }
    }

    /// Looks closely, if everything is known that the holder is compared with.
    pub(super) fn inspect_holder(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let Some(expected) = self.comparison_basis(id) else { return };
        let Some(ports) = self.numbered_ports(id) else { return };
        let PortState::Held(held) = &self.nodes[id].ports.state else { return };
        let held = held.clone();
        effects.push(Effect::InspectHolder {
            service: self.nodes[id].spec.name.clone(),
            ports,
            expected: expected.as_ref().map(ExpectedProcess::question),
        });
        self.nodes[id].ports.state = PortState::Inspecting { held, expected };
    }

    /// What a holder is compared with; nothing where anybody will do, and none while
    /// that is not known.
    fn comparison_basis(&self, id: Id) -> Option<Option<ExpectedProcess>> {
        match self.nodes[id].spec.adopt {
            Adopt::Any if self.nodes[id].ports.evictions == 0 => Some(None),
            Adopt::Any | Adopt::SameBinary | Adopt::Never => self.expected_process(id).map(Some),
        }
    }

    /// Why a closer look will never be possible: that a command cannot be said is found
    /// out at its start, and this one does not get that far.
    pub(super) fn inspection_obstacle(&self, id: Id) -> Option<String> {
        match self.nodes[id].ports.state {
            PortState::Held(_) if !self.is_expectation_pending(id) => self.render(id).err(),
            PortState::Held(_)
            | PortState::Unbound
            | PortState::Requested
            | PortState::Bound
            | PortState::Inspecting { .. }
            | PortState::Decided(_)
            | PortState::Failed { .. } => None,
        }
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
            return unexpected(effects, format!("`looked` for `{service}`, which did not ask"));
        };
        let (held, expected) = (held.clone(), expected.clone());
        // Whatever is not decided now is asked again from the beginning.
        self.nodes[id].ports.state = PortState::Unbound;
        self.enqueue(id);
        if !self.ports_match_plan(id) || self.comparison_basis(id).as_ref() != Some(&expected) {
            return;
        }
        match result {
            InspectionResult::Free => {}
            // It may have become a job since the look was asked for.
            InspectionResult::Process(found) if self.nodes[id].is_job() => {
                self.refuse(id, &HeldPort { holder: Some(found.holder), ..held });
            }
            InspectionResult::Hidden => self.refuse(id, &HeldPort { holder: None, ..held }),
            InspectionResult::Process(found) => self.judge(id, held, expected, found),
        }
    }

    fn judge(
        &mut self,
        id: Id,
        held: HeldPort,
        expected: Option<ExpectedProcess>,
        found: InspectedHolder,
    ) {
        let node = &self.nodes[id];
        let relation = match &expected {
            Some(expected) => expected.relation(&found, node.build.linked.as_deref()),
            None => Relation::Stranger,
        };
        let holder = Some(found.holder.clone());
        let decide = |action| {
            let holder = holder.clone();
            PortState::Decided(HolderDecision { holder, expected: expected.clone(), action })
        };
        let any = node.spec.adopt == Adopt::Any;
        let bound = match relation {
            Relation::Stranger if any => decide(HolderAction::Adopt),
            Relation::Stranger => {
                let held = HeldPort { holder, user: None, ..held };
                return self.refuse(id, &held);
            }
            Relation::Same | Relation::OtherBuild => match found.started_by {
                // Its own supervisor would start it again.
                StartedBy::OtherStack if !any => {
                    let held = HeldPort { holder, user: None, ..held };
                    PortState::failed(Failure::Port, words::held(&held))
                }
                StartedBy::Hand | StartedBy::ThisStack if node.ports.evictions > 0 => {
                    decide(HolderAction::Evict)
                }
                StartedBy::Hand | StartedBy::ThisStack | StartedBy::OtherStack if any => {
                    decide(HolderAction::Adopt)
                }
                StartedBy::Hand | StartedBy::ThisStack | StartedBy::OtherStack => {
                    match self.objection(id, expected.as_ref(), relation, &found) {
                        Some(reason) => PortState::failed(Failure::Unadopted, reason),
                        None => decide(HolderAction::Adopt),
                    }
                }
            },
        };
        self.nodes[id].ports.state = bound;
    }

    /// Why a process of the same program cannot stand in the service's place, if so.
    fn objection(
        &self,
        id: Id,
        expected: Option<&ExpectedProcess>,
        relation: Relation,
        found: &InspectedHolder,
    ) -> Option<String> {
        match (relation, found.started_by, self.nodes[id].spec.adopt) {
            (Relation::OtherBuild, _, _) => Some(words::other_build(found)),
            (_, StartedBy::ThisStack, _) => Some(words::left_behind(found)),
            (_, _, Adopt::Never) => Some(words::not_to_be_adopted(found)),
            (_, _, Adopt::SameBinary | Adopt::Any) => {
                let differences = expected?.differences(found);
                (!differences.is_empty()).then(|| words::differs(found, &differences))
            }
        }
    }

    /// The port is somebody else's, and stays so.
    fn refuse(&mut self, id: Id, held: &HeldPort) {
        let ports = &mut self.nodes[id].ports;
        if ports.remembered {
            // Nobody insisted on that number: any other one will do.
            ports.numbers.clear();
            ports.state = PortState::Unbound;
        } else {
            ports.state = PortState::failed(Failure::Port, words::held(held));
        }
    }

    /// Whether somebody whom the system does not show stands in the service's place.
    pub(super) fn is_hidden(&self, id: Id) -> bool {
        match &self.nodes[id].ports.state {
            PortState::Decided(decision) => decision.holder.is_none(),
            PortState::Unbound
            | PortState::Requested
            | PortState::Bound
            | PortState::Held(_)
            | PortState::Inspecting { .. }
            | PortState::Failed { .. } => false,
        }
    }

    /// Whether what was decided about a holder still holds.
    pub(super) fn is_decision_current(&self, id: Id, decision: &HolderDecision) -> bool {
        let asked = match (&decision.expected, self.nodes[id].spec.adopt) {
            (None, Adopt::Any) if decision.holder.is_none() => true,
            (expected, _) => self.comparison_basis(id).as_ref() == Some(expected),
        };
        asked && self.ports_match_plan(id)
    }

    /// Takes the holder as the next run, or stops it. The conditions of a start hold.
    pub(super) fn take_holder(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let PortState::Decided(decision) = self.nodes[id].ports.state.clone() else { return };
        let (mut launched, mut probes) = match self.prepare(id) {
            Ok(prepared) => prepared,
            Err(reason) => return self.fail(id, Failure::Start, reason, effects),
        };
        let Some(command) = launched.command.clone() else { return };
        launched.expected = decision.expected;
        match decision.action {
            HolderAction::Adopt => {
                launched.origin = RunOrigin::Adopted;
                if let Err(reason) = self.keep_external_probes(id, &mut probes) {
                    return self.fail(id, Failure::Start, reason, effects);
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
            Some(PortHolder { pid, .. }) => {
                effects.push(Effect::Adopt { service, run, pid, command, probes });
            }
            None => effects.push(Effect::Probe { service, run, probes }),
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

    /// The probes of a process that was not started here: what it says of itself, it does
    /// not say to us. Where nothing else is left, it has to accept a connection.
    fn keep_external_probes(&self, id: Id, probes: &mut Vec<PreparedProbe>) -> Result<(), String> {
        probes.retain(|prepared| match prepared.probe {
            Probe::Http { .. } | Probe::Tcp { .. } | Probe::Command { .. } => true,
            Probe::Notify | Probe::Log { .. } => false,
        });
        if probes.is_empty() {
            let own = self.nodes[id].spec.probes.len();
            probes.push(self.prepare_probe(id, own, &Probe::Tcp { port: 0 })?);
        }
        probes.iter_mut().for_each(|prepared| prepared.queued = false);
        Ok(())
    }

    /// A run that ends from its first moment: it is told as soon as it is there.
    fn evict(&mut self, id: Id) {
        let give_up = self.now.saturating_add(PATIENCE);
        let node = &mut self.nodes[id];
        node.ports.evictions = node.ports.evictions.saturating_sub(1);
        let reason = Some(String::from(words::MAKES_ROOM));
        node.lifecycle.begin_stop(give_up, reason, Rest::Idle);
    }

    /// An adopted process ended by itself. Nothing of it is ours to wait for.
    pub(super) fn adopted_ended(&mut self, id: Id, exit: Exit) {
        let then = if self.nodes[id].is_due() {
            Rest::Idle
        } else {
            self.after_end(id, exit, &words::exit(exit))
        };
        self.end_foreign_run(id, then);
    }

    /// What is said of an adopted process that is not ready in time: whoever adopted
    /// anybody wants to know whom.
    pub(super) fn unready(&self, id: Id, seen: &str) -> Option<Rest> {
        let PortState::Decided(decision) = &self.nodes[id].ports.state else { return None };
        let limit = duration::spell(self.nodes[id].spec.start_timeout);
        let who = words::holder(decision.holder.as_ref());
        let reason = format!("{who} is not ready within {limit}: {seen}");
        let failure = match decision.expected {
            Some(_) => Failure::Timeout,
            None => Failure::Port,
        };
        Some(Rest::Failed { failure, reason })
    }

    /// Leaves an adopted process to itself.
    pub(super) fn release(&mut self, id: Id, then: Rest, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        effects.push(Effect::Release { service: node.spec.name.clone(), run: node.run() });
        self.end_foreign_run(id, then);
    }

    /// The run of a process that was not started here is over; who holds the ports by
    /// now is found out anew.
    pub(super) fn end_foreign_run(&mut self, id: Id, then: Rest) {
        let node = &mut self.nodes[id];
        node.lifecycle.end_run(then);
        node.lifecycle.clear_check();
        node.lifecycle.clear_replacement();
        node.ports.state = PortState::Unbound;
    }

    /// Whether an adopted process is still what is wanted in this place.
    pub(super) fn is_as_adopted(&self, id: Id, launched: &Launched) -> bool {
        let node = &self.nodes[id];
        node.ports.evictions == 0
            && match node.spec.adopt {
                Adopt::Any => true,
                Adopt::SameBinary => match self.expected_process(id) {
                    Some(expected) => launched.expected.as_ref() == Some(&expected),
                    // What cannot be said any more is no reason to look again.
                    None => launched.expected.is_some(),
                },
                Adopt::Never => false,
            }
    }

    /// As many processes as one wish may stop.
    pub(super) fn allow_evictions(&mut self, id: Id, wish: bool) {
        let node = &mut self.nodes[id];
        node.ports.evictions = if wish { MOST_EVICTIONS } else { 0 };
        // What was decided and not done yet is decided again.
        match (node.phase(), &node.ports.state) {
            (Phase::Rest(_), PortState::Decided(_)) => node.ports.state = PortState::Unbound,
            (Phase::Rest(_) | Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_), _) => {}
        }
    }
}
