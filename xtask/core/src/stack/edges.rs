//! Who depends on whom, who knows whose address, and who starts together.
//!
//! Edges are made in `apply`.

use alloc::vec::Vec;

use crate::terms::Condition;

/// The place of a service in the stack's list; never reused.
pub(crate) type Id = usize;

/// The edges at a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges {
    /// What it waits for.
    pub(crate) dependencies: Vec<Edge>,
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
pub(crate) struct Edge {
    /// The dependency.
    pub(crate) on: Id,
    /// What for.
    pub(crate) condition: Condition,
}
