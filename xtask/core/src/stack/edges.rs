//! Who depends on whom, who knows whose address, and who starts together.
//!
//! Edges are made in `apply`.

use alloc::vec::Vec;

use crate::plan::Condition;

/// The place of a service in the stack's list; never reused.
pub(crate) type Id = usize;

/// The edges at a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges {
    /// What it waits for.
    pub(crate) dependencies: Vec<Edge>,
    /// What it only knows the address of.
    pub(crate) uses: Vec<Id>,
    /// What starts together with it.
    pub(crate) together: Vec<Id>,
    /// Who says that this one starts together with it. The same services, unless only
    /// some of them stood in the last plan.
    pub(crate) grouped_by: Vec<Id>,
    /// Who waits for it, and whether they are restarted with it.
    pub(crate) dependents: Vec<(Id, bool)>,
    /// Who knows its address.
    pub(crate) users: Vec<Id>,
}

/// An edge that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    /// The dependency.
    pub(crate) on: Id,
    /// What for.
    pub(crate) condition: Condition,
}
