//! Properties of the analysis on many random graphs, and a few by name.
//!
//! The checks are written apart from what they check: plain searches over the input.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::{Analysis, Edge, analyse, feedback, rings};
use crate::terms::Name;

/// A small generator of numbers that are random enough (xorshift).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}

fn name(node: usize) -> Name {
    Name::from(format!("n{node:04}"))
}

fn edge(from: &str, to: &str, waits: bool) -> Edge {
    Edge { from: from.into(), to: to.into(), waits }
}

fn names(list: &[&str]) -> Vec<Name> {
    list.iter().map(|&name| name.into()).collect()
}

fn random(seed: u64, nodes: usize, edges: usize) -> (Vec<Name>, Vec<Edge>) {
    let mut random = Random::new(seed);
    let edges = (0..edges)
        .map(|_| Edge {
            from: name(random.below(nodes)),
            to: name(random.below(nodes)),
            waits: random.below(4) > 0,
        })
        .collect();
    ((0..nodes).map(name).collect(), edges)
}

/// Whether `to` can be reached from `from` over at least one of the edges.
fn reaches(edges: &[&Edge], from: &Name, to: &Name) -> bool {
    let mut seen: Vec<&Name> = Vec::new();
    let mut next: Vec<&Name> = vec![from];
    while let Some(node) = next.pop() {
        for edge in edges.iter().filter(|edge| edge.from == *node) {
            if edge.to == *to {
                return true;
            }
            if !seen.contains(&&edge.to) {
                seen.push(&edge.to);
                next.push(&edge.to);
            }
        }
    }
    false
}

fn acyclic(edges: &[&Edge]) -> bool {
    edges.iter().all(|edge| !reaches(edges, &edge.from, &edge.from))
}

fn check(names: &[Name], edges: &[Edge], found: &Analysis) {
    let waiting: Vec<&Edge> = edges.iter().filter(|edge| edge.waits).collect();
    let repair: Vec<usize> = found.cycles.iter().flat_map(|c| c.repair.clone()).collect();

    let mut sorted = found.order.clone();
    sorted.sort();
    assert_eq!(sorted, names, "the order lists every name once");
    let place = |name: &Name| found.order.iter().position(|other| other == name).unwrap();
    for (index, edge) in edges.iter().enumerate() {
        if edge.waits && !repair.contains(&index) {
            assert!(place(&edge.to) < place(&edge.from), "the order breaks {edge:?}");
        }
    }

    let kept: Vec<&Edge> = (0..edges.len())
        .filter(|index| edges[*index].waits && !repair.contains(index))
        .map(|index| &edges[index])
        .collect();
    assert!(acyclic(&kept), "the repair leaves a cycle");
    for index in &repair {
        let mut more = kept.clone();
        more.push(&edges[*index]);
        assert!(!acyclic(&more), "{:?} is superfluous in the repair", edges[*index]);
    }

    for cycle in &found.cycles {
        for from in &cycle.members {
            for to in &cycle.members {
                assert!(reaches(&waiting, from, to), "{from} does not wait for {to}");
            }
        }
        let inside = |edge: &Edge| {
            edge.waits && cycle.members.contains(&edge.from) && cycle.members.contains(&edge.to)
        };
        let mut listed = cycle.edges.clone();
        listed.sort_unstable();
        let expected: Vec<usize> = (0..edges.len()).filter(|&i| inside(&edges[i])).collect();
        assert_eq!(listed, expected, "the cycle lists its own edges, all of them");
        assert!(cycle.repair.iter().all(|index| cycle.edges.contains(index)));
    }
    for name in names {
        let cyclic = reaches(&waiting, name, name);
        let listed = found.cycles.iter().filter(|cycle| cycle.members.contains(name)).count();
        assert_eq!(listed, usize::from(cyclic), "{name} is in one cycle, or in none");
    }
}

/// The size of the smallest repair, by trying every set of edges as bits.
fn brute_force(edges: &[&Edge]) -> usize {
    (0_u32..1 << edges.len())
        .filter(|set| {
            let kept: Vec<&Edge> =
                (0..edges.len()).filter(|i| set & (1 << i) == 0).map(|i| edges[i]).collect();
            acyclic(&kept)
        })
        .map(|set| set.count_ones() as usize)
        .min()
        .unwrap()
}

#[test]
fn random_graphs_are_ordered_and_repaired() {
    for seed in 0..600 {
        let (nodes, edges) = (1 + seed as usize % 17, seed as usize % 41);
        let (names, edges) = random(seed, nodes, edges);
        check(&names, &edges, &analyse(&names, &edges));
    }
}

