//! Ports that move between services of the stack: what frees a port stops first.
//!
//! A service without a run waits for a port that a sibling is about to free, and fails if the
//! sibling keeps it. A run whose new ports are held keeps running on its previous ones.

use crate::sorted::SortedSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::BindFailure;
use super::node::Id;
use super::phase::{Phase, Rest};
use super::ports::PortState;
use super::{Effect, Stack, messages, unexpected};
use crate::plan::Port;
use crate::snapshot::Failure;
use crate::terms::host::overlap;
use crate::terms::{Adopt, Name};

/// Whether the new ports of a run are free.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum PortCheck {
    #[default]
    Unasked,
    /// The driver tries to bind these ports.
    Asked(Vec<Port>),
    /// The answer about these ports: why they cannot be bound, none if they are free.
    Answered(Vec<Port>, Option<Refusal>),
}

/// Why a service cannot have its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    pub(crate) reason: String,
}

/// What a run can expect of the ports that its service wants now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// They are free, or will be once services that move have stopped.
    Free,
    /// A sibling is still being compared, or the driver has not answered.
    Pending,
    Refused(Refusal),
}

impl Stack {
    /// Requests the ports, unless a sibling occupies one of them: the service waits for it, or
    /// fails if the sibling stays.
    pub(super) fn bind_unless_occupied(&mut self, id: Id, effects: &mut Vec<Effect>) {
        match self.sibling_on_port(id) {
            None => {
                self.port_waiters.remove(&id);
                self.bind_ports(id, effects);
            }
            Some((number, sibling)) if self.keeps_ports(sibling) => {
                let Refusal { failure, reason } = self.held_by_sibling(number, sibling);
                self.nodes[id].ports.state = PortState::Failed(failure, reason);
                self.enqueue(id);
            }
            Some(_) => drop(self.port_waiters.insert(id)),
        }
    }

    /// The service from which this one waits to get a port, with the number.
    pub(super) fn awaited_sibling(&self, id: Id) -> Option<(u16, Id)> {
        let waits = self.port_waiters.contains(&id)
            && self.nodes[id].ports.state == PortState::Unbound
            && self.is_bindable(id);
        if waits { self.sibling_on_port(id) } else { None }
    }

    /// Queues the services that wait for a port of a sibling.
    pub(super) fn enqueue_port_waiters(&mut self) {
        for id in self.port_waiters.clone() {
            self.enqueue(id);
        }
    }

    /// What a run can expect of the ports that its service wants now. Asks the driver about those
    /// that no service of the stack occupies.
    pub(super) fn port_outlook(&mut self, id: Id, effects: &mut Vec<Effect>) -> Outlook {
        // An eviction or an adoption needs the port holder.
        let takes_holder =
            self.nodes[id].ports.evictions > 0 || self.nodes[id].spec.adopt == Adopt::Any;
        if !self.is_bindable(id) || takes_holder {
            return Outlook::Free;
        }
        self.ask_for_free_ports(id, effects);
        let outlook = self.outlook(id, &mut SortedSet::new());
        match outlook {
            Outlook::Pending => drop(self.port_waiters.insert(id)),
            Outlook::Free | Outlook::Refused(_) => drop(self.port_waiters.remove(&id)),
        }
        outlook
    }

    /// As [`Self::port_outlook`]. A circle of services that all move is free.
    fn outlook(&self, id: Id, visited: &mut SortedSet<Id>) -> Outlook {
        if !visited.insert(id) {
            return Outlook::Free;
        }
        let mut pending = false;
        match &self.nodes[id].ports.check {
            PortCheck::Answered(ports, refusal) if *ports == self.free_ports(id) => {
                if let Some(refusal) = refusal {
                    return Outlook::Refused(refusal.clone());
                }
            }
            _ => pending |= !self.free_ports(id).is_empty(),
        }
        for (number, sibling) in self.siblings_on_ports(id) {
            if self.keeps_ports(sibling) {
                return Outlook::Refused(self.held_by_sibling(number, sibling));
            }
            let node = &self.nodes[sibling];
            let undecided = node.is_running() && !node.is_due();
            if !undecided {
                continue;
            }
            pending |= node.is_building();
            match self.outlook(sibling, visited) {
                Outlook::Free => {}
                Outlook::Pending => pending = true,
                Outlook::Refused(_) => {
                    return Outlook::Refused(self.held_by_sibling(number, sibling));
                }
            }
        }
        if pending { Outlook::Pending } else { Outlook::Free }
    }

