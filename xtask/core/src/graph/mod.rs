//! The dependency graph: start order, cycles, and the smallest repair of a cycle that cannot
//! start.
//!
//! It works on names and edges alone; the plan makes messages with places from its results.

mod feedback;
#[cfg(test)]
mod tests;

use crate::sorted::{SortedMap, SortedSet};
use alloc::vec;
use alloc::vec::Vec;

use crate::terms::Name;

/// A declared edge.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) from: Name,
    pub(crate) to: Name,
    /// Whether the dependent waits (`depends-on`), or only knows the address (`uses`).
    pub(crate) waits: bool,
}

/// Start order and cycles of a graph.
#[derive(Debug)]
pub(crate) struct Analysis {
    /// Every name once, dependencies before their dependents, ties in order of name. The
    /// edges of repairs count as `uses`, so an order always exists.
    pub(crate) order: Vec<Name>,
    /// The groups that reach each other over waiting edges alone, in order of their
    /// first members.
    pub(crate) cycles: Vec<Cycle>,
}

/// A group of services of which none can start first.
#[derive(Debug, PartialEq)]
pub(crate) struct Cycle {
    /// Its members, sorted. A service that waits for itself is a cycle of one.
    pub(crate) members: Vec<Name>,
    /// The waiting edges between members, as indices into the input, in order of
    /// their names (dependent, dependency).
    pub(crate) edges: Vec<usize>,
    /// Those of `edges` to change to `uses`, in the same order. Each is necessary; among
    /// equally small sets it is the first in order of names.
    pub(crate) repair: Vec<usize>,
    /// Whether no smaller repair exists. If not, the repair is only a small one.
    pub(crate) exact: bool,
}

/// A waiting edge between known names: their places in the sorted names, and the edge's index
/// in the input.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wait {
    from: usize,
    to: usize,
    index: usize,
}

/// Orders the graph and finds its cycles. Apart from indices, the result does not depend on
/// the order of the input. Unknown names in edges and repeated names are ignored.
pub(crate) fn analyse(names: &[Name], edges: &[Edge]) -> Analysis {
    let names: Vec<&Name> = names.iter().collect::<SortedSet<_>>().into_iter().collect();
    let places: SortedMap<&Name, usize> = names.iter().enumerate().map(|(i, n)| (*n, i)).collect();
    let wait = |(index, edge): (usize, &Edge)| {
        Some(Wait { from: *places.get(&edge.from)?, to: *places.get(&edge.to)?, index })
    };
    let waits = edges.iter().enumerate().filter(|(_, edge)| edge.waits);
    let mut waits: Vec<Wait> = waits.filter_map(wait).collect();
    waits.sort_unstable();

    let cycles: Vec<Cycle> = components(names.len(), waits.iter().map(|w| (w.from, w.to)))
        .into_iter()
        .map(|members| cycle(&names, &members, &waits))
        .collect();
    let relaxed: SortedSet<usize> =
        cycles.iter().flat_map(|cycle| &cycle.repair).copied().collect();
    waits.retain(|wait| !relaxed.contains(&wait.index));
    let order = order(names.len(), &waits).into_iter().map(|node| names[node].clone()).collect();
    Analysis { order, cycles }
}

/// These names and every name to which edges lead from them.
pub(crate) fn closure<'a, E: Iterator<Item = &'a Name>>(
    names: impl IntoIterator<Item = &'a Name>,
    edges: impl Fn(&'a Name) -> E,
) -> SortedSet<Name> {
    let mut out = SortedSet::new();
    let mut open: Vec<&Name> = names.into_iter().collect();
    while let Some(name) = open.pop() {
        if out.insert(name.clone()) {
            open.extend(edges(name));
        }
    }
    out
}

/// The groups of more than one node that reach each other, each sorted, in order of their
/// first members. An edge leads from one node to another.
pub(crate) fn rings(nodes: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    components(nodes, edges).into_iter().filter(|members| members.len() > 1).collect()
}

/// The groups of nodes that reach each other and themselves, each sorted, in order of their
/// first members (Kosaraju).
fn components(nodes: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let (mut next, mut back) = (vec![Vec::new(); nodes], vec![Vec::new(); nodes]);
    for (from, to) in edges {
        next[from].push(to);
        back[to].push(from);
    }
    let mut seen = vec![false; nodes];
    let done: Vec<usize> = (0..nodes).flat_map(|node| search(&next, node, &mut seen)).collect();
    seen.fill(false);
    let searches = done.into_iter().rev().map(|node| search(&back, node, &mut seen));
    let mut groups: Vec<Vec<usize>> = searches
        .filter(|group| group.len() > 1 || group.iter().any(|node| next[*node].contains(node)))
        .collect();
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort_unstable();
    groups
}

/// `from` and the nodes reached from it, without those seen before; each after those that the
/// search reached from it.
fn search(next: &[Vec<usize>], from: usize, seen: &mut [bool]) -> Vec<usize> {
    let mut done = Vec::new();
    let mut open = vec![(from, false)];
    while let Some((node, left)) = open.pop() {
        if left {
            done.push(node);
        } else if !core::mem::replace(&mut seen[node], true) {
            open.push((node, true));
            open.extend(next[node].iter().map(|to| (*to, false)));
        }
    }
    done
}

fn cycle(names: &[&Name], members: &[usize], waits: &[Wait]) -> Cycle {
    let member = |node: usize| members.binary_search(&node).is_ok();
    let inside = waits.iter().filter(|wait| member(wait.from) && member(wait.to));
    let waits: Vec<Wait> = inside.copied().collect();
    let (repair, exact) = feedback::smallest(&waits);
    Cycle {
        members: members.iter().map(|node| names[*node].clone()).collect(),
        edges: waits.iter().map(|wait| wait.index).collect(),
        repair,
        exact,
    }
}

/// Dependencies first; among nodes that are free, the first in order of name.
fn order(nodes: usize, waits: &[Wait]) -> Vec<usize> {
    let mut unmet = vec![0_usize; nodes];
    let mut dependents = vec![Vec::new(); nodes];
    for wait in waits {
        unmet[wait.from] += 1;
        dependents[wait.to].push(wait.from);
    }
    let mut free: SortedSet<usize> = (0..nodes).filter(|&node| unmet[node] == 0).collect();
    let mut order = Vec::with_capacity(nodes);
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
