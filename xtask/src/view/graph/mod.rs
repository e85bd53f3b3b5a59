//! `cargo xtask graph`: a plan's services and edges in the five forms in which people
//! and programs want to see them.
//!
//! Pure functions of a plan: what runs, and whether it is ready, is not drawn.

mod dot;
mod json;
mod layout;
mod mermaid;
mod svg;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

use xtask_core::plan::{Dependency, Plan, Service};
use xtask_core::terms::{Condition, Kind, Name, Place};

/// The form of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A tree for a terminal.
    Text,
    /// For Markdown pages that draw Mermaid.
    Mermaid,
    /// For Graphviz.
    Dot,
    /// A picture that needs no other program.
    Svg,
    /// For programs.
    Json,
}

/// Draws the plan, with a line end at the end.
pub(crate) fn draw(plan: &Plan, format: Format) -> String {
    match format {
        Format::Text => text::draw(plan),
        Format::Mermaid => mermaid::draw(plan),
        Format::Dot => dot::draw(plan),
        Format::Svg => svg::draw(plan),
        Format::Json => json::draw(plan),
    }
}

/// An edge between two services of the plan, by their places in it.
#[derive(Clone, Copy, Debug)]
struct Edge<'a> {
    from: usize,
    to: usize,
    wait: Wait<'a>,
    declared: &'a Place,
}

/// Whether and for what an edge waits.
#[derive(Clone, Copy, Debug)]
enum Wait<'a> {
    /// `depends-on`.
    For(&'a Dependency),
    /// `uses`; `relaxed` if it is one only because of `--cycles relax`.
    Nothing { relaxed: bool },
}

impl Wait<'_> {
    /// What to write on the edge.
    fn label(&self) -> String {
        match self {
            Self::For(dependency) if dependency.restart => {
                format!("{}, restart", condition(dependency.condition))
            }
            Self::For(dependency) => condition(dependency.condition).to_owned(),
            Self::Nothing { relaxed: false } => "uses".to_owned(),
            Self::Nothing { relaxed: true } => "uses, relaxed".to_owned(),
        }
    }

    /// The same, where what most edges have is left out.
    fn short_label(&self) -> Option<String> {
        let label = self.label();
        (label != "ready" && label != "uses").then_some(label)
    }

    fn waits(&self) -> bool {
        matches!(self, Self::For(_))
    }
}

/// Every edge, in order of dependents. Edges that lead out of the plan are left out.
fn edges(plan: &Plan) -> Vec<Edge<'_>> {
    let names = plan.services.iter().enumerate().map(|(place, service)| (&service.name, place));
    let places: BTreeMap<&Name, usize> = names.collect();
    let place = |name: &Name| places.get(name).copied();
    let mut edges = Vec::new();
    for (from, service) in plan.services.iter().enumerate() {
        for dependency in &service.depends_on {
            if let Some(to) = place(&dependency.on) {
                let wait = Wait::For(dependency);
                edges.push(Edge { from, to, wait, declared: &dependency.declared });
            }
        }
        for usage in &service.uses {
            if let Some(to) = place(&usage.of) {
                let wait = Wait::Nothing { relaxed: usage.relaxed };
                edges.push(Edge { from, to, wait, declared: &usage.declared });
            }
        }
    }
    edges
}

/// For each service the longest way down over waiting edges: 0 for one that waits for
/// nothing. The plan has its dependencies first.
fn layers(plan: &Plan, edges: &[Edge<'_>]) -> Vec<usize> {
    let mut layers = vec![0; plan.services.len()];
    for edge in edges.iter().filter(|edge| edge.wait.waits() && edge.to < edge.from) {
        layers[edge.from] = layers[edge.from].max(layers[edge.to] + 1);
    }
    layers
}

fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::Ready => "ready",
        Condition::Started => "started",
        Condition::Succeeded => "succeeded",
    }
}

/// What stands below a service's name: its address, or that it is a job.
fn subtitle(service: &Service) -> Option<String> {
    match (address(service), service.kind) {
        (Some(address), _) => Some(address),
        (None, Kind::Job) => Some("job".to_owned()),
        (None, Kind::Service) => None,
    }
}

/// A service's address; a port that is chosen at the start stands as `?`.
fn address(service: &Service) -> Option<String> {
    let url = service.url.as_ref()?;
    // It names nobody but the service itself.
    let number = |_: &Name, port: usize| service.ports.get(port)?.number;
    Some(url.render(number).unwrap_or_else(|_| url.to_string()))
}
