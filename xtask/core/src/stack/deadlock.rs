//! Start-up deadlocks: circles of services in which each waits for the next to become ready,
//! because its call is not accepted or its condition does not hold.
//!
//! This file only detects deadlocks. It stops no service before its `start-timeout`.

use crate::sorted::SortedMap;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use super::Stack;
use super::event::{Event, Fault, Run};
use super::node::Id;
use super::phase::Phase;
use crate::calls::{Blocked, Call, CallState, Called, Deadlock, DeadlockStep};
use crate::snapshot::Snapshot;
use crate::terms::Name;

/// Where a service can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAddress {
    /// The service that listens there.
    pub service: Name,
    /// The host that it binds.
    pub host: String,
    /// The number of the port.
    pub port: u16,
}

impl Stack {
    /// Whether a service reaches its `start-timeout` at this time. If so, the driver sends
    /// [`super::Event::Calls`] before any other event.
    #[must_use]
    pub fn gives_up_at(&self, now: Duration) -> bool {
        let due = self.worklist.deadlines.iter().take_while(|(at, _)| *at <= now);
        due.into_iter().any(|(_, id)| self.nodes[*id].starting().is_some())
    }

    /// The runs that reach a watchdog or a `start-timeout` at this time, each with the event that
    /// postpones it. The driver sends that event if a signal has stopped a process of the run:
    /// then the silence says nothing about the service. A pause that a test injected is kept.
    #[must_use]
    pub fn limits_at(&self, now: Duration) -> Vec<(Name, Run, Event)> {
        let due = self.worklist.deadlines.iter().take_while(|(at, _)| *at <= now);
        let limit = |(_, id): &(Duration, Id)| {
            let node = &self.nodes[*id];
            let (service, run) = (node.spec.name.clone(), node.run());
            if node.is_due() || !node.is_alive() || node.observed.fault == Some(Fault::Pause) {
                return None;
            }
            let event = match node.phase() {
                Phase::Starting(_) => {
                    let by = node.spec.start_timeout;
                    Event::ExtendTimeout { service: service.clone(), run, by }
                }
                Phase::Ready(ready) if ready.watchdog.is_some_and(|at| at <= now) => {
                    Event::WatchdogPing { service: service.clone(), run }
                }
                Phase::Ready(_) | Phase::Rest(_) | Phase::Stopping(_) => return None,
            };
            Some((service, run, event))
        };
        due.filter_map(limit).collect()
    }

    /// Records where the runs listen that reach their `start-timeout` now.
    pub(super) fn note_listeners(&mut self, mut elsewhere: SortedMap<Name, Vec<String>>) {
        let due = self.worklist.deadlines.iter().take_while(|(at, _)| *at <= self.now);
        for (_, id) in due {
            let node = &mut self.nodes[*id];
            if node.starting().is_some() {
                node.observed.elsewhere = elsewhere.remove(&node.spec.name).unwrap_or_default();
            }
        }
    }

    /// The addresses of all services with known ports.
    #[must_use]
    pub fn addresses(&self) -> Vec<ServiceAddress> {
        let of = |id: &Id| {
            let spec = &self.nodes[*id].spec;
            let numbers = self.known_numbers(*id).unwrap_or_default();
            let ports = spec.ports.iter().zip(numbers);
            ports.map(|(declared, port)| ServiceAddress {
                service: spec.name.clone(),
                host: declared.host.clone(),
                port,
            })
        };
        self.order.iter().flat_map(of).collect()
    }

    /// Adds observed calls, and the deadlocks that follow from them, to a snapshot.
    pub fn note_calls(&self, snapshot: &mut Snapshot, calls: &[Call]) {
        for service in &mut snapshot.services {
            let own = calls.iter().filter(|call| call.from == service.name);
            service.calls =
                own.map(|call| Called { to: call.to.clone(), state: call.state }).collect();
        }
        snapshot.deadlocks = self.deadlocks(calls);
    }

    /// Every deadlock among the services that are not ready. A service is in at most one of
    /// them.
    fn deadlocks(&self, calls: &[Call]) -> Vec<Deadlock> {
        let mut named = vec![false; self.nodes.len()];
        let mut found = Vec::new();
        if calls.iter().all(|call| call.state != CallState::Waiting) {
            return found;
        }
        for &id in &self.order {
            if !named[id]
                && let Some(circle) = self.circle(id, calls)
            {
                circle.iter().for_each(|(id, _)| named[*id] = true);
                found.push(self.deadlock(&circle));
            }
        }
        found
    }

    fn deadlock(&self, circle: &[(Id, Blocked)]) -> Deadlock {
        let name = |id: Id| self.nodes[id].spec.name.clone();
        let next = circle.iter().cycle().skip(1);
        let steps = circle.iter().zip(next).map(|((id, blocked), (on, _))| DeadlockStep {
            service: name(*id),
            blocked: *blocked,
            on: name(*on),
        });
        Deadlock { steps: steps.collect() }
    }

    /// The shortest circle from a service back to itself, with the way in which each waits for
    /// the next.
    fn circle(&self, start: Id, calls: &[Call]) -> Option<Vec<(Id, Blocked)>> {
        let mut came_from: Vec<Option<(Id, Blocked)>> = vec![None; self.nodes.len()];
        let mut open = VecDeque::from([start]);
        while let Some(id) = open.pop_front() {
            for (on, blocked) in self.waits(id, calls) {
                if came_from[on].is_none() {
                    came_from[on] = Some((id, blocked));
                    open.push_back(on);
                }
            }
        }
        let mut circle = Vec::new();
        let mut at = start;
        loop {
            let (before, blocked) = came_from[at]?;
            circle.insert(0, (before, blocked));
            at = before;
            if at == start {
                let calls = circle.iter().any(|(_, blocked)| *blocked == Blocked::Calling);
                return calls.then_some(circle);
            }
        }
    }

    /// The services that this one waits for and that must become ready first.
    fn waits(&self, id: Id, calls: &[Call]) -> Vec<(Id, Blocked)> {
        let node = &self.nodes[id];
        match node.phase() {
            Phase::Starting(_) | Phase::Stopping(_) => {
                let own = calls.iter().filter(|call| call.from == node.spec.name);
                let waiting = own.filter(|call| call.state == CallState::Waiting);
                let called = waiting.filter_map(|call| self.id_of(&call.to));
                called
                    .filter(|on| !self.nodes[*on].is_ready())
                    .map(|on| (on, Blocked::Calling))
                    .collect()
            }
            Phase::Rest(_) if node.wanted => {
                let unmet = self.unmet(id).into_iter();
                let conditions = unmet.filter(|want| want.condition.is_some());
                conditions.map(|want| (want.on, Blocked::Waiting)).collect()
            }
            Phase::Rest(_) | Phase::Ready(_) => Vec::new(),
        }
    }

    /// Why a service is blocked, according to the calls that were observed in this step.
    pub(super) fn blocked(&self, id: Id) -> Option<String> {
        let name = &self.nodes[id].spec.name;
        let deadlocks = self.deadlocks(&self.calls);
        if let Some(deadlock) = deadlocks.iter().find(|deadlock| deadlock.concerns(name)) {
            return Some(deadlock.to_string());
        }
        let called = self.waits(id, &self.calls).into_iter().next();
        called.map(|(on, _)| format!("it is blocked calling `{}`", self.nodes[on].spec.name))
    }
}
