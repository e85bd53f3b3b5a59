//! Edges between services: dependencies, address users, and rings that start together.

use crate::sorted::SortedSet;
use alloc::vec::Vec;

use super::Stack;
use super::node::Id;
use crate::terms::Condition;

#[derive(Clone, Debug, Default)]
pub(crate) struct Edges {
    /// The services that it waits for.
    pub(crate) dependencies: Vec<DependencyEdge>,
    /// The services of which it only knows the address.
    pub(crate) uses: Vec<Id>,
    /// The index of its ring in the stack's list.
    pub(crate) ring: Option<usize>,
    /// The services that wait for it, and whether they restart with it.
    pub(crate) dependents: Vec<(Id, bool)>,
    /// The services that know its address.
    pub(crate) users: Vec<Id>,
}

/// Services that depend on each other, directly or not, and so start together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    pub(crate) members: Vec<Id>,
    /// Dependents of a member that are not members.
    pub(crate) outsiders: Vec<Id>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct DependencyEdge {
    pub(crate) on: Id,
    pub(crate) condition: Condition,
    pub(crate) restart: bool,
}

impl Edges {
    /// The services whose address it knows: first those that it waits for.
    pub(crate) fn known(&self) -> impl Iterator<Item = Id> + '_ {
        self.dependencies.iter().map(|edge| edge.on).chain(self.uses.iter().copied())
    }
}

impl Stack {
    /// Derives all edges from the specs of the services.
    pub(super) fn connect(&mut self) {
        for id in 0..self.nodes.len() {
            let spec = &self.nodes[id].spec;
            let waits = spec.depends_on.iter().filter_map(|dependency| {
                let on = self.id_of(&dependency.on)?;
                let (condition, restart) = (dependency.condition, dependency.restart);
                Some(DependencyEdge { on, condition, restart })
            });
            self.nodes[id].edges = Edges {
                dependencies: waits.collect(),
                uses: spec.uses.iter().filter_map(|used| self.id_of(&used.of)).collect(),
                ..Edges::default()
            };
        }
        for id in 0..self.nodes.len() {
            if self.nodes[id].handover.of.is_some() {
                self.connect_beside(id);
                continue;
            }
            let Edges { dependencies, uses, .. } = &self.nodes[id].edges;
            let (dependencies, uses) = (dependencies.clone(), uses.clone());
            for DependencyEdge { on, restart, .. } in dependencies {
                self.nodes[on].edges.dependents.push((id, restart));
            }
            for used in uses {
                self.nodes[used].edges.users.push(id);
            }
        }
        self.form_rings();
    }

    /// Finds the rings in the current edges.
    fn form_rings(&mut self) {
        let nodes = self.nodes.iter().enumerate();
        let edges = nodes.flat_map(|(from, node)| node.edges.known().map(move |to| (from, to)));
        let rings = crate::graph::rings(self.nodes.len(), edges);
        for (ring, members) in rings.iter().enumerate() {
            members.iter().for_each(|id| self.nodes[*id].edges.ring = Some(ring));
        }
        let formed = rings.into_iter().enumerate().map(|(ring, members)| {
            let dependents = members.iter().flat_map(|id| &self.nodes[*id].edges.dependents);
            let outside = |id: &Id| self.nodes[*id].edges.ring != Some(ring);
            let outsiders: SortedSet<Id> = dependents.map(|(id, _)| *id).filter(outside).collect();
            Ring { members, outsiders: outsiders.into_iter().collect() }
        });
        let formed: Vec<Ring> = formed.collect();
        let same = |(old, new): (&Ring, &Ring)| old.members == new.members;
        if self.rings.len() != formed.len() || !self.rings.iter().zip(&formed).all(same) {
            // A single edge opens or closes a ring, so dependents outside the plan can be
            // affected.
            (0..self.nodes.len()).for_each(|id| self.enqueue(id));
        }
        self.rings = formed;
    }

    /// Queues every service whose conditions, order or address can depend on this one.
    pub(super) fn enqueue_neighbours(&mut self, id: Id) {
        let edges = core::mem::take(&mut self.nodes[id].edges);
        for edge in &edges.dependencies {
            self.enqueue(edge.on);
        }
        for (dependent, _) in &edges.dependents {
            self.enqueue(*dependent);
        }
        for user in &edges.users {
            self.enqueue(*user);
        }
        if let Some(ring) = edges.ring {
            let outsiders = core::mem::take(&mut self.rings[ring].outsiders);
            outsiders.iter().for_each(|outsider| self.enqueue(*outsider));
            self.rings[ring].outsiders = outsiders;
        }
        self.nodes[id].edges = edges;
    }
}
