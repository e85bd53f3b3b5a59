//! What the start of a service requires of other services, and whether it can still hold.
//!
//! Nothing changes here; `settle` acts on the answers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::build::BuildState;
use super::edges::DependencyEdge;
use super::node::{Id, Node};
use super::phase::{Phase, Rest};
use super::ports::PortState;
use super::{Stack, messages};
use crate::terms::Condition;

/// Whether a requirement of a start holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConditionState {
    Holds,
    /// It does not hold yet but still can.
    Pending,
    /// Cannot hold without user action; the text says which.
    Impossible(String),
}

/// One thing that a start needs of another service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// The service that it needs.
    pub(crate) on: Id,
    /// The condition; none for the address.
    pub(crate) condition: Option<Condition>,
    pub(crate) state: ConditionState,
}

impl Stack {
    /// The requirements of this start that do not hold.
    pub(crate) fn unmet(&self, id: Id) -> Vec<Requirement> {
        self.requirements(id)
            .filter(|requirement| requirement.state != ConditionState::Holds)
            .collect()
    }

    /// Why this start needs user action first, if it does.
    pub(crate) fn impossible_reason(&self, id: Id) -> Option<String> {
        self.requirements(id).find_map(|requirement| match requirement.state {
            ConditionState::Holds | ConditionState::Pending => None,
            ConditionState::Impossible(reason) => Some(reason),
        })
    }

    pub(crate) fn all_conditions_hold(&self, id: Id) -> bool {
        self.requirements(id).all(|requirement| requirement.state == ConditionState::Holds)
    }

