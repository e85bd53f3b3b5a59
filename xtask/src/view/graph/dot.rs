//! The graph for Graphviz, without colours and fonts.

use std::fmt::Write as _;

use xtask_core::plan::Plan;
use xtask_core::terms::Kind;

use super::{edges, subtitle};

pub(super) fn draw(plan: &Plan) -> String {
    let mut out = format!("digraph {} {{\n    rankdir=LR;\n", quoted(&plan.stack));
    for service in &plan.services {
        let label = match subtitle(service) {
            Some(below) => format!("{}\n{below}", service.name),
            None => service.name.to_string(),
        };
        let shape = match service.kind {
            Kind::Service => "box",
            Kind::Job => "ellipse",
        };
        let name = quoted(&service.name);
        let _ = writeln!(out, "    {name} [label={}, shape={shape}];", quoted(&label));
    }
    for edge in edges(plan) {
        let style = if edge.wait.waits() { "" } else { ", style=dashed, constraint=false" };
        let _ = writeln!(
            out,
            "    {} -> {} [label={}{style}];",
            quoted(&plan.services[edge.from].name),
            quoted(&plan.services[edge.to].name),
            quoted(&edge.wait.label()),
        );
    }
    out + "}\n"
}

/// Quotes a text; a line end becomes `\n` in the label.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}
