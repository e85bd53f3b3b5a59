//! What users ask of a stack: apply a plan, take down, restart, replace, inject a fault,
//! shut down.
//!
//! Requests change what is wanted; `settle` does the rest in dependency order. A plan that
//! contradicts itself is refused whole, with a report.

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::build::BuildState;
use super::effect::{Report, Signal};
use super::event::Fault;
use super::node::{Done, Id, Node};
use super::phase::{Phase, Rest};
use super::ports::{PortState, same_ports};
use super::{Effect, Ending, Identity, Stack, messages, unexpected};
use crate::plan::{Plan, Program, Service};
use crate::terms::Name;

/// How a plan contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum PlanError {
    #[error("it contains `{0}` twice")]
    Duplicate(Name),
    #[error("`{0}` names `{1}`, which is unknown")]
    Unknown(Name, Name),
    #[error("`{0}` waits for itself through `depends-on`")]
    Cycle(Name),
}

impl Stack {
    pub(super) fn apply(&mut self, plan: Plan, effects: &mut Vec<Effect>) {
        if self.ending != Ending::No {
            unexpected(effects, String::from("`apply` while the stack ends"));
            return;
        }
        if let Err(error) = self.check_plan(&plan) {
            unexpected(effects, format!("a plan that contradicts itself: {error}"));
            return;
        }
        self.identity = Identity {
            stack: plan.stack,
            workspace: plan.workspace,
            data: plan.data,
            base_image: plan.base_image,
        };
        let (replace, context) = (plan.replace, plan.context);
        if let Some(declared) = &plan.declared {
            self.drop_undeclared(declared);
        }
        self.starts.faults = plan.faults;
        // Services outside the plan wait to be drawn only while starts are still drawn.
        for id in self.starts.startable.clone() {
            self.enqueue(id);
        }
        self.plans += 1;
        // A named `up` leaves the dependents of its services alone.
        let named_plan = (plan.declared.is_none() && plan.restart.is_empty()).then_some(self.plans);
        let before: Vec<Option<Vec<u16>>> =
            plan.services.iter().map(|spec| self.numbers(*self.ids.get(&spec.name)?)).collect();
        let ids: Vec<Id> = plan
            .services
            .into_iter()
            .map(|spec| {
                let known = self.ids.get(&spec.name).map(|id| &self.nodes[*id].spec.ports);
                let moved = known.is_some_and(|ports| !same_ports(ports, &spec.ports));
                let id = self.take_service(spec);
                let stays = self.nodes[id].ports.state == PortState::Bound
                    && self.port_list_matches_plan(id);
                let node = &mut self.nodes[id];
                node.moves_with = match (node.moves_with, named_plan) {
                    // It has the ports of the plan, whatever an earlier plan asked.
                    _ if stays => None,
                    // It still moves as an earlier named plan asked.
                    (Some(earlier), Some(_)) => Some(earlier),
                    (_, plan) => plan.filter(|_| moved),
                };
                id
            })
            .collect();
        for &id in &ids {
            let node = &mut self.nodes[id];
            node.contexts.requested = Some(context);
            node.last_plan = self.plans;
            // An adopted process was not started here and is not restarted.
            let ours = replace || !node.is_adopted();
            let restarts = ours && plan.restart.contains(&node.spec.name);
            // A run that was requested is not done before it succeeds.
            let may_skip = node.done != Done::No || matches!(node.phase(), Phase::Rest(_));
            node.done = match (plan.done.contains(&node.spec.name), node.done) {
                (true, Done::No) if may_skip && !restarts => Done::Before,
                (true, done) if !restarts => done,
                (true | false, _) => Done::No,
            };
            if restarts {
                node.lifecycle.request_restart();
            }
        }
        let named: SortedSet<Id> = ids.iter().copied().collect();
        let rest = core::mem::take(&mut self.order).into_iter().filter(|id| !named.contains(id));
        self.order = ids.iter().copied().chain(rest).collect();
        // Dependencies first: a service must not start beside a run that is about to be replaced.
        ids.iter().for_each(|id| self.enqueue(*id));
        for &id in &ids {
            // Its former dependencies may have waited for its end.
            self.enqueue_neighbours(id);
        }
        self.connect();
        for (id, before) in ids.into_iter().zip(before) {
            self.allow_evictions(id, replace);
            self.enqueue(id);
            // Dependents outside the plan may have other edges to it now.
            self.enqueue_neighbours(id);
            if self.nodes[id].lifecycle.replaces() && !self.nodes[id].hands_over() {
                // So may the dependents that restart with it.
                self.replace_dependents(id);
            }
            // An `external` service has its new address at once.
            if self.nodes[id].is_external() && before != self.numbers(id) {
                self.nodes[id].moves_with = named_plan;
                self.announce_new_address(id);
            }
            // Without a bind, the move ends here: the next one is another plan's.
            if !self.is_bindable(id) {
                self.nodes[id].moves_with = None;
            }
        }
    }

