//! What a service waits for, and whether that can still come.
//!
//! Only looks; `settle` acts on what is found here.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Stack;
use super::node::{Build, Edge, Id, Node, Phase, Rest};
use super::tenancy::Bound;
use super::words;
use crate::plan::{Port, Program};
use crate::terms::Condition;

/// Whether something that is waited for is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Yes.
    Holds,
    /// Not yet.
    Waits,
    /// Not before somebody does something about it, and what.
    Never(String),
}

/// One thing that a service waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// Whom it waits for.
    pub(crate) on: Id,
    /// What for; none for the address.
    pub(crate) condition: Option<Condition>,
    /// Whether it is there.
    pub(crate) standing: Standing,
}

impl Stack {
    /// Everything that a start of this service needs of others and that is not there.
    pub(crate) fn unmet(&self, id: Id) -> Vec<Want> {
        self.wants(id).filter(|want| want.standing != Standing::Holds).collect()
    }

    /// Why this service will not start before somebody does something, if so.
    pub(crate) fn hopeless(&self, id: Id) -> Option<String> {
        self.wants(id).find_map(|want| match want.standing {
            Standing::Holds | Standing::Waits => None,
            Standing::Never(reason) => Some(reason),
        })
    }

    /// Whether everything that a start needs of others is there.
    pub(crate) fn all_conditions_hold(&self, id: Id) -> bool {
        self.wants(id).all(|want| want.standing == Standing::Holds)
    }

