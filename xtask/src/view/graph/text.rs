//! The graph as trees for a terminal, from services without dependents down to their
//! dependencies.
//!
//! The subtree of a service is drawn once; later occurrences have a mark. The text has no colours.

use std::fmt::Write as _;

use xtask_core::plan::Plan;
use xtask_core::terms::Kind;

use super::{Edge, address, edges};

pub(super) fn draw(plan: &Plan) -> String {
    let edges = edges(plan);
    let mut tree = Tree {
        plan,
        edges: &edges,
        drawn: vec![false; plan.services.len()],
        out: String::new(),
        dashes: false,
        marks: false,
    };
    for root in tree.roots() {
        tree.node(root, "", None, "");
    }
    let mut legend = Vec::new();
    if tree.dashes {
        legend.push("dashed: uses the address, waits for nothing");
    }
    if tree.marks {
        legend.push("(*): its own dependencies are drawn above");
    }
    let mut out = tree.out;
    if !legend.is_empty() {
        out.extend(["\n", &legend.join("\n"), "\n"]);
    }
    out
}

struct Tree<'a> {
    plan: &'a Plan,
    edges: &'a [Edge<'a>],
    /// Whether the subtree of each service is drawn.
    drawn: Vec<bool>,
    out: String,
    dashes: bool,
    marks: bool,
}

impl Tree<'_> {
    /// Services without dependents, by name.
    fn roots(&self) -> Vec<usize> {
        let mut roots: Vec<usize> = (0..self.plan.services.len())
            .filter(|&node| !self.edges.iter().any(|edge| edge.wait.waits() && edge.to == node))
            .collect();
        roots.sort_by_key(|&node| &self.plan.services[node].name);
        roots
    }

    /// Draws a service and its subtree. `edge` leads to it; `lead` precedes its own line,
    /// `indent` the lines below.
    fn node(&mut self, node: usize, lead: &str, edge: Option<&Edge<'_>>, indent: &str) {
        let service = &self.plan.services[node];
        let below: Vec<Edge<'_>> =
            self.edges.iter().filter(|edge| edge.from == node).copied().collect();
        let mut notes: Vec<String> =
            edge.and_then(|edge| edge.wait.short_label()).into_iter().collect();
        let waits = edge.is_none_or(|edge| edge.wait.waits());
        let again = self.drawn[node];
        self.drawn[node] |= waits;
        self.dashes |= !waits;

        self.out.extend([lead, &visible(&service.name)]);
        if service.kind == Kind::Job {
            notes.insert(0, "job".to_owned());
        }
        if !notes.is_empty() {
            let _ = write!(self.out, " ({})", notes.join(", "));
        }
        if let Some(url) = address(service).filter(|_| waits && !again) {
            let _ = write!(self.out, "  {}", visible(&url));
        }
        if again && waits && !below.is_empty() {
            self.out.push_str(" (*)");
            self.marks = true;
        }
        self.out.push('\n');
        if again || !waits {
            return;
        }
        for (place, edge) in below.iter().enumerate() {
            let last = place + 1 == below.len();
            let branch = match (last, edge.wait.waits()) {
                (false, true) => "├── ",
                (false, false) => "├╌╌ ",
                (true, true) => "└── ",
                (true, false) => "└╌╌ ",
            };
            let trunk = if last { "    " } else { "│   " };
            self.node(
                edge.to,
                &format!("{indent}{branch}"),
                Some(edge),
                &format!("{indent}{trunk}"),
            );
        }
    }
}

/// Escapes control characters, so that no name moves the cursor.
fn visible(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}
