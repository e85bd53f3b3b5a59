//! Which services take part, in which order, and whether they can start.
//!
//! The graph finds cycles; this file turns them into problems with places.

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::flags;
use super::request::{Cycles, Repair, Request};
use crate::graph::{self, Analysis, Cycle, Edge, analyse};
use crate::manifest::Declarations;
use crate::model::{Model, Node, Requirement};
use crate::problem::{Code, Label, Problem};
use crate::terms::suggest::list;
use crate::terms::{Kind, Name};

/// The services asked for; or the default ones, or all, with what runs already.
pub(crate) fn wanted(
    declarations: &Declarations,
    model: &Model,
    request: &Request,
    problems: &mut Vec<Problem>,
) -> Vec<Name> {
    let mut out: Vec<Name> = Vec::new();
    let mut add = |name: &Name| {
        if !out.contains(name) {
            out.push(name.clone());
        }
    };
    if request.services.is_empty() {
        default(declarations, model).iter().for_each(&mut add);
        // A job that is not wanted by default runs only when it is named.
        let services = request.running.iter().filter_map(|name| model.node(name));
        services.filter(|node| node.kind() == Kind::Service).for_each(|node| add(&node.name));
    }
    for name in &request.services {
        match model.node(name) {
            Some(node) => add(&node.name),
            None => problems.push(flags::unknown(name, "on the command line", model)),
        }
    }
    out
}

/// The default services, or all if the workspace declares no default.
pub(crate) fn default(declarations: &Declarations, model: &Model) -> Vec<Name> {
    match &declarations.default {
        Some(names) => {
            let nodes = names.iter().filter_map(|name| model.node(&name.value));
            nodes.map(|node| node.name.clone()).collect()
        }
        None => model.nodes.iter().map(|node| node.name.clone()).collect(),
    }
}

/// These services and everything that they depend on or use.
pub(crate) fn closure(model: &Model, wanted: &[Name]) -> SortedSet<Name> {
    let nodes: SortedMap<&Name, &Node> =
        model.nodes.iter().map(|node| (&node.name, node)).collect();
    let edges = |name| nodes.get(name).into_iter().flat_map(|node| node.edges());
    graph::closure(wanted, |name| edges(name).map(|edge| &edge.to.value))
}

/// The services that take part, in order, and the repair of their cycles.
pub(crate) struct Ordered {
    pub(crate) order: Vec<Name>,
    /// Dependent and dependency of each edge that counts as `uses` for this start.
    pub(crate) relaxed: SortedSet<(Name, Name)>,
    /// The edges to change so that every cycle can start.
    pub(crate) repairs: Vec<Repair>,
}

/// Orders the services of the closure, and reports each cycle that cannot start.
pub(crate) fn order(
    model: &Model,
    closure: &SortedSet<Name>,
    cycles: Cycles,
    problems: &mut Vec<Problem>,
) -> Ordered {
    let names: Vec<Name> = closure.iter().cloned().collect();
    let mut places: Vec<(&Node, &Requirement)> = Vec::new();
    let mut edges: Vec<Edge> = Vec::new();
    for node in model.nodes.iter().filter(|node| closure.contains(&node.name)) {
        let waits = node.depends_on.iter().map(|edge| (edge, true));
        for (edge, waits) in waits.chain(node.uses.iter().map(|edge| (edge, false))) {
            places.push((node, edge));
            edges.push(Edge { from: node.name.clone(), to: edge.to.value.clone(), waits });
        }
    }
    let Analysis { order, cycles: found } = analyse(&names, &edges);
    let mut repairs = Vec::new();
    let mut relaxed = SortedSet::new();
    for cycle in &found {
        problems.push(problem(cycle, &places, cycles));
        for &index in &cycle.repair {
            let (node, edge) = places[index];
            let to = edge.to.with(edge.to.value.to_string());
            repairs.push(Repair { from: node.name.clone(), to, table: edge.table.clone() });
            if cycles == Cycles::Relax {
                relaxed.insert((node.name.clone(), edge.to.value.clone()));
            }
        }
    }
    Ordered { order, relaxed, repairs }
}

/// A cycle with every edge and the repair.
fn problem(cycle: &Cycle, places: &[(&Node, &Requirement)], cycles: Cycles) -> Problem {
    let members = list(cycle.members.iter().map(Name::as_str));
    let message = format!("{members} wait for each other, so none of them can start");
    let mut problem = match cycles {
        Cycles::Refuse => Problem::error(Code::Cycle, message),
        Cycles::Relax => Problem::warning(Code::Cycle, message),
    };
    // The repair first: the first place is the one that the message points at.
    let mut edges = cycle.edges.clone();
    edges.sort_by_key(|index| !cycle.repair.contains(index));
    for index in edges {
        let (node, edge) = places[index];
        let text = format!("`{}` waits for `{}`", node.name, edge.to.value);
        let primary = cycle.repair.contains(&index);
        problem.labels.push(Label { span: edge.to.span.clone(), text, primary });
    }
    let repair: Vec<String> = cycle
        .repair
        .iter()
        .map(|index| format!("`{}` -> `{}`", places[*index].0.name, places[*index].1.to.value))
        .collect();
    let set = if cycle.exact { "the smallest set" } else { "a small set" };
    let repair = repair.join(", ");
    match cycles {
        Cycles::Refuse => problem
            .note(format!("{set} of edges to change to `uses`: {repair}"))
            .note("`--cycles relax` treats them as `uses` for one start")
            .hint("run `%xtask% check --fix`"),
        Cycles::Relax => problem
            .note(format!("treated as `uses` for this start: {repair}"))
            .hint("run `%xtask% check --fix` to make it last"),
    }
}