    fn wants(&self, id: Id) -> impl Iterator<Item = Want> + '_ {
        let edges = &self.nodes[id].edges;
        let conditions = edges.dependencies.iter().flat_map(move |edge| self.edge_wants(id, *edge));
        let addresses = edges
            .dependencies
            .iter()
            .map(|edge| edge.on)
            .chain(edges.uses.iter().copied())
            .map(move |on| Want { on, condition: None, standing: self.address_standing(on) });
        conditions.chain(addresses)
    }

    /// The dependency itself, and for a dependent from outside everybody who starts
    /// together with it.
    fn edge_wants(&self, dependent: Id, edge: Edge) -> impl Iterator<Item = Want> + '_ {
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
            .map(|(on, condition)| Want {
                on,
                condition: Some(condition),
                standing: self.standing(on, condition),
            })
    }

    /// Whether a service has got as far as a condition asks.
    fn standing(&self, id: Id, condition: Condition) -> Standing {
        let node = &self.nodes[id];
        if self.condition_holds(node, condition) {
            return Standing::Holds;
        }
        if let Some(reason) = self.why_never(id) {
            return Standing::Never(reason);
        }
        if condition == Condition::Succeeded && !node.is_job() {
            return Standing::Never(format!("`{}` is not a job", node.spec.name));
        }
        if let (true, Phase::Ready(_), Build::Failed { .. }) =
            (node.is_job() && !node.is_due(), &node.phase, &node.build)
        {
            let name = &node.spec.name;
            return Standing::Never(format!("`{name}` could not be built, and is no job yet"));
        }
        Standing::Waits
    }

    fn condition_holds(&self, node: &Node, condition: Condition) -> bool {
        // A job whose program is being built may have to run again first.
        let done = node.phase == Phase::Rest(Rest::Succeeded) && !node.is_building();
        let ready = match node.phase {
            Phase::Ready(_) => !node.is_due(),
            Phase::Starting(_) | Phase::Rest(_) | Phase::Stopping(_) => false,
        };
        match condition {
            Condition::Started => (node.is_started() && !node.is_due()) || (node.is_job() && done),
            Condition::Ready => {
                if node.is_job() {
                    done
                } else {
                    ready
                }
            }
            Condition::Succeeded => node.is_job() && done,
        }
    }

    /// Why a service will not get anywhere by itself.
    fn why_never(&self, id: Id) -> Option<String> {
        let node = &self.nodes[id];
        match &node.phase {
            Phase::Rest(Rest::Failed { failure, reason }) => {
                Some(words::failed(&node.spec.name, *failure, reason))
            }
            Phase::Rest(Rest::Stopped { reason }) => Some(format!("`{}` {reason}", node.spec.name)),
            Phase::Rest(Rest::Succeeded) => None,
            Phase::Stopping(_) if node.is_lost() => {
                Some(format!("`{}` {}", node.spec.name, words::LOST))
            }
            Phase::Rest(Rest::Idle | Rest::Backoff { .. })
            | Phase::Starting(_)
            | Phase::Ready(_)
            | Phase::Stopping(_) => {
                (!node.wanted).then(|| format!("`{}` was taken down", node.spec.name))
            }
        }
    }

    /// Whether the address of a service can be given to others.
    pub(super) fn address_standing(&self, id: Id) -> Standing {
        let node = &self.nodes[id];
        if node.spec.ports.is_empty() {
            return Standing::Holds;
        }
        // What runs keeps the address it has, unless it is about to be replaced.
        let stays = node.is_running() && !node.is_unsettled();
        let moving = node.wanted && self.is_bindable(id) && !self.is_given_up(id) && !stays;
        // A job that is done, and wanted with other ports, is about to run again.
        let again =
            node.wanted && node.phase == Phase::Rest(Rest::Succeeded) && node.is_unsettled();
        let coming = match node.address.bound {
            Bound::Yes => (moving || again) && !self.asked_as_wanted(id),
            Bound::Asked => true,
            Bound::No => moving,
            // Whatever becomes of the holder, a number that is known stays.
            Bound::Held(_) | Bound::Looking { .. } | Bound::Taken(_) => {
                moving && (!self.asked_as_wanted(id) || self.numbers(id).is_none())
            }
            Bound::Failed { .. } => false,
        };
        if coming {
            return Standing::Waits;
        }
        match self.numbers_for_others(id) {
            Some(_) => Standing::Holds,
            None => Standing::Never(
                self.why_never(id)
                    .unwrap_or_else(|| format!("the address of `{}` is not known", node.spec.name)),
            ),
        }
    }

    fn is_given_up(&self, id: Id) -> bool {
        match &self.nodes[id].phase {
            Phase::Rest(Rest::Failed { .. } | Rest::Stopped { .. } | Rest::Succeeded) => true,
            Phase::Rest(Rest::Idle | Rest::Backoff { .. })
            | Phase::Starting(_)
            | Phase::Ready(_)
            | Phase::Stopping(_) => self.nodes[id].is_lost(),
        }
    }

    /// Whether the tool gets the ports of this service for it.
    pub(crate) fn is_bindable(&self, id: Id) -> bool {
        match self.nodes[id].spec.program {
            Program::Artifact { .. } | Program::Command { .. } | Program::Image { .. } => {
                !self.nodes[id].spec.ports.is_empty()
            }
            Program::External => false,
        }
    }

    /// Whether the ports last asked for are those of the plan, and in the same way.
    pub(crate) fn asked_as_wanted(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        let asked = node.address.asked.as_ref();
        let same_way = asked.is_some_and(|(_, listen)| *listen == node.spec.socket_activation);
        same_way && self.asked_for_these_ports(id)
    }

    /// Whether they are those of the plan, whoever listens on them.
    fn asked_for_these_ports(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        let asked = node.address.asked.as_ref();
        asked.is_some_and(|(ports, _)| same_ports(ports, &node.spec.ports))
    }

    /// The numbers of a service's ports: those that it has, had, or always has.
    pub(crate) fn numbers(&self, id: Id) -> Option<Vec<u16>> {
        let node = &self.nodes[id];
        // What the tool had for a service that it does not manage any more is not its.
        let usable = self.is_bindable(id)
            && (node.address.bound == Bound::Yes || self.asked_for_these_ports(id));
        if usable
            && !node.spec.ports.is_empty()
            && node.address.numbers.len() == node.spec.ports.len()
        {
            return Some(node.address.numbers.clone());
        }
        node.spec.ports.iter().map(|port| port.number).collect()
    }

    /// The numbers that others are told. What was taken down has the sockets of its last
    /// run until that has ended; if they are not those of the plan, it never has them again.
    pub(crate) fn numbers_for_others(&self, id: Id) -> Option<Vec<u16>> {
        let node = &self.nodes[id];
        if node.wanted || self.asked_for_these_ports(id) {
            return self.numbers(id);
        }
        node.spec.ports.iter().map(|port| port.number).collect()
    }

    /// Whether a dependent that is to end as well is still there: what it depends on
    /// goes on until it is gone.
    pub(crate) fn is_held(&self, id: Id) -> bool {
        self.holder(id).is_some()
    }

    /// The first such dependent.
    pub(crate) fn holder(&self, id: Id) -> Option<Id> {
        self.nodes[id].edges.dependents.iter().map(|(dependent, _)| *dependent).find(|dependent| {
            let node = &self.nodes[*dependent];
            node.is_ending() && node.is_in_the_way()
        })
    }

    /// The first dependent that is restarted with this service and has not ended yet.
    pub(crate) fn restarting_dependent(&self, id: Id) -> Option<Id> {
        self.nodes[id].edges.dependents.iter().find_map(|(dependent, restart)| {
            let node = &self.nodes[*dependent];
            (*restart && node.wanted && node.is_ending() && node.is_in_the_way())
                .then_some(*dependent)
        })
    }
}

/// Whether two lists of ports ask for the same, wherever they are declared.
pub(crate) fn same_ports(left: &[Port], right: &[Port]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            left.name == right.name && left.host == right.host && left.number == right.number
        })
}
