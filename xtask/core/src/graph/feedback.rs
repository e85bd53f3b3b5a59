//! The smallest set of edges without which a component has no cycle.
//!
//! The problem is NP-hard: up to [`EXACT_EDGES`] edges it tries every set, beyond that a
//! greedy order gives a small one. All edges weigh the same: each is one edit for the user.

use crate::sorted::SortedSet;
use alloc::vec;
use alloc::vec::Vec;

use super::{Wait, search};

/// Up to that many edges the answer is exact: at most 2^12 sets are tried.
pub(super) const EXACT_EDGES: usize = 12;

/// The indices of the smallest set of `waits`, or of a small one, without which the rest has no
/// cycle; and whether no smaller set exists.
pub(super) fn smallest(waits: &[Wait]) -> (Vec<usize>, bool) {
    let nodes: SortedSet<usize> = waits.iter().flat_map(|wait| [wait.from, wait.to]).collect();
    let nodes: Vec<usize> = nodes.into_iter().collect();
    let number = |node: usize| nodes.partition_point(|known| *known < node);
    let ends: Vec<_> = waits.iter().map(|wait| (number(wait.from), number(wait.to))).collect();
    let exact = ends.len() <= EXACT_EDGES;
    let chosen = if exact { tried(&ends) } else { greedy(&ends) };
    (chosen.into_iter().map(|edge| waits[edge].index).collect(), exact)
}

/// Tries sets of one edge, then of two, and so on, each size in order.
fn tried(ends: &[(usize, usize)]) -> Vec<usize> {
    let mut set = Vec::new();
    let found = (0..=ends.len()).any(|size| extend(&mut set, ends, 0, size));
    debug_assert!(found, "without all of its edges a graph has no cycle");
    set
}

/// Adds `more` edges from `first` on to `set` so that the rest has no cycle, if it can.
fn extend(set: &mut Vec<usize>, ends: &[(usize, usize)], first: usize, more: usize) -> bool {
    if more == 0 {
        return acyclic(ends, set);
    }
    (first..ends.len()).any(|edge| {
        set.push(edge);
        let found = extend(set, ends, edge + 1, more - 1);
        if !found {
            set.pop();
        }
        found
    })
}

/// Whether the edges but those of `without` have no cycle: edges that lead to a node which
/// waits for nothing are dropped until none is left, or none drops.
fn acyclic(ends: &[(usize, usize)], without: &[usize]) -> bool {
    let kept = ends.iter().enumerate().filter(|(edge, _)| !without.contains(edge));
    let mut left: Vec<(usize, usize)> = kept.map(|(_, ends)| *ends).collect();
    while !left.is_empty() {
        let waiting = left.iter().fold(0_u32, |bits, &(from, _)| bits | (1 << from));
        let before = left.len();
        left.retain(|&(_, to)| waiting & (1 << to) != 0);
        if left.len() == before {
            return false;
        }
    }
    true
}

/// Orders the nodes so that few edges lead backwards, then restores every backward edge that
/// closes no cycle, so each edge of the answer is necessary.
pub(super) fn greedy(ends: &[(usize, usize)]) -> Vec<usize> {
    let place = places(ends);
    let backward = |&(from, to): &(usize, usize)| place[from] >= place[to];
    let mut kept = vec![Vec::new(); place.len()];
    for &(from, to) in ends.iter().filter(|ends| !backward(ends)) {
        kept[from].push(to);
    }
    let mut chosen = Vec::new();
    for (edge, &(from, to)) in ends.iter().enumerate().filter(|(_, ends)| backward(ends)) {
        if search(&kept, to, &mut vec![false; place.len()]).contains(&from) {
            chosen.push(edge);
        } else {
            kept[from].push(to);
        }
    }
    chosen
}

/// The place of each node after Eades, Lin and Smyth: nodes without outgoing edges last, nodes
/// without incoming edges first, else the node with the largest surplus of outgoing edges
/// first; ties in order of node.
fn places(ends: &[(usize, usize)]) -> Vec<usize> {
    let nodes = ends.iter().map(|&(from, to)| from.max(to) + 1).max().unwrap_or(0);
    // An edge from a node to itself leads backwards in every line.
    let mut ends: Vec<_> = ends.iter().copied().filter(|(from, to)| from != to).collect();
    let mut left: Vec<usize> = (0..nodes).collect();
    let (mut front, mut end) = (Vec::new(), Vec::new());
    while !left.is_empty() {
        let (mut outs, mut ins) = (vec![0_isize; nodes], vec![0_isize; nodes]);
        for &(from, to) in &ends {
            outs[from] += 1;
            ins[to] += 1;
        }
        let rank = |node: usize| (ins[node] == 0, outs[node] - ins[node]);
        let last = left.iter().position(|&node| outs[node] == 0);
        // Of equals, `max_by_key` returns the last one.
        let first = || (0..left.len()).rev().max_by_key(|&at| rank(left[at])).unwrap_or(0);
        let node = left.remove(last.unwrap_or_else(first));
        if last.is_some() {
            end.push(node)
        } else {
            front.push(node)
        }
        ends.retain(|&(from, to)| from != node && to != node);
    }
    let mut place = vec![0; nodes];
    for (at, node) in front.into_iter().chain(end.into_iter().rev()).enumerate() {
        place[node] = at;
    }
    place
}
