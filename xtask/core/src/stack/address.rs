//! Ports: asked for as soon as a service is wanted, closed when it is taken down or
//! given up, so that callers are refused instead of left hanging.
//!
//! Which numbers to choose is the world's business, and what becomes of somebody who
//! holds them is decided in `adopt`.

use alloc::format;
use alloc::vec::Vec;

use super::conditions::same_ports;
use super::event::BindFailure;
use super::node::{Check, Id};
use super::tenancy::{Bound, Held};
use super::{Effect, Stack, unexpected, words};
use crate::snapshot::Failure;
use crate::terms::Name;

impl Stack {
    /// Asks for the ports of a service that does not run, unless it has them.
    pub(crate) fn want_address(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if !self.is_bindable(id) {
            self.release_address(id, effects);
            return;
        }
        let anew = match &self.nodes[id].address.bound {
            Bound::No => true,
            Bound::Yes | Bound::Held(_) => !self.asked_as_wanted(id),
            Bound::Taken(tenant) => !self.is_settled_with(id, tenant),
            Bound::Asked | Bound::Looking { .. } | Bound::Failed { .. } => false,
        };
        if anew {
            self.release_address(id, effects);
            self.ask_for_ports(id, effects);
        } else {
            self.look(id, effects);
        }
    }

    /// Closes the sockets of a service that does not run, and forgets who holds its
    /// ports.
    pub(crate) fn release_address(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let bound = &mut self.nodes[id].address.bound;
        match bound {
            Bound::Yes => {
                *bound = Bound::No;
                effects.push(Effect::Unbind { service: self.nodes[id].spec.name.clone() });
            }
            Bound::Held(_) | Bound::Taken(_) => *bound = Bound::No,
            Bound::No | Bound::Asked | Bound::Looking { .. } | Bound::Failed { .. } => {}
        }
    }

    /// Lets a failed attempt be tried again.
    pub(crate) fn forget_bind_failure(&mut self, id: Id) {
        if let Bound::Failed { .. } = self.nodes[id].address.bound {
            self.nodes[id].address.bound = Bound::No;
        }
    }

    fn ask_for_ports(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let node = &mut self.nodes[id];
        let mut ports = node.spec.ports.clone();
        let same = node.address.asked.as_ref().is_some_and(|(asked, _)| same_ports(asked, &ports));
        if !same || node.address.numbers.len() != ports.len() {
            node.address.numbers.clear();
        }
        node.address.remembered = false;
        for (port, number) in ports.iter_mut().zip(&node.address.numbers) {
            node.address.remembered |= port.number.is_none();
            port.number = port.number.or(Some(*number));
        }
        let listen = node.spec.socket_activation;
        node.address.asked = Some((node.spec.ports.clone(), listen));
        node.address.bound = Bound::Asked;
        effects.push(Effect::Bind { service: node.spec.name.clone(), ports, listen });
    }

    pub(super) fn bound(&mut self, service: &Name, ports: Vec<u16>, effects: &mut Vec<Effect>) {
        let Some(id) = self.known(service, "`bound`", effects) else { return };
        let address = &mut self.nodes[id].address;
        let asked = address.asked.as_ref().map_or(0, |(asked, _)| asked.len());
        if address.bound != Bound::Asked || ports.len() != asked {
            unexpected(effects, format!("`bound` for `{service}` with {} ports", ports.len()));
            return;
        }
        if !self.is_bindable(id) {
            // Meanwhile it has become somebody else's, or has no ports any more.
            effects.push(Effect::Unbind { service: service.clone() });
            self.nodes[id].address.bound = Bound::No;
            self.enqueue(id);
            return;
        }
        self.nodes[id].address.bound = Bound::Yes;
        self.enqueue(id);
        self.give(id, ports);
    }

    /// These are the service's numbers from now on, for others too.
    pub(super) fn give(&mut self, id: Id, ports: Vec<u16>) {
        let address = &mut self.nodes[id].address;
        let moved = address.given != ports;
        address.given.clone_from(&ports);
        address.numbers = ports;
        if moved {
            self.tell_new_address(id);
        }
    }

    /// Whoever was started with the old address must not go on with it.
    pub(super) fn tell_new_address(&mut self, id: Id) {
        let edges = self.nodes[id].edges.clone();
        let knowing = edges.dependents.iter().map(|(id, _)| id).chain(&edges.users);
        for &neighbour in knowing {
            let node = &mut self.nodes[neighbour];
            if node.is_running() && node.check != Check::Said {
                node.check = Check::Quiet;
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
        let address = &mut self.nodes[id].address;
        if address.bound != Bound::Asked {
            unexpected(effects, format!("`bind-failed` for `{service}`, which asked for nothing"));
            return;
        }
        self.enqueue(id);
        if !self.is_bindable(id) {
            // As in `bound`: nobody wants them any more.
            self.nodes[id].address.bound = Bound::No;
            return;
        }
        let address = &mut self.nodes[id].address;
        match failure {
            BindFailure::Held { port, holder, user } => {
                self.held(id, Held { port, holder, user, others });
            }
            BindFailure::Other { .. } if address.remembered => {
                address.numbers.clear();
                address.bound = Bound::No;
            }
            BindFailure::Other { .. } => {
                let reason = words::without_ports(&failure, &others);
                address.bound = Bound::failed(Failure::Start, reason);
            }
        }
    }
}