    fn requirements(&self, id: Id) -> impl Iterator<Item = Requirement> + '_ {
        let edges = &self.nodes[id].edges;
        let conditions =
            edges.dependencies.iter().flat_map(move |edge| self.edge_requirements(id, *edge));
        let address = move |on| Requirement { on, condition: None, state: self.address_state(on) };
        conditions.chain(edges.known().map(address))
    }

    /// The requirement of one edge. A dependent outside a ring requires every member of it.
    fn edge_requirements(
        &self,
        dependent: Id,
        edge: DependencyEdge,
    ) -> impl Iterator<Item = Requirement> + '_ {
        let ring = self.nodes[edge.on].edges.ring;
        let inside = ring == self.nodes[dependent].edges.ring;
        let ring = ring.filter(|_| !inside).map(|ring| self.rings[ring].members.as_slice());
        let members = ring.unwrap_or_default().iter().filter(move |member| **member != edge.on);
        let for_members = match edge.condition {
            Condition::Started => Condition::Started,
            Condition::Ready | Condition::Succeeded => Condition::Ready,
        };
        core::iter::once((edge.on, edge.condition))
            .chain(members.map(move |member| (*member, for_members)))
            .map(|(on, condition)| Requirement {
                on,
                condition: Some(condition),
                state: self.condition_state(on, condition),
            })
    }

    /// Whether a service has reached what a condition requires.
    fn condition_state(&self, id: Id, condition: Condition) -> ConditionState {
        let node = &self.nodes[id];
        if self.condition_holds(node, condition) {
            return ConditionState::Holds;
        }
        if let Some(reason) = self.why_never(id) {
            return ConditionState::Impossible(reason);
        }
        if condition == Condition::Succeeded && !node.is_job() {
            return ConditionState::Impossible(format!("`{}` is not a job", node.spec.name));
        }
        let unbuilt = matches!(node.build.state, BuildState::Failed { .. });
        // A run that was started as a service continues, and does not do the work of the job.
        if node.is_job() && !node.is_due() && node.is_ready() {
            if unbuilt {
                let reason = format!("`{}` could not be built, and is no job yet", node.spec.name);
                return ConditionState::Impossible(reason);
            }
            if let Some(refusal) = &node.ports.refusal {
                let reason = format!("`{}` is no job yet: {}", node.spec.name, refusal.reason);
                return ConditionState::Impossible(reason);
            }
        }
        ConditionState::Pending
    }

    fn condition_holds(&self, node: &Node, condition: Condition) -> bool {
        // A job whose program is being built may have to run again first.
        let outdated = node.stopping().is_some() && node.may_be_outdated();
        let done = node.has_succeeded() && !node.is_building() && !outdated;
        match condition {
            Condition::Started => (node.is_started() && !node.is_due()) || (node.is_job() && done),
            Condition::Ready if node.is_job() => done,
            Condition::Ready => node.is_ready() && !node.is_unhealthy() && !node.is_due(),
            Condition::Succeeded => node.is_job() && done,
        }
    }

    /// Why a service makes no further progress without user action.
    fn why_never(&self, id: Id) -> Option<String> {
        let node = &self.nodes[id];
        match node.phase() {
            Phase::Rest(Rest::Failed { failure, reason }) => {
                Some(messages::failed(&node.spec.name, *failure, reason))
            }
            Phase::Rest(Rest::Stopped { reason }) => Some(format!("`{}` {reason}", node.spec.name)),
            Phase::Rest(Rest::Succeeded) => None,
            Phase::Stopping(_) if node.is_lost() => {
                Some(format!("`{}` {}", node.spec.name, messages::LOST))
            }
            Phase::Rest(Rest::Idle | Rest::Backoff { .. })
            | Phase::Starting(_)
            | Phase::Ready(_)
            | Phase::Stopping(_) => {
                (!node.wanted).then(|| format!("`{}` was taken down", node.spec.name))
            }
        }
    }

    /// Whether other services can be started with the address of this service.
    pub(super) fn address_state(&self, id: Id) -> ConditionState {
        let node = &self.nodes[id];
        if node.spec.ports.is_empty() {
            return ConditionState::Holds;
        }
        // A run keeps its address unless it is about to be replaced.
        let stays = node.is_running() && !node.may_be_outdated();
        let moving = node.wanted && self.is_bindable(id) && !self.is_given_up(id) && !stays;
        // A finished job whose ports have changed is about to run again.
        let again =
            node.wanted && *node.phase() == Phase::Rest(Rest::Succeeded) && node.may_be_outdated();
        let coming = match node.ports.state {
            PortState::Bound => (moving || again) && !self.ports_match_plan(id),
            PortState::Requested => true,
            PortState::Unbound => moving,
            // A known number is kept whatever happens to the port holder.
            PortState::Closing { .. }
            | PortState::Held(_)
            | PortState::Inspecting { .. }
            | PortState::Decided(_) => {
                moving && (!self.ports_match_plan(id) || self.numbers(id).is_none())
            }
            PortState::Failed(..) => false,
        };
        if coming {
            return ConditionState::Pending;
        }
        match self.numbers_for_others(id) {
            Some(_) => ConditionState::Holds,
            None => ConditionState::Impossible(
                self.why_never(id)
                    .unwrap_or_else(|| format!("the address of `{}` is not known", node.spec.name)),
            ),
        }
    }

    fn is_given_up(&self, id: Id) -> bool {
        match self.nodes[id].phase() {
            Phase::Rest(Rest::Failed { .. } | Rest::Stopped { .. } | Rest::Succeeded) => true,
            Phase::Rest(Rest::Idle | Rest::Backoff { .. })
            | Phase::Starting(_)
            | Phase::Ready(_)
            | Phase::Stopping(_) => self.nodes[id].is_lost(),
        }
    }

    /// The first dependent that is ending and still needs this service.
    pub(crate) fn stopping_dependent(&self, id: Id) -> Option<Id> {
        self.nodes[id].edges.dependents.iter().map(|(dependent, _)| *dependent).find(|dependent| {
            let node = &self.nodes[*dependent];
            node.is_ending() && node.holds_dependencies()
        })
    }

    /// The first dependent that restarts with this service and has not ended yet.
    pub(crate) fn restarting_dependent(&self, id: Id) -> Option<Id> {
        self.nodes[id].edges.dependents.iter().find_map(|(dependent, restart)| {
            let node = &self.nodes[*dependent];
            (*restart && node.wanted && node.is_ending() && node.holds_dependencies())
                .then_some(*dependent)
        })
    }
}
