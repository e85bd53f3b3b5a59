//! `cargo xtask graph`: a plan's services and edges in five formats.
//!
//! The graph shows the plan only, not the state of services.

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
use xtask_core::terms::secret::shown_url;
use xtask_core::terms::{Condition, Kind, Name, Place};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Mermaid,
    Dot,
    Svg,
    Json,
}

/// Draws the plan; the text ends with a line end.
pub(crate) fn draw(plan: &Plan, format: Format) -> String {
    match format {
        Format::Text => text::draw(plan),
        Format::Mermaid => mermaid::draw(plan),
        Format::Dot => dot::draw(plan),
        Format::Svg => svg::draw(plan),
        Format::Json => json::draw(plan),
    }
}

/// An edge between two services, by their indices in the plan.
#[derive(Clone, Copy, Debug)]
struct Edge<'a> {
    from: usize,
    to: usize,
    wait: Wait<'a>,
    declared: &'a Place,
}

#[derive(Clone, Copy, Debug)]
enum Wait<'a> {
    /// `depends-on`.
    For(&'a Dependency),
    /// `uses`; `relaxed` if `--cycles relax` turned a `depends-on` into it.
    Nothing { relaxed: bool },
}

impl Wait<'_> {
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

    /// The label, `None` for the usual ones.
    fn short_label(&self) -> Option<String> {
        let label = self.label();
        (label != "ready" && label != "uses").then_some(label)
    }

    fn waits(&self) -> bool {
        matches!(self, Self::For(_))
    }
}

/// All edges within the plan, in order of dependents.
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

/// For each service the length of the longest path over `depends-on` edges, 0 without any. The
/// plan lists dependencies first.
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

/// The second line of a box: the address, or `job`.
fn subtitle(service: &Service) -> Option<String> {
    match (address(service), service.kind) {
        (Some(address), _) => Some(address),
        (None, Kind::Job) => Some("job".to_owned()),
        (None, Kind::Service) => None,
    }
}

/// A service's address; `?` replaces a port that is chosen at the start.
fn address(service: &Service) -> Option<String> {
    let url = service.url.as_ref()?;
    // The address contains only ports of the service itself.
    let number = |_: &Name, port: usize| service.ports.get(port)?.number;
    Some(shown_url(&url.render(number).unwrap_or_else(|_| url.to_string())))
}
