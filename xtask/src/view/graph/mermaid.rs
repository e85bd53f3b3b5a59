//! The graph for Mermaid. Nodes are numbered, because names may contain Mermaid's keywords.

use std::fmt::Write as _;

use xtask_core::plan::Plan;
use xtask_core::terms::Kind;

use super::{edges, subtitle};

pub(super) fn draw(plan: &Plan) -> String {
    let mut out = String::from("flowchart LR\n");
    for (place, service) in plan.services.iter().enumerate() {
        let mut label = escape(&service.name);
        if let Some(below) = subtitle(service) {
            label.extend(["<br/>", &escape(&below)]);
        }
        let (open, close) = match service.kind {
            Kind::Service => ("[", "]"),
            Kind::Job => ("([", "])"),
        };
        let _ = writeln!(out, "    n{place}{open}\"{label}\"{close}");
    }
    for edge in edges(plan) {
        let arrow = if edge.wait.waits() { "-->" } else { "-.->" };
        let _ = writeln!(out, "    n{} {arrow}|{}| n{}", edge.from, edge.wait.label(), edge.to);
    }
    out
}

/// Writes every character with a special meaning as `#CODE;`.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_alphanumeric() || " -_./:?".contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "#{};", u32::from(c));
        }
        out
    })
}
