//! The dependency graph: start order, cycles, and the smallest repair of a cycle that cannot
//! start.
//!
//! It works on names and edges alone; the plan makes messages with places from its results.
//! `petgraph` finds components and paths here, and is used nowhere else.

mod feedback;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::terms::Name;

/// A declared edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The dependent.
    pub from: Name,
    /// The dependency.
    pub to: Name,
    /// Whether the dependent waits (`depends-on`), or only knows the address (`uses`).
    pub waits: bool,
}

/// Start order and cycles of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    /// Every name once, dependencies before their dependents, ties in order of name. The
    /// edges of repairs count as `uses`, so an order always exists.
    pub order: Vec<Name>,
    /// The groups that reach each other over waiting edges alone, in order of their
    /// first members.
    pub cycles: Vec<Cycle>,
}

/// A group of services of which none can start first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Its members, sorted. A service that waits for itself is a cycle of one.
    pub members: Vec<Name>,
    /// The waiting edges between members, as indices into the input, in order of
    /// their names (dependent, dependency).
    pub edges: Vec<usize>,
    /// Those of `edges` to change to `uses`, in the same order. Each is necessary; among
    /// equally small sets it is the first in order of names.
    pub repair: Vec<usize>,
    /// Whether no smaller repair exists. If not, the repair is only a small one.
    pub exact: bool,
}

/// Orders the graph and finds its cycles. Apart from indices, the result does not depend on
/// the order of the input. Unknown names in edges and repeated names are ignored.
#[must_use]
pub fn analyse(names: &[Name], edges: &[Edge]) -> Analysis {
    let names: Vec<Name> = names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let declared = declared(&names, edges);

    let waiting = graph(names.len(), declared.into_iter().filter(|edge| edges[edge.2].waits));
    let cycles = cycles(&names, &waiting);

    let relaxed: BTreeSet<usize> = cycles.iter().flat_map(|cycle| &cycle.repair).copied().collect();
    let order = order(&waiting, &relaxed).into_iter().map(|node| names[node].clone()).collect();
    Analysis { order, cycles }
}

/// The groups of more than one node that reach each other, each sorted, in order of their
/// first members. An edge leads from one node to another.
#[must_use]
pub fn rings(nodes: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let graph = graph(nodes, edges.map(|(from, to)| (from, to, 0)));
    components(&graph).into_iter().filter(|members| members.len() > 1).collect()
}

/// Nodes are places in the sorted names, an edge's weight is its index in the input.
type WaitGraph = DiGraph<(), usize>;

/// Edges between known names as (dependent, dependency, index), in that order.
fn declared(names: &[Name], edges: &[Edge]) -> Vec<(usize, usize, usize)> {
    let places: BTreeMap<&Name, usize> = names.iter().enumerate().map(|(i, n)| (n, i)).collect();
    let mut known: Vec<_> = edges
        .iter()
        .enumerate()
        .filter_map(|(index, edge)| Some((*places.get(&edge.from)?, *places.get(&edge.to)?, index)))
        .collect();
    known.sort_unstable();
    known
}

fn graph(nodes: usize, edges: impl Iterator<Item = (usize, usize, usize)>) -> WaitGraph {
    let mut graph = WaitGraph::with_capacity(nodes, 0);
    for _ in 0..nodes {
        graph.add_node(());
    }
    for (from, to, index) in edges {
        graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), index);
    }
    graph
}

/// The strongly connected components, each sorted, in order of their first members.
fn components(graph: &WaitGraph) -> Vec<Vec<usize>> {
    let mut components: Vec<Vec<usize>> = kosaraju_scc(graph)
        .into_iter()
        .map(|component| {
            let mut members: Vec<usize> = component.into_iter().map(NodeIndex::index).collect();
            members.sort_unstable();
            members
        })
        .collect();
    components.sort_unstable();
    components
}

fn cycles(names: &[Name], waiting: &WaitGraph) -> Vec<Cycle> {
    let components = components(waiting);
    let mut component_of = vec![0; names.len()];
    for (component, members) in components.iter().enumerate() {
        for &member in members {
            component_of[member] = component;
        }
    }
    // Edges were added in order of names, and stay so within each component.
    let mut inside: Vec<Vec<feedback::Ends>> = vec![Vec::new(); components.len()];
    for edge in waiting.edge_references() {
        let (from, to) = (edge.source().index(), edge.target().index());
        if component_of[from] == component_of[to] {
            inside[component_of[from]].push(feedback::Ends { from, to, index: *edge.weight() });
        }
    }
    components
        .into_iter()
        .zip(inside)
        .filter(|(_, edges)| !edges.is_empty())
        .map(|(members, edges)| {
            let repair = feedback::smallest(&edges);
            Cycle {
                members: members.into_iter().map(|node| names[node].clone()).collect(),
                edges: edges.iter().map(|edge| edge.index).collect(),
                repair: repair.edges,
                exact: repair.exact,
            }
        })
        .collect()
}

/// Dependencies first; among nodes that are free, the first in order of name.
fn order(waiting: &WaitGraph, relaxed: &BTreeSet<usize>) -> Vec<usize> {
    let mut unmet = vec![0_usize; waiting.node_count()];
    let mut dependents = vec![Vec::new(); waiting.node_count()];
    for edge in waiting.edge_references().filter(|edge| !relaxed.contains(edge.weight())) {
        unmet[edge.source().index()] += 1;
        dependents[edge.target().index()].push(edge.source().index());
    }
    let mut free: BTreeSet<usize> =
        (0..waiting.node_count()).filter(|&node| unmet[node] == 0).collect();
    let mut order = Vec::with_capacity(waiting.node_count());
    while let Some(node) = free.pop_first() {
        order.push(node);
        for &dependent in &dependents[node] {
            unmet[dependent] -= 1;
            if unmet[dependent] == 0 {
                free.insert(dependent);
            }
        }
    }
    order
}