    fn ask_for_free_ports(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let ports = self.free_ports(id);
        let ask = match &self.nodes[id].ports.check {
            PortCheck::Unasked => true,
            PortCheck::Asked(_) => false,
            PortCheck::Answered(answered, _) => *answered != ports,
        };
        if ask && !ports.is_empty() {
            let service = self.nodes[id].spec.name.clone();
            self.nodes[id].ports.check = PortCheck::Asked(ports.clone());
            effects.push(Effect::CheckPorts { service, ports });
        }
    }

    pub(super) fn ports_checked(
        &mut self,
        service: &Name,
        failures: &[BindFailure],
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.known(service, "`ports-checked`", effects) else { return };
        let PortCheck::Asked(ports) = &self.nodes[id].ports.check else {
            let what = format!("`ports-checked` for `{service}`, which asked for no check");
            return unexpected(effects, what);
        };
        // A port whose old connections are still closing will be free.
        let closing = |failure: &&BindFailure| matches!(failure, BindFailure::Closing { .. });
        let lasting: Vec<BindFailure> =
            failures.iter().filter(|failure| !closing(failure)).cloned().collect();
        let refusal = lasting.split_first().map(|(first, others)| Refusal {
            failure: match first {
                BindFailure::Held { .. } => Failure::Port,
                BindFailure::Closing { .. } | BindFailure::Other { .. } => Failure::Start,
            },
            reason: messages::without_ports(first, others),
        });
        self.nodes[id].ports.check = PortCheck::Answered(ports.clone(), refusal);
        self.enqueue(id);
        self.enqueue_port_waiters();
    }

    /// A new plan may have other ports, and other programs may hold them.
    pub(super) fn forget_port_check(&mut self, id: Id) {
        let ports = &mut self.nodes[id].ports;
        ports.refusal = None;
        if let PortCheck::Answered(..) = ports.check {
            ports.check = PortCheck::Unasked;
        }
    }

    /// The fixed ports of the plan that no service of the stack occupies.
    fn free_ports(&self, id: Id) -> Vec<Port> {
        let ports = self.nodes[id].spec.ports.iter();
        ports
            .filter(|port| {
                port.number.is_some_and(|number| {
                    let all = 0..self.nodes.len();
                    !all.into_iter().any(|other| self.occupies(other, &port.host, number))
                })
            })
            .cloned()
            .collect()
    }

    /// The first other service that occupies a fixed port of this one, with the number.
    fn sibling_on_port(&self, id: Id) -> Option<(u16, Id)> {
        self.siblings_on_ports(id).next()
    }

    fn siblings_on_ports(&self, id: Id) -> impl Iterator<Item = (u16, Id)> + '_ {
        let ports = self.nodes[id].spec.ports.iter();
        let fixed = ports.filter_map(|port| Some((port.host.as_str(), port.number?)));
        fixed.filter_map(move |(host, number)| {
            let mut others = (0..self.nodes.len()).filter(|other| *other != id);
            let sibling = others.find(|other| self.occupies(*other, host, number))?;
            Some((number, sibling))
        })
    }

    /// Whether the sockets or the run of a service occupy this port.
    fn occupies(&self, id: Id, host: &str, number: u16) -> bool {
        let ports = &self.nodes[id].ports;
        let active = match &ports.state {
            PortState::Bound | PortState::Requested => true,
            PortState::Decided(_) => self.nodes[id].has_process(),
            PortState::Unbound
            | PortState::Held(_)
            | PortState::Inspecting { .. }
            | PortState::Closing { .. }
            | PortState::Failed(..) => false,
        };
        let asked = ports.requested.iter().flat_map(|(asked, _)| asked).enumerate();
        active
            && asked.into_iter().any(|(index, port)| {
                let own = ports.numbers.get(index).copied().or(port.number);
                own == Some(number) && overlap(&port.host, host)
            })
    }

    /// Whether a service that occupies a port will not free it without user action.
    fn keeps_ports(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        if node.is_lost() {
            return true;
        }
        if node.is_due() {
            return false;
        }
        let declares = self.is_bindable(id) && self.port_list_matches_plan(id);
        let done = matches!(node.phase(), Phase::Rest(Rest::Succeeded));
        // A run or a finished job that is not compared any more stays as it is.
        declares || ((node.is_running() || done) && !node.may_be_outdated())
    }

    fn held_by_sibling(&self, number: u16, sibling: Id) -> Refusal {
        let reason =
            messages::held_by_sibling(number, &self.nodes[sibling].spec.name, &self.identity.stack);
        Refusal { failure: Failure::Sibling, reason }
    }
}