    /// Replaces the spec of one service and marks it as wanted.
    fn take_service(&mut self, spec: Service) -> Id {
        let id = *self.ids.entry(spec.name.clone()).or_insert(self.nodes.len());
        if id == self.nodes.len() {
            self.nodes.push(Node::new(spec.clone()));
        }
        self.forget_bind_failure(id);
        self.forget_port_check(id);
        let node = &mut self.nodes[id];
        node.handover.failed = None;
        let was_wanted = core::mem::replace(&mut node.wanted, true);
        let built = matches!(spec.program, Program::Artifact { .. });
        if node.is_external()
            && let Some(numbers) = node.fixed_numbers()
        {
            // Other services may run with the numbers of the old plan.
            node.ports.announced = numbers;
        }
        if node.spec.health != spec.health {
            node.lifecycle.forget_checks();
        }
        node.spec = spec;
        let restarts = node.stopping().is_some_and(|stopping| stopping.then == Rest::Idle);
        let runs = node.is_running() || restarts;
        node.lifecycle.apply(node.spec.kind);
        node.retries.reset();
        node.retries.was_ready = node.is_ready();
        if built {
            let serving = was_wanted && runs && node.build.accepted.is_some();
            node.build.state = BuildState::Pending { serving };
        } else {
            node.build.state = BuildState::Unneeded;
            if node.is_running() || node.has_succeeded() {
                node.lifecycle.request_check(true);
            } else {
                node.lifecycle.clear_check();
            }
        }
        self.plan_second_run(id);
        id
    }

