//! Ports: requested as soon as a service is wanted, closed when it is taken down or given
//! up, so that callers are refused instead of left hanging.
//!
//! The driver chooses the numbers. `adoption` decides about a process that holds a port.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::adoption::ExpectedProcess;
use super::event::{BindFailure, PortHolder};
use super::node::Id;
use super::phase::RunOrigin;
use super::siblings::{PortCheck, Refusal};
use super::{Effect, Stack, messages, unexpected};
use crate::plan::Port;
use crate::snapshot::Failure;
use crate::terms::Name;

#[derive(Clone, Debug, Default)]
pub(crate) struct Ports {
    pub(crate) state: PortState,
    /// The last request: ports, and whether the service inherits their sockets.
    pub(crate) requested: Option<(Vec<Port>, bool)>,
    /// The numbers of the last request. The next request asks for them again, because other
    /// services were started with them.
    pub(crate) numbers: Vec<u16>,
    /// The numbers that other services may have been started with.
    pub(crate) announced: Vec<u16>,
    /// Whether the last request asked for remembered numbers.
    pub(crate) remembered: bool,
    /// The pid of the port holder that the last inspection did not find, until the next answer to
    /// a request.
    pub(crate) unseen_holder: Option<u32>,
    /// How many processes of the same program may still be stopped to free the ports.
    pub(crate) evictions: u32,
    /// Whether the new ports of a run are free, as far as that was asked.
    pub(crate) check: PortCheck,
    /// Why the run keeps its previous ports.
    pub(crate) refusal: Option<Refusal>,
}

impl Ports {
    /// Gives the ports up, or tries other numbers if these were only remembered.
    pub(super) fn refuse(&mut self, failure: Failure, reason: String) {
        self.state = if self.remembered {
            self.numbers.clear();
            PortState::Unbound
        } else {
            PortState::Failed(failure, reason)
        };
    }
}

/// Whether a service has its ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum PortState {
    #[default]
    Unbound,
    Requested,
    Bound,
    /// The system keeps closed connections there until this time. `reason` is a short fact.
    Closing {
        until: Duration,
        reason: String,
    },
    /// Another process holds a port and may be worth an inspection.
    Held(HeldPort),
    /// The port holder is being inspected. `expected` as in [`HolderDecision`].
    Inspecting {
        held: HeldPort,
        expected: Option<ExpectedProcess>,
    },
    /// The port holder will be adopted or stopped.
    Decided(HolderDecision),
    /// The service cannot have its ports.
    Failed(Failure, String),
}

/// The shortest wait for a port with closed connections. The system may need a little longer
/// than its timer shows.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);

/// A port that another process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldPort {
    pub(crate) port: u16,
    /// The process, if the system shows it.
    pub(crate) holder: Option<Box<PortHolder>>,
    /// Its user, if the system shows only that.
    pub(crate) user: Option<String>,
    /// Why other ports of the service cannot be bound either.
    pub(crate) others: Vec<BindFailure>,
}

/// A port holder, and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HolderDecision {
    /// The process, if the system shows it.
    pub(crate) holder: Option<Box<PortHolder>>,
    /// What it was compared with; none where `adopt` accepts any process.
    pub(super) expected: Option<ExpectedProcess>,
    pub(super) action: HolderAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HolderAction {
    /// It becomes the run of the service.
    Adopt,
    /// It is stopped.
    Evict,
}

impl Stack {
    /// Requests the ports of a service without a run, unless it has them.
    pub(crate) fn request_ports(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if !self.is_bindable(id) {
            return self.release_ports(id, effects);
        }
        let anew = match &self.nodes[id].ports.state {
            PortState::Unbound => true,
            PortState::Bound | PortState::Held(_) => !self.ports_match_plan(id),
            PortState::Decided(tenant) => !self.is_decision_current(id, tenant),
            PortState::Closing { until, .. } => {
                // To pass the sockets on in another way does not free the port earlier.
                *until <= self.now || !self.port_list_matches_plan(id)
            }
            PortState::Requested | PortState::Inspecting { .. } | PortState::Failed(..) => false,
        };
        if anew {
            self.release_ports(id, effects);
            self.bind_unless_occupied(id, effects);
        } else {
            self.inspect_holder(id, effects);
        }
    }

