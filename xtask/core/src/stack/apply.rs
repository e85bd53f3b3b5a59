//! A plan becomes the desired state.
//!
//! A plan that contradicts itself is refused whole, with a report: the planner should
//! never make one, and half of one is worse than none.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::edges::{Edge, Edges, Ring};
use super::node::{Build, Check, Id, Node, Phase, Rest};
use super::{Effect, Ending, Stack, unexpected};
use crate::plan::{Plan, Program, Service};
use crate::terms::{Kind, Name};

impl Stack {
    pub(super) fn apply(&mut self, plan: Plan, effects: &mut Vec<Effect>) {
        if self.ending != Ending::No {
            unexpected(effects, String::from("`apply` while the stack ends"));
            return;
        }
        if let Err(what) = self.check_plan(&plan) {
            unexpected(effects, format!("a plan that cannot be followed: {what}"));
            return;
        }
        self.name = plan.stack;
        self.workspace = plan.workspace;
        self.base_image = plan.base_image;
        self.data = plan.data;
        let replace = plan.replace;
        self.faults = plan.faults;
        // Also those outside the plan wait for their turn only if there still are turns.
        for id in self.startable.clone() {
            self.enqueue(id);
        }
        let before: Vec<Option<Vec<u16>>> =
            plan.services.iter().map(|spec| self.numbers(*self.ids.get(&spec.name)?)).collect();
        let ids: Vec<Id> = plan.services.into_iter().map(|spec| self.take_service(spec)).collect();
        let named: BTreeSet<Id> = ids.iter().copied().collect();
        let rest = core::mem::take(&mut self.order).into_iter().filter(|id| !named.contains(id));
        self.order = ids.iter().copied().chain(rest).collect();
        for &id in &ids {
            // Whoever it waited for until now may have waited for its end.
            self.enqueue_neighbours(id);
        }
        self.connect();
        for (id, before) in ids.into_iter().zip(before) {
            self.allow_evictions(id, replace);
            self.enqueue(id);
            // Dependents outside the plan may have other edges to it by now.
            self.enqueue_neighbours(id);
            if self.nodes[id].replace {
                // So may those that are restarted with it.
                self.replace_dependents(id);
            }
            // What is not managed has a new address at once.
            if self.nodes[id].is_external() && before != self.numbers(id) {
                self.tell_new_address(id);
            }
        }
    }

    /// Replaces what is known of one service, and wants it.
    fn take_service(&mut self, spec: Service) -> Id {
        let id = match self.ids.get(&spec.name) {
            Some(id) => *id,
            None => {
                let id = self.nodes.len();
                self.ids.insert(spec.name.clone(), id);
                self.nodes.push(Node::new(spec.clone()));
                id
            }
        };
        self.forget_bind_failure(id);
        let node = &mut self.nodes[id];
        let was_wanted = core::mem::replace(&mut node.wanted, true);
        let built = match spec.program {
            Program::Artifact { .. } => true,
            Program::Command { .. } | Program::External | Program::Image { .. } => false,
        };
        if node.is_external()
            && let Some(numbers) = node.spec.ports.iter().map(|port| port.number).collect()
        {
            // Others may run with them, whoever has the next ones.
            node.address.given = numbers;
        }
        node.spec = spec;
        let (mut serving, mut check, mut was_ready) = (false, false, false);
        match &mut node.phase {
            Phase::Rest(Rest::Succeeded) if node.spec.kind == Kind::Job => check = true,
            Phase::Rest(_) => node.phase = Phase::Rest(Rest::Idle),
            Phase::Starting(_) => (serving, check) = (was_wanted, true),
            Phase::Ready(_) => (serving, check, was_ready) = (was_wanted, true, true),
            Phase::Stopping(stopping) => {
                serving = was_wanted && stopping.then == Rest::Idle;
                match (&stopping.then, node.spec.kind) {
                    (Rest::Succeeded, Kind::Job) => check = true,
                    // What its end was worth to the last plan says nothing about this one.
                    _ => stopping.then = Rest::Idle,
                }
            }
        }
        node.series.reset();
        node.series.was_ready = was_ready;
        if built {
            node.build = Build::Pending { serving: serving && node.accepted.is_some() };
        } else {
            node.build = Build::Unneeded;
            node.check = if check { Check::Said } else { Check::Done };
        }
        id
    }

