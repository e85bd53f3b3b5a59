//! The smallest set of edges without which a component has no cycle.
//!
//! The problem is NP-hard: up to [`EXACT_EDGES`] edges it tries every set, beyond that a
//! greedy order gives a small one. All edges weigh the same: each is one edit for the user.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use petgraph::algo::{DfsSpace, has_path_connecting};
use petgraph::graph::{DiGraph, NodeIndex};

/// Up to that many edges the answer is exact: at most 2^12 sets are tried.
pub(super) const EXACT_EDGES: usize = 12;

/// The ends of a waiting edge of a component.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// The dependent's number.
    pub(super) from: usize,
    /// The dependency's number.
    pub(super) to: usize,
    /// Its index in the caller's list.
    pub(super) index: usize,
}

/// Edges to take out.
#[derive(Debug)]
pub(super) struct Repair {
    /// Their indices, in the order of the input.
    pub(super) edges: Vec<usize>,
    /// Whether there is no smaller set.
    pub(super) exact: bool,
}

/// The smallest set of `edges`, or a small one, without which the rest has no cycle.
pub(super) fn smallest(edges: &[Ends]) -> Repair {
    let ends = renumbered(edges);
    let exact = edges.len() <= EXACT_EDGES;
    let chosen = if exact { tried(&ends) } else { greedy(&ends) };
    Repair { edges: chosen.into_iter().map(|edge| edges[edge].index).collect(), exact }
}

/// The ends of each edge, nodes counted from 0 in their order.
fn renumbered(edges: &[Ends]) -> Vec<(usize, usize)> {
    let nodes: BTreeSet<usize> = edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
    let places: BTreeMap<usize, usize> =
        nodes.into_iter().enumerate().map(|(i, n)| (n, i)).collect();
    edges.iter().map(|edge| (places[&edge.from], places[&edge.to])).collect()
}

/// Tries sets of one edge, then of two, and so on, each size in order.
fn tried(ends: &[(usize, usize)]) -> Vec<usize> {
    for size in 0..=ends.len() {
        let mut set: Vec<usize> = (0..size).collect();
        loop {
            let without = set.iter().fold(0_u32, |bits, edge| bits | (1 << edge));
            if acyclic(ends, without) {
                return set;
            }
            if !advance(&mut set, ends.len()) {
                break;
            }
        }
    }
    (0..ends.len()).collect()
}

/// Turns `set` into the next one of its size out of `0..of`, if there is one.
fn advance(set: &mut [usize], of: usize) -> bool {
    let size = set.len();
    let Some(place) = (0..size).rev().find(|&place| set[place] < of - (size - place)) else {
        return false;
    };
    let first = set[place] + 1;
    for (offset, edge) in set[place..].iter_mut().enumerate() {
        *edge = first + offset;
    }
    true
}

/// Whether the edges but those in the bits of `without` have no cycle: edges that lead
/// to a node which waits for nothing are dropped until none is left, or none drops.
fn acyclic(ends: &[(usize, usize)], without: u32) -> bool {
    let mut left: Vec<(usize, usize)> = ends
        .iter()
        .enumerate()
        .filter(|(edge, _)| without & (1 << edge) == 0)
        .map(|(_, &ends)| ends)
        .collect();
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
fn greedy(ends: &[(usize, usize)]) -> Vec<usize> {
    let place = places(ends);
    let backward = |&(from, to): &(usize, usize)| place[from] >= place[to];

    let mut kept = DiGraph::<(), ()>::new();
    for _ in &place {
        kept.add_node(());
    }
    for (from, to) in ends.iter().filter(|ends| !backward(ends)) {
        kept.add_edge(NodeIndex::new(*from), NodeIndex::new(*to), ());
    }
    let mut chosen = Vec::new();
    let mut space = DfsSpace::default();
    for (edge, (from, to)) in ends.iter().enumerate().filter(|(_, ends)| backward(ends)) {
        let (from, to) = (NodeIndex::new(*from), NodeIndex::new(*to));
        if has_path_connecting(&kept, to, from, Some(&mut space)) {
            chosen.push(edge);
        } else {
            kept.add_edge(from, to, ());
        }
    }
    chosen
}

/// The place of each node after Eades, Lin and Smyth: nodes without outgoing edges last, nodes
/// without incoming edges first, else the node with the largest surplus of outgoing edges
/// first; ties in order of node.
fn places(ends: &[(usize, usize)]) -> Vec<usize> {
    let nodes = ends.iter().map(|&(from, to)| from.max(to) + 1).max().unwrap_or(0);
    let mut out = vec![Vec::new(); nodes];
    let mut into = vec![Vec::new(); nodes];
    // An edge from a node to itself leads backwards in every line.
    for &(from, to) in ends.iter().filter(|(from, to)| from != to) {
        out[from].push(to);
        into[to].push(from);
    }
    let mut line = Unplaced {
        left: (0..nodes).collect(),
        outs: out.iter().map(Vec::len).collect(),
        ins: into.iter().map(Vec::len).collect(),
        out,
        into,
    };
    let (mut front, mut end) = (Vec::new(), Vec::new());
    while let Some(&first) = line.left.first() {
        if let Some(node) = line.left.iter().copied().find(|&node| line.outs[node] == 0) {
            end.push(line.take(node));
        } else {
            let node = line
                .left
                .iter()
                .copied()
                .reduce(|best, node| if line.rank(node) > line.rank(best) { node } else { best })
                .unwrap_or(first);
            front.push(line.take(node));
        }
    }
    let mut place = vec![0; nodes];
    for (at, node) in front.into_iter().chain(end.into_iter().rev()).enumerate() {
        place[node] = at;
    }
    place
}

/// Nodes without a place yet, and the number of edges among them.
struct Unplaced {
    left: BTreeSet<usize>,
    out: Vec<Vec<usize>>,
    into: Vec<Vec<usize>>,
    outs: Vec<usize>,
    ins: Vec<usize>,
}

impl Unplaced {
    /// The rank for the front: nodes without incoming edges first, then by surplus.
    fn rank(&self, node: usize) -> (bool, isize) {
        let surplus = self.outs[node].cast_signed() - self.ins[node].cast_signed();
        (self.ins[node] == 0, surplus)
    }

    fn take(&mut self, node: usize) -> usize {
        self.left.remove(&node);
        for &to in &self.out[node] {
            self.ins[to] -= 1;
        }
        for &from in &self.into[node] {
            self.outs[from] -= 1;
        }
        node
    }
}

#[cfg(test)]
pub(super) mod cases {
    //! The two ways apart, for the tests.

    use alloc::vec::Vec;

    /// The heuristic's answer for any size.
    pub(crate) fn greedy(ends: &[(usize, usize)]) -> Vec<usize> {
        super::greedy(ends)
    }
}