    /// Closes the sockets of a service without a run, and forgets the port holder.
    pub(crate) fn release_ports(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let bound = &mut self.nodes[id].ports.state;
        match bound {
            PortState::Bound => {
                *bound = PortState::Unbound;
                effects.push(Effect::Unbind { service: self.nodes[id].spec.name.clone() });
            }
            PortState::Closing { .. } | PortState::Held(_) | PortState::Decided(_) => {
                *bound = PortState::Unbound;
            }
            PortState::Unbound
            | PortState::Requested
            | PortState::Inspecting { .. }
            | PortState::Failed(..) => {}
        }
    }

    /// Allows another request after a failed one.
    pub(crate) fn forget_bind_failure(&mut self, id: Id) {
        if let PortState::Failed(..) = self.nodes[id].ports.state {
            self.nodes[id].ports.state = PortState::Unbound;
        }
    }

    pub(super) fn bind_ports(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let node = &mut self.nodes[id];
        let mut ports = node.spec.ports.clone();
        let same =
            node.ports.requested.as_ref().is_some_and(|(asked, _)| same_ports(asked, &ports));
        if !same || node.ports.numbers.len() != ports.len() {
            node.ports.numbers.clear();
        }
        node.ports.remembered = false;
        for (port, number) in ports.iter_mut().zip(&node.ports.numbers) {
            node.ports.remembered |= port.number.is_none();
            port.number = port.number.or(Some(*number));
        }
        let listen = node.spec.socket_activation;
        node.ports.requested = Some((node.spec.ports.clone(), listen));
        node.ports.state = PortState::Requested;
        effects.push(Effect::Bind { service: node.spec.name.clone(), ports, listen });
    }

    pub(super) fn bound(&mut self, service: &Name, numbers: Vec<u16>, effects: &mut Vec<Effect>) {
        let Some(id) = self.known(service, "`bound`", effects) else { return };
        let ports = &self.nodes[id].ports;
        let asked = ports.requested.as_ref().map_or(&[][..], |(asked, _)| asked);
        if ports.state != PortState::Requested || !answers(asked, &numbers) {
            unexpected(effects, format!("`bound` for `{service}` with ports {numbers:?}"));
            return;
        }
        self.nodes[id].ports.unseen_holder = None;
        if !self.is_bindable(id) {
            // Meanwhile the plan made it `external` or took its ports away.
            effects.push(Effect::Unbind { service: service.clone() });
            self.nodes[id].ports.state = PortState::Unbound;
            self.enqueue(id);
            return;
        }
        self.nodes[id].ports.state = PortState::Bound;
        self.enqueue(id);
        self.set_numbers(id, numbers);
    }

    /// Sets the numbers of the service, for itself and for other services.
    pub(super) fn set_numbers(&mut self, id: Id, numbers: Vec<u16>) {
        let ports = &mut self.nodes[id].ports;
        let moved = ports.announced != numbers;
        ports.announced.clone_from(&numbers);
        ports.numbers = numbers;
        if moved {
            self.announce_new_address(id);
        }
        self.nodes[id].moves_with = None;
    }

    /// Services that were started with the old address have to be compared. Services outside of the
    /// named `up` that moves it keep running.
    pub(super) fn announce_new_address(&mut self, id: Id) {
        let edges = self.nodes[id].edges.clone();
        let only = self.nodes[id].moves_with;
        let name = self.nodes[id].spec.name.clone();
        let knowing = edges.dependents.iter().map(|(id, _)| id).chain(&edges.users);
        for &neighbour in knowing {
            let node = &mut self.nodes[neighbour];
            if !node.is_running() || node.handover.of.is_some() {
                continue;
            }
            if only.is_some_and(|plan| node.last_plan < plan) {
                node.observed.outdated = Some(format!("`{name}` has another address"));
                self.worklist.touched.insert(neighbour);
            } else {
                node.lifecycle.request_check(false);
                self.enqueue(neighbour);
            }
        }
    }