    pub(super) fn take_down(&mut self, services: &[Name], only: bool, effects: &mut Vec<Effect>) {
        let known = services.iter().filter_map(|name| self.known(name, "`take-down`", effects));
        let mut open: Vec<Id> = known.collect();
        let mut seen = SortedSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            self.unwant(id);
            if !only {
                open.extend(self.nodes[id].edges.dependents.iter().map(|(id, _)| *id));
            }
        }
    }

    /// Takes down the services that the metadata no longer declares.
    fn drop_undeclared(&mut self, declared: &SortedSet<Name>) {
        for id in 0..self.nodes.len() {
            if self.nodes[id].wanted && !declared.contains(&self.nodes[id].spec.name) {
                self.unwant(id);
                self.nodes[id].due_reason = Some(String::from(messages::UNDECLARED));
            }
        }
    }

    fn unwant(&mut self, id: Id) {
        let node = &mut self.nodes[id];
        node.wanted = false;
        node.due_reason = None;
        node.handover.failed = None;
        node.retries.reset();
        node.set_serving(false);
        node.ports.evictions = 0;
        self.enqueue(id);
    }

    /// Requests a new run of each. With `evict`, the port holder is stopped if it runs the same
    /// program.
    pub(super) fn restart(&mut self, services: &[Name], evict: bool, effects: &mut Vec<Effect>) {
        if self.ending != Ending::No {
            unexpected(effects, String::from("`restart` while the stack ends"));
            return;
        }
        for name in services {
            let Some(id) = self.known(name, "`restart`", effects) else { continue };
            let node = &mut self.nodes[id];
            node.wanted = true;
            node.done = Done::No;
            node.set_serving(true);
            self.enqueue(id);
            self.forget_bind_failure(id);
            self.forget_port_check(id);
            self.nodes[id].moves_with = None;
            self.allow_evictions(id, evict);
            // An adopted process was not started here and is not restarted.
            if evict || !self.nodes[id].is_adopted() {
                self.replace(id, None);
            }
        }
    }

    /// Requests a new run for this reason, and one of each dependent that restarts with the
    /// service.
    pub(super) fn replace(&mut self, id: Id, reason: Option<String>) {
        let node = &mut self.nodes[id];
        node.due_reason = reason;
        node.retries.reset();
        node.lifecycle.request_replacement();
        node.handover.failed = None;
        self.enqueue(id);
        self.stop_candidate(id);
        // In a handover they follow the new run once it is ready.
        self.nodes[id].handover.defers_dependents = self.nodes[id].hands_over();
        if !self.nodes[id].handover.defers_dependents {
            self.replace_dependents(id);
        }
    }

    /// Marks running dependents with a restarting edge, and their dependents: they stop before the
    /// service starts again. Those that are being taken down are included: they may be wanted again
    /// before their stop signal.
    pub(super) fn replace_dependents(&mut self, id: Id) {
        self.restart_dependents(id, true);
    }

    /// As [`Self::replace_dependents`]. Unless the service stops, a dependent may get its new run
    /// in a handover, and then its own dependents follow that run.
    pub(super) fn restart_dependents(&mut self, id: Id, stops: bool) {
        let context = self.nodes[id].contexts.requested;
        let mut open = alloc::vec![(id, stops)];
        while let Some((id, stops)) = open.pop() {
            let reason = format!("restarts with `{}`", self.nodes[id].spec.name);
            for (dependent, restart) in self.nodes[id].edges.dependents.clone() {
                let node = &mut self.nodes[dependent];
                let ours = node.is_running() && !node.is_adopted();
                // Its candidate may have started before the new run of the service.
                let marked = node.lifecycle.replaces() && !node.hands_over();
                node.follows |= restart && ours;
                if restart && !marked && ours {
                    node.lifecycle.request_replacement();
                    node.handover.failed = None;
                    node.handover.stops_first = stops;
                    node.contexts.requested = context.or(node.contexts.requested);
                    node.due_reason = Some(reason.clone());
                    let hands_over = node.hands_over();
                    node.handover.defers_dependents = hands_over;
                    if !hands_over {
                        open.push((dependent, true));
                    }
                    self.stop_candidate(dependent);
                    self.enqueue(dependent);
                }
            }
        }
    }

    pub(super) fn shut_down(&mut self, how: Ending) {
        // A kill is not downgraded to an orderly shutdown.
        if self.ending != Ending::Kill {
            self.ending = how;
        }
        for id in 0..self.nodes.len() {
            self.unwant(id);
        }
    }

    pub(super) fn fault(&mut self, service: &Name, fault: Fault, effects: &mut Vec<Effect>) {
        let Some(id) = self.known(service, "a fault", effects) else { return };
        let node = &mut self.nodes[id];
        // A stopping run already has its own signals, and a process that was not started here
        // gets none.
        if !(node.is_running() && node.is_alive() && node.pid().is_some()) {
            return;
        }
        let signal = match fault {
            Fault::Kill => Signal::Kill,
            Fault::Pause => Signal::Pause,
            Fault::Resume => Signal::Resume,
        };
        node.observed.fault = match (node.observed.fault, fault) {
            // A killed run ends, whatever is injected after that.
            (Some(Fault::Kill), _) | (_, Fault::Kill) => Some(Fault::Kill),
            (_, Fault::Pause) => Some(Fault::Pause),
            (_, Fault::Resume) => None,
        };
        let (service, run) = (node.spec.name.clone(), node.run());
        effects.push(Effect::Report(Report::Fault { service: service.clone(), run, fault }));
        effects.push(Effect::Signal { service, run, signal });
        self.enqueue(id);
    }

    /// Fails if the plan contradicts itself.
    fn check_plan(&self, plan: &Plan) -> Result<(), PlanError> {
        let mut own: SortedMap<&Name, &Service> = SortedMap::new();
        for service in &plan.services {
            if own.insert(&service.name, service).is_some() {
                return Err(PlanError::Duplicate(service.name.clone()));
            }
        }
        for service in &plan.services {
            for name in service.edges() {
                if !own.contains_key(name) && !self.ids.contains_key(name) {
                    return Err(PlanError::Unknown(service.name.clone(), name.clone()));
                }
            }
        }
        no_cycle(&plan.services, &own)
    }
}

/// Removes services without open dependencies until none is left; what remains is a cycle.
fn no_cycle(services: &[Service], own: &SortedMap<&Name, &Service>) -> Result<(), PlanError> {
    let inside = |service: &Service| {
        service.depends_on.iter().filter(|dependency| own.contains_key(&dependency.on)).count()
    };
    let mut open: SortedMap<&Name, usize> =
        services.iter().map(|service| (&service.name, inside(service))).collect();
    let mut dependents: SortedMap<&Name, Vec<&Name>> = SortedMap::new();
    for service in services {
        for dependency in &service.depends_on {
            dependents.entry(&dependency.on).or_default().push(&service.name);
        }
    }
    let mut free: Vec<&Name> =
        open.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
    while let Some(name) = free.pop() {
        open.remove(name);
        for dependent in dependents.get(name).into_iter().flatten() {
            if let Some(count) = open.get_mut(*dependent) {
                *count -= 1;
                if *count == 0 {
                    free.push(dependent);
                }
            }
        }
    }
    match open.keys().next() {
        Some(name) => Err(PlanError::Cycle((*name).clone())),
        None => Ok(()),
    }
}
