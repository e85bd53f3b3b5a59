//! Starts that are later than they could be, because a test wants to know what comes of
//! that: in an order that is drawn, or after a while.
//!
//! Whether a service could start at all is decided before, in `settle`.

use alloc::vec::Vec;

use super::node::{Id, Node, Phase, ProgramState, Rest};
use super::tenancy::Bound;
use super::{Effect, Stack};
use crate::plan::StartOrder;
use crate::terms::chance::Chance;

impl Stack {
    /// The service could start: it does, or waits for its turn or its time. `held` is the
    /// time, if it has had its turn.
    pub(super) fn start_in_turn(
        &mut self,
        id: Id,
        held: Option<core::time::Duration>,
        effects: &mut Vec<Effect>,
    ) {
        match (held, self.faults.start_order) {
            (Some(until), _) if until > self.now => self.nodes[id].held = held,
            (Some(_), _) => self.start(id, effects),
            (None, StartOrder::AtOnce) => self.start_or_hold(id, effects),
            (None, StartOrder::Random { .. }) => drop(self.startable.insert(id)),
        }
    }

    /// Its turn has come: it starts, unless it is to be slow.
    pub(super) fn start_or_hold(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let slow = self.faults.slow.get(&self.nodes[id].spec.name).copied();
        match slow.filter(|slow| !slow.is_zero()) {
            Some(slow) => self.nodes[id].held = Some(self.now.saturating_add(slow)),
            None => self.start(id, effects),
        }
        self.enqueue(id);
    }

    /// Whose turn it is, if it is anybody's.
    pub(super) fn draw(&mut self) -> Option<Id> {
        let StartOrder::Random { seed } = self.faults.start_order else { return None };
        // Only when it is clear who could start is the draw the same each time.
        if self.startable.is_empty() || self.nodes.iter().any(is_undecided) {
            return None;
        }
        let on_the_way: Vec<Id> =
            (0..self.nodes.len()).filter(|id| is_on_the_way(&self.nodes[*id])).collect();
        let could = self.startable.iter().copied();
        // Whoever is on the way may be waiting for what it knows the address of.
        let free: Vec<Id> =
            could.filter(|id| on_the_way.iter().all(|other| self.knows(*other, *id))).collect();
        let turn = self.turns;
        let drawn = *Chance::of(Chance::of(seed ^ turn).number()).pick(&free)?;
        self.turns += 1;
        self.startable.remove(&drawn);
        Some(drawn)
    }

    /// Whether a service waits for another or knows its address, directly or through others.
    fn knows(&self, from: Id, to: Id) -> bool {
        let mut seen = alloc::collections::BTreeSet::new();
        let mut open = alloc::vec![from];
        while let Some(id) = open.pop() {
            if id == to {
                return true;
            }
            if seen.insert(id) {
                let edges = &self.nodes[id].edges;
                open.extend(edges.dependencies.iter().map(|edge| edge.on));
                open.extend(&edges.uses);
            }
        }
        false
    }
}

/// Whether it may yet turn out that a service could start, without any other's doing.
fn is_undecided(node: &Node) -> bool {
    let idle = node.wanted && node.phase == Phase::Rest(Rest::Idle);
    idle && (node.program() == ProgramState::Pending || node.address.bound == Bound::Asked)
}

/// Whether a service has had its turn and is neither ready nor given up.
fn is_on_the_way(node: &Node) -> bool {
    match node.phase {
        Phase::Starting(_) => !node.is_due(),
        Phase::Rest(Rest::Idle) => node.held.is_some(),
        Phase::Rest(_) | Phase::Ready(_) | Phase::Stopping(_) => false,
    }
}