    /// Makes the edges anew from what the services say.
    fn connect(&mut self) {
        let find = |ids: &BTreeMap<Name, Id>, name: &Name| ids.get(name).copied();
        for id in 0..self.nodes.len() {
            let spec = &self.nodes[id].spec;
            let edges = Edges {
                dependencies: (spec.depends_on.iter())
                    .filter_map(|dependency| {
                        let on = find(&self.ids, &dependency.on)?;
                        Some(Edge { on, condition: dependency.condition })
                    })
                    .collect(),
                uses: spec.uses.iter().filter_map(|used| find(&self.ids, &used.of)).collect(),
                ring: None,
                dependents: Vec::new(),
                users: Vec::new(),
            };
            self.nodes[id].edges = edges;
        }
        for id in 0..self.nodes.len() {
            for index in 0..self.nodes[id].spec.depends_on.len() {
                let dependency = &self.nodes[id].spec.depends_on[index];
                let restart = dependency.restart;
                if let Some(on) = find(&self.ids, &dependency.on) {
                    self.nodes[on].edges.dependents.push((id, restart));
                }
            }
            for index in 0..self.nodes[id].edges.uses.len() {
                let used = self.nodes[id].edges.uses[index];
                self.nodes[used].edges.users.push(id);
            }
        }
        self.form_rings();
    }

    /// Finds out who starts together, once the edges are made.
    fn form_rings(&mut self) {
        let edges = self.nodes.iter().enumerate().flat_map(|(from, node)| {
            let waits = node.edges.dependencies.iter().map(|edge| edge.on);
            waits.chain(node.edges.uses.iter().copied()).map(move |to| (from, to))
        });
        let rings = crate::graph::rings(self.nodes.len(), edges);
        for (ring, members) in rings.iter().enumerate() {
            members.iter().for_each(|id| self.nodes[*id].edges.ring = Some(ring));
        }
        let formed = rings.into_iter().enumerate().map(|(ring, members)| {
            let dependents = members.iter().flat_map(|id| &self.nodes[*id].edges.dependents);
            let outside = |id: &Id| self.nodes[*id].edges.ring != Some(ring);
            let outsiders: BTreeSet<Id> = dependents.map(|(id, _)| *id).filter(outside).collect();
            Ring { members, outsiders: outsiders.into_iter().collect() }
        });
        let formed: Vec<Ring> = formed.collect();
        let same = |(old, new): (&Ring, &Ring)| old.members == new.members;
        if self.rings.len() != formed.len() || !self.rings.iter().zip(&formed).all(same) {
            // A ring is opened or closed by any one of its edges, so that those who wait for its
            // members need not stand in the plan.
            (0..self.nodes.len()).for_each(|id| self.enqueue(id));
        }
        self.rings = formed;
    }

    /// What is wrong with a plan, if something is.
    fn check_plan(&self, plan: &Plan) -> Result<(), String> {
        let mut own: BTreeMap<&Name, &Service> = BTreeMap::new();
        for service in &plan.services {
            if own.insert(&service.name, service).is_some() {
                return Err(format!("`{}` stands in it twice", service.name));
            }
        }
        for service in &plan.services {
            for name in service.edges() {
                if !own.contains_key(name) && !self.ids.contains_key(name) {
                    return Err(format!("`{}` names `{name}`, which is not there", service.name));
                }
            }
        }
        no_cycle(&plan.services, &own)
    }
}

/// Takes away whoever waits for nobody, until nobody is left.
fn no_cycle(services: &[Service], own: &BTreeMap<&Name, &Service>) -> Result<(), String> {
    let inside = |service: &Service| {
        service.depends_on.iter().filter(|dependency| own.contains_key(&dependency.on)).count()
    };
    let mut open: BTreeMap<&Name, usize> =
        services.iter().map(|service| (&service.name, inside(service))).collect();
    let mut dependents: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
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
        Some(name) => Err(format!("`{name}` waits for itself through `depends-on`")),
        None => Ok(()),
    }
}
