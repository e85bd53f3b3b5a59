//! The graph as JSON. Its types are separate from the plan's, whose format may change.

use serde::Serialize;
use xtask_core::plan::Plan;
use xtask_core::terms::{Condition, Kind, Name, Place};

use super::{Wait, address, edges, layers};

/// The document of `graph --format json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Graph<'a> {
    /// The version of this format, 2.
    version: u32,
    stack: &'a str,
    /// Every service and job, dependencies first.
    services: Vec<Node<'a>>,
    /// Rings: groups of services that start together.
    together: Vec<Vec<&'a Name>>,
    /// Every edge, in order of dependents.
    edges: Vec<Line<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Node<'a> {
    name: &'a Name,
    kind: Kind,
    /// Its default address; `?` replaces a port that is chosen at the start.
    url: Option<String>,
    /// Length of the longest path over `depends-on` edges to a service without dependencies.
    layer: usize,
    declared: &'a Place,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    from: &'a Name,
    to: &'a Name,
    /// The key that declares it: `depends-on` or `uses`.
    kind: &'static str,
    /// The condition; null for `uses`.
    condition: Option<Condition>,
    /// Whether the dependent is restarted when the dependency is.
    restart: bool,
    /// Whether `--cycles relax` turned a `depends-on` into this `uses`.
    relaxed: bool,
    declared: &'a Place,
}

pub(super) fn draw(plan: &Plan) -> String {
    let edges = edges(plan);
    let layers = layers(plan, &edges);
    let services = plan.services.iter().zip(layers).map(|(service, layer)| Node {
        name: &service.name,
        kind: service.kind,
        url: address(service),
        layer,
        declared: &service.declared,
    });
    let lines = edges.iter().map(|edge| {
        let (kind, condition, restart, relaxed) = match edge.wait {
            Wait::For(on) => ("depends-on", Some(on.condition), on.restart, false),
            Wait::Nothing { relaxed } => ("uses", None, false, relaxed),
        };
        Line {
            from: &plan.services[edge.from].name,
            to: &plan.services[edge.to].name,
            kind,
            condition,
            restart,
            relaxed,
            declared: edge.declared,
        }
    });
    let graph = Graph {
        version: 2,
        stack: &plan.stack,
        services: services.collect(),
        together: plan.rings(),
        edges: lines.collect(),
    };
    // Structs of text and numbers always serialize.
    serde_json::to_string_pretty(&graph).unwrap_or_default() + "\n"
}
