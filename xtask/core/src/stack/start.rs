//! Starts a run, at once or later where a fault asks for a drawn order or a delay.
//!
//! `settle` and `conditions` decide before whether a service may start.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::build::ProgramState;
use super::effect::PreparedProbe;
use super::event::Run;
use super::node::{Contexts, Id, Node, Observed};
use super::phase::{Launched, Phase, Rest};
use super::ports::PortState;
use super::{Effect, Stack};
use crate::plan::StartOrder;
use crate::snapshot::Failure;
use crate::terms::chance::Chance;

impl Stack {
    /// Whether the service or an adopted process has the ports.
    pub(super) fn has_ports(&self, id: Id) -> bool {
        !self.is_bindable(id)
            || match &self.nodes[id].ports.state {
                PortState::Bound => self.ports_match_plan(id),
                PortState::Decided(tenant) => self.is_decision_current(id, tenant),
                PortState::Unbound
                | PortState::Requested
                | PortState::Closing { .. }
                | PortState::Held(_)
                | PortState::Inspecting { .. }
                | PortState::Failed(..) => false,
            }
    }

    /// Starts the next run. Its conditions must hold.
    pub(super) fn start(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if let PortState::Decided(_) = self.nodes[id].ports.state {
            return self.take_holder(id, effects);
        }
        let (launched, probes) = match self.prepare(id) {
            Ok(prepared) => prepared,
            Err(error) => return self.fail(id, Failure::Start, error.to_string(), effects),
        };
        self.nodes[id].ports.evictions = 0;
        let command = launched.command.clone();
        let run = self.begin(id, launched, &probes);
        let spec = &self.nodes[id].spec;
        let (service, log, start_timeout) = (spec.name.clone(), spec.log, spec.start_timeout);
        match command {
            Some(command) => {
                effects.push(Effect::Spawn { service, run, command, probes, log, start_timeout })
            }
            None if probes.is_empty() => self.become_ready(id),
            None => {
                let context = self.nodes[id].contexts.current;
                effects.push(Effect::Probe { service, run, context, probes });
            }
        }
    }

    /// Records the new run before the driver acts on it.
    pub(super) fn begin(&mut self, id: Id, launched: Launched, probes: &[PreparedProbe]) -> Run {
        let (now, number) = (self.now, self.last_run(id) + 1);
        let node = &mut self.nodes[id];
        node.handover.failed = None;
        node.follows = false;
        node.contexts = Contexts { current: node.next_context(), requested: None };
        node.started_as = Some(Box::new(node.spec.clone()));
        node.observed = Observed::default();
        // Skipped probes leave gaps, and the others keep their index.
        let count = probes.iter().map(|probe| probe.index + 1).max().unwrap_or(0);
        node.observed.seen.resize(count, None);
        let missing = probes.iter().map(|probe| probe.index).collect();
        let deadline = now.saturating_add(node.spec.start_timeout);
        node.lifecycle.begin_run(number, launched, now, deadline, count, missing);
        node.run()
    }

    /// Marks a run ready whose probes have all passed.
    pub(super) fn become_ready(&mut self, id: Id) {
        let now = self.now;
        let node = &mut self.nodes[id];
        let Phase::Starting(starting) = node.phase() else { return };
        node.observed.ready = Some(now.saturating_sub(starting.since));
        node.observed.ready_at = Some(now);
        node.retries.was_ready = true;
        // A process that was not started here sends no pings.
        let watchdog = if node.is_alive() { node.spec.watchdog } else { None };
        node.lifecycle.become_ready(watchdog.map(|every| now.saturating_add(every)));
    }

    /// Starts a service that can start, or makes it wait to be drawn or for its delay.
    /// `delayed_until` is the end of a delay that has begun.
    pub(super) fn start_in_turn(
        &mut self,
        id: Id,
        delayed_until: Option<Duration>,
        effects: &mut Vec<Effect>,
    ) {
        match (delayed_until, self.starts.faults.start_order) {
            (Some(until), _) if until > self.now => self.nodes[id].delayed_until = delayed_until,
            (Some(_), _) => self.start(id, effects),
            (None, StartOrder::AtOnce) => self.start_or_hold(id, effects),
            (None, StartOrder::Random { .. }) => drop(self.starts.startable.insert(id)),
        }
    }

    /// Starts a service whose turn has come, or begins its delay.
    pub(super) fn start_or_hold(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let slow = self.starts.faults.slow.get(&self.nodes[id].spec.name).copied();
        match slow.filter(|slow| !slow.is_zero()) {
            Some(slow) => self.nodes[id].delayed_until = Some(self.now.saturating_add(slow)),
            None => self.start(id, effects),
        }
        self.enqueue(id);
    }

    /// Draws the next service to start.
    pub(super) fn draw(&mut self) -> Option<Id> {
        let StartOrder::Random { seed } = self.starts.faults.start_order else { return None };
        // The draw is reproducible only once it is clear which services can start.
        if self.starts.startable.is_empty() || self.nodes.iter().any(is_undecided) {
            return None;
        }
        let on_the_way: Vec<Id> =
            (0..self.nodes.len()).filter(|id| is_on_the_way(&self.nodes[*id])).collect();
        let could = self.starts.startable.iter().copied();
        // A starting service may wait for a service whose address it knows.
        let free: Vec<Id> =
            could.filter(|id| on_the_way.iter().all(|other| self.knows(*other, *id))).collect();
        let turn = self.starts.turns;
        let drawn = *Chance::of(Chance::of(seed ^ turn).number()).pick(&free)?;
        self.starts.turns += 1;
        self.starts.startable.remove(&drawn);
        Some(drawn)
    }

    /// Whether a service waits for another or knows its address, directly or not.
    fn knows(&self, from: Id, to: Id) -> bool {
        let mut seen = crate::sorted::SortedSet::new();
        let mut open = alloc::vec![from];
        while let Some(id) = open.pop() {
            if id == to {
                return true;
            }
            if seen.insert(id) {
                open.extend(self.nodes[id].edges.known());
            }
        }
        false
    }
}

/// Whether a service may still become startable by itself.
fn is_undecided(node: &Node) -> bool {
    let idle = node.wanted && *node.phase() == Phase::Rest(Rest::Idle);
    let awaits_ports = matches!(node.ports.state, PortState::Requested | PortState::Closing { .. });
    idle && (node.program() == ProgramState::Pending || awaits_ports)
}

/// Whether a service was drawn and is neither ready nor given up.
fn is_on_the_way(node: &Node) -> bool {
    match node.phase() {
        Phase::Starting(_) => !node.is_due(),
        Phase::Rest(Rest::Idle) => node.delayed_until.is_some(),
        Phase::Rest(_) | Phase::Ready(_) | Phase::Stopping(_) => false,
    }
}
