//! Edges between services: dependencies, address users, and rings that start together.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::Stack;
use super::node::Id;
use crate::terms::{Condition, Name};

/// The edges at a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges {
    /// What it waits for.
    pub(crate) dependencies: Vec<DependencyEdge>,
    /// What it only knows the address of.
    pub(crate) uses: Vec<Id>,
    /// Which of the stack's rings it is a member of.
    pub(crate) ring: Option<usize>,
    /// Who waits for it, and whether they are restarted with it.
    pub(crate) dependents: Vec<(Id, bool)>,
    /// Who knows its address.
    pub(crate) users: Vec<Id>,
}

/// Services that reach each other, and so start together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    /// Its members.
    pub(crate) members: Vec<Id>,
    /// Who waits for one of them, and so for all, without being one of them.
    pub(crate) outsiders: Vec<Id>,
}

/// An edge that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DependencyEdge {
    /// The dependency.
    pub(crate) on: Id,
    /// What for.
    pub(crate) condition: Condition,
}

impl Stack {
    /// Makes the edges anew from what the services say.
    pub(super) fn connect(&mut self) {
        let find = |ids: &BTreeMap<Name, Id>, name: &Name| ids.get(name).copied();
        for id in 0..self.nodes.len() {
            let spec = &self.nodes[id].spec;
            let edges = Edges {
                dependencies: (spec.depends_on.iter())
                    .filter_map(|dependency| {
                        let on = find(&self.ids, &dependency.on)?;
                        Some(DependencyEdge { on, condition: dependency.condition })
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

    /// Everybody whose conditions, order or address can depend on this service.
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