#[test]
fn exact_repair_is_as_small_as_brute_force() {
    let mut compared = 0;
    for seed in 0..300 {
        let (names, edges) = random(seed, 3 + seed as usize % 6, 4 + seed as usize % 12);
        for cycle in analyse(&names, &edges).cycles {
            let inside: Vec<&Edge> = cycle.edges.iter().map(|&index| &edges[index]).collect();
            assert_eq!(cycle.exact, inside.len() <= feedback::EXACT_EDGES);
            if cycle.exact && inside.len() <= 9 {
                assert_eq!(cycle.repair.len(), brute_force(&inside), "seed {seed}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "only {compared} cycles were compared");
}

#[test]
fn heuristic_is_rarely_larger_than_smallest_repair() {
    let (mut small, mut smallest) = (0, 0);
    for seed in 0..300 {
        let (names, edges) = random(seed, 4 + seed as usize % 4, 6 + seed as usize % 6);
        for cycle in analyse(&names, &edges).cycles.iter().filter(|cycle| cycle.exact) {
            let place = |name: &Name| names.iter().position(|other| other == name).unwrap();
            let ends: Vec<(usize, usize)> =
                cycle.edges.iter().map(|&i| (place(&edges[i].from), place(&edges[i].to))).collect();
            small += feedback::greedy(&ends).len();
            smallest += cycle.repair.len();
        }
    }
    assert!(small >= smallest);
    assert!(small * 10 <= smallest * 11, "{small} edges where {smallest} are enough");
}

#[test]
fn result_ignores_order_of_input() {
    for seed in 0..100 {
        let (mut names, edges) = random(seed, 9, 20);
        let found = analyse(&names, &edges);
        names.reverse();
        let turned: Vec<Edge> = edges.iter().rev().cloned().collect();
        let again = analyse(&names, &turned);
        assert_eq!(found.order, again.order);
        let ends = |edges: &[Edge], indices: &[usize]| -> Vec<(Name, Name)> {
            indices.iter().map(|&i| (edges[i].from.clone(), edges[i].to.clone())).collect()
        };
        for (one, other) in found.cycles.iter().zip(&again.cycles) {
            assert_eq!(one.members, other.members);
            assert_eq!(ends(&edges, &one.repair), ends(&turned, &other.repair));
        }
    }
}

#[test]
fn ties_follow_names_and_uses_are_ignored() {
    let edges = [edge("b", "z", true), edge("a", "b", false), edge("z", "c", true)];
    let found = analyse(&names(&["z", "c", "b", "a"]), &edges);
    assert_eq!(found.order, names(&["a", "c", "z", "b"]));
    assert_eq!(found.cycles, []);
}

#[test]
fn cycle_with_one_use_is_a_ring_only() {
    let edges = [edge("a", "b", true), edge("b", "a", false)];
    let found = analyse(&names(&["a", "b"]), &edges);
    assert_eq!(found.order, names(&["b", "a"]));
    assert_eq!(found.cycles, []);
    assert_eq!(rings(2, [(0, 1), (1, 0)].into_iter()), [[0, 1]]);
}

#[test]
fn ring_has_nodes_that_reach_each_other() {
    let edges = [(5, 3), (3, 1), (1, 5), (0, 1), (1, 2), (4, 4), (6, 7), (7, 6)];
    assert_eq!(rings(8, edges.into_iter()), [vec![1, 3, 5], vec![6, 7]]);
}

#[test]
fn shared_edge_repairs_two_cycles() {
    let edges = [
        edge("d", "a", true),
        edge("a", "b", true),
        edge("b", "d", true),
        edge("a", "c", true),
        edge("c", "d", true),
    ];
    let found = analyse(&names(&["a", "b", "c", "d"]), &edges);
    assert_eq!(found.cycles.len(), 1);
    assert_eq!(found.cycles[0].edges, [1, 3, 2, 4, 0]);
    assert_eq!(found.cycles[0].repair, [0]);
    assert!(found.cycles[0].exact);
    assert_eq!(found.order, names(&["d", "b", "c", "a"]));
}

#[test]
fn self_dependency_is_a_cycle_of_one() {
    let found = analyse(&names(&["a", "b"]), &[edge("b", "b", true), edge("a", "a", false)]);
    assert_eq!(found.order, names(&["a", "b"]));
    assert_eq!(found.cycles.len(), 1);
    assert_eq!(found.cycles[0].members, names(&["b"]));
    assert_eq!(found.cycles[0].repair, [0]);
}

#[test]
fn unknown_and_repeated_names_are_ignored() {
    let edges = [edge("a", "nowhere", true), edge("nowhere", "a", true)];
    let found = analyse(&names(&["a", "a"]), &edges);
    assert_eq!(found.order, names(&["a"]));
    assert_eq!(found.cycles, []);
}

#[test]
fn ring_of_thousand_is_repaired_by_one_edge() {
    let edges: Vec<Edge> = (0..1000)
        .map(|node| Edge { from: name(node), to: name((node + 1) % 1000), waits: true })
        .collect();
    let found = analyse(&(0..1000).map(name).collect::<Vec<_>>(), &edges);
    assert_eq!(found.cycles.len(), 1);
    assert_eq!(found.cycles[0].repair.len(), 1);
    assert!(!found.cycles[0].exact);
    assert_eq!(found.order.len(), 1000);
}

#[test]
fn dense_graph_of_thousand_is_repaired() {
    let (names, edges) = random(7, 1000, 5000);
    let found = analyse(&names, &edges);
    let repaired: usize = found.cycles.iter().map(|cycle| cycle.repair.len()).sum();
    assert_eq!(found.order.len(), 1000);
    assert!(repaired > 0 && repaired < 1000, "{repaired} edges of {}", edges.len());
}