    pub(super) fn bind_failed(
        &mut self,
        service: &Name,
        failure: BindFailure,
        others: Vec<BindFailure>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.known(service, "`bind-failed`", effects) else { return };
        if self.nodes[id].ports.state != PortState::Requested {
            unexpected(effects, format!("`bind-failed` for `{service}`, which requested no ports"));
            return;
        }
        self.enqueue(id);
        if !self.is_bindable(id) {
            // As in `bound`.
            self.nodes[id].ports.state = PortState::Unbound;
            return;
        }
        // To wait for one port is useless if the service cannot have another.
        let mut failures = alloc::vec![failure];
        failures.extend(others);
        failures.sort_by_key(|failure| matches!(failure, BindFailure::Closing { .. }));
        let (failure, others) = (failures.remove(0), failures);
        match failure {
            BindFailure::Held { port, holder, user } => {
                self.port_held(id, HeldPort { port, holder, user, others });
            }
            BindFailure::Closing { port, remaining } => {
                let reason = messages::closing(port, remaining);
                let until = self.now.saturating_add(remaining.max(SHORTEST_WAIT));
                self.nodes[id].ports.state = PortState::Closing { until, reason };
            }
            BindFailure::Other { .. } => {
                let reason = messages::without_ports(&failure, &others);
                self.nodes[id].ports.refuse(Failure::Start, reason);
            }
        }
    }

    /// Whether xtask binds the ports of this service.
    pub(crate) fn is_bindable(&self, id: Id) -> bool {
        !self.nodes[id].is_external() && !self.nodes[id].spec.ports.is_empty()
    }

    /// Whether the last request is for the ports of the plan, with sockets passed on in the same
    /// way.
    pub(crate) fn ports_match_plan(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        let asked = node.ports.requested.as_ref();
        asked.is_some_and(|(_, listen)| *listen == node.spec.socket_activation)
            && self.port_list_matches_plan(id)
    }

    pub(super) fn port_list_matches_plan(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        let asked = node.ports.requested.as_ref();
        asked.is_some_and(|(ports, _)| same_ports(ports, &node.spec.ports))
    }

    /// The numbers of the ports: current, remembered or fixed ones.
    pub(crate) fn numbers(&self, id: Id) -> Option<Vec<u16>> {
        let id = self.service_of(id);
        let node = &self.nodes[id];
        // A run whose ports xtask did not bind keeps its address until it ends: an adopted one, and
        // that of a service that was `external`.
        if let Some(RunOrigin::Unmanaged | RunOrigin::Adopted) = node.origin()
            && let Some(launched) = node.lifecycle.launched()
            && launched.numbers.len() == node.spec.ports.len()
            && !node.is_external()
        {
            return Some(launched.numbers.clone());
        }
        // Numbers that xtask bound do not belong to a service that became `external`.
        let usable = self.is_bindable(id)
            && (node.ports.state == PortState::Bound || self.port_list_matches_plan(id));
        if usable && node.ports.numbers.len() == node.spec.ports.len() {
            return Some(node.ports.numbers.clone());
        }
        node.fixed_numbers()
    }

    /// The numbers that other services are started with. A service that was taken down keeps the
    /// sockets of its last run only until that run ends.
    pub(crate) fn numbers_for_others(&self, id: Id) -> Option<Vec<u16>> {
        let node = &self.nodes[id];
        if node.wanted || self.port_list_matches_plan(id) {
            return self.numbers(id);
        }
        node.fixed_numbers()
    }
}

/// Whether these numbers can be the answer to a request: an answer to an earlier request has
/// others.
fn answers(asked: &[Port], numbers: &[u16]) -> bool {
    let fits = |(port, number): (&Port, &u16)| port.number.is_none_or(|fixed| fixed == *number);
    asked.len() == numbers.len() && asked.iter().zip(numbers).all(fits)
}

/// Whether two lists declare the same ports, wherever they are declared.
pub(crate) fn same_ports(left: &[Port], right: &[Port]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|(left, right)| {
            left.name == right.name && left.host == right.host && left.number == right.number
        })
}
