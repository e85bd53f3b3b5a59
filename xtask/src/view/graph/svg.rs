//! The graph as a self-contained SVG.
//!
//! Boxes have a background and lines are medium grey, so it is readable on light and dark pages.
//! It contains no script and loads nothing.

use std::fmt::Write as _;

use xtask_core::plan::{Plan, Program, Service};
use xtask_core::terms::Kind;

use super::layout::{Layout, Point, Size, place};
use super::{Edge, edges, layers, subtitle};

/// The space around the picture, in pixels.
const MARGIN: f64 = 24.0;
/// The height of a box, in pixels.
const HEIGHT: f64 = 48.0;
/// The height of a line of the legend, in pixels.
const LEGEND: f64 = 22.0;

/// Distance that lines between boxes of one column reach out of it, in pixels.
const BULGE: f64 = 60.0;

const STYLE: &str = "\
text { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; }
.box { fill: #f4f6f8; stroke: #57606a; stroke-width: 1.5; }
.job { fill: #fdf3dc; stroke: #9a6700; }
.external { stroke-dasharray: 2 3; }
.name { font-size: 15px; font-weight: 600; fill: #1f2328; text-anchor: middle; }
.below { font-size: 11px; fill: #57606a; text-anchor: middle; }
.line { fill: none; stroke: #848d97; stroke-width: 1.5; }
.uses { stroke-dasharray: 5 4; }
.head { fill: #848d97; }
.plate { fill: #f4f6f8; stroke: #848d97; stroke-width: 0.75; }
.label { font-size: 10.5px; fill: #1f2328; text-anchor: middle; }
.legend { font-size: 11px; fill: #848d97; }";

pub(super) fn draw(plan: &Plan) -> String {
    let edges: Vec<Edge<'_>> =
        edges(plan).into_iter().filter(|edge| edge.from != edge.to).collect();
    let layers = layers(plan, &edges);
    let last = layers.iter().max().copied().unwrap_or(0);
    let boxes: Vec<Size> = plan
        .services
        .iter()
        .zip(&layers)
        .map(|(service, layer)| Size {
            width: box_width(service),
            height: HEIGHT,
            column: last - layer,
        })
        .collect();
    let ends: Vec<(usize, usize)> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
    let layout = place(&boxes, &ends);

    let mut labels = String::new();
    let mut body = String::new();
    for (edge, curve) in edges.iter().zip(&layout.curves) {
        line(
            &mut body,
            &mut labels,
            edge,
            &path(curve, boxes[edge.from].column == boxes[edge.to].column),
        );
    }
    for (service, area) in plan.services.iter().zip(&layout.areas) {
        node(&mut body, service, (area.left + area.width / 2.0, area.top), area.width);
    }
    let legend = legend(plan, &edges);
    page(plan, &layout, &(body + &labels), &legend)
}

fn page(plan: &Plan, layout: &Layout, body: &str, legend: &[(&str, &str)]) -> String {
    let widest = legend.iter().map(|(_, text)| 52.0 + text_width(text, 11.0)).fold(0.0, f64::max);
    // Lines between boxes of the last column reach out of it.
    let width = layout.width.max(widest) + 2.0 * MARGIN + 24.0;
    let height = layout.height + 2.0 * MARGIN + LEGEND * legend.len() as f64;
    let title = escape(&format!("services of the stack {}", plan.stack));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>{title}</title>\n\
         <style>\n{STYLE}\n</style>\n<defs><marker id=\"head\" viewBox=\"0 0 10 10\" refX=\"9\" \
         refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path class=\"head\" d=\"M0 1 L10 5 L0 9 z\"/></marker></defs>\n\
         <g transform=\"translate({MARGIN} {MARGIN})\">\n{body}"
    );
    for (row, (class, text)) in legend.iter().enumerate() {
        let y = layout.height + MARGIN + LEGEND * row as f64;
        let sign = match *class {
            "job" => format!(
                "<rect class=\"box job\" x=\"0\" y=\"{:.1}\" width=\"36\" height=\"12\" rx=\"6\"/>",
                y - 6.0
            ),
            "external" => format!(
                "<rect class=\"box external\" x=\"0\" y=\"{:.1}\" width=\"36\" height=\"12\" rx=\"3\"/>",
                y - 6.0
            ),
            class => format!(
                "<path class=\"line {class}\" marker-end=\"url(#head)\" d=\"M0 {y:.1} H36\"/>"
            ),
        };
        let _ = writeln!(
            out,
            "{sign}<text class=\"legend\" x=\"46\" y=\"{:.1}\">{text}</text>",
            y + 4.0
        );
    }
    out + "</g>\n</svg>\n"
}

fn node(out: &mut String, service: &Service, (middle, top): Point, width: f64) {
    let (job, radius) = match service.kind {
        Kind::Service => ("", 6.0),
        Kind::Job => (" job", HEIGHT / 2.0),
    };
    let external = if service.program == Program::External { " external" } else { "" };
    let below = subtitle(service);
    let name_y = top + if below.is_some() { 22.0 } else { 29.0 };
    let _ = writeln!(
        out,
        "<g><title>{}</title><rect class=\"box{job}{external}\" x=\"{:.1}\" y=\"{top:.1}\" \
         width=\"{width:.1}\" height=\"{HEIGHT}\" rx=\"{radius}\"/>\
         <text class=\"name\" x=\"{middle:.1}\" y=\"{name_y:.1}\">{}</text>{}</g>",
        escape(&service.declared.to_string()),
        middle - width / 2.0,
        escape(&service.name),
        below.map_or_else(String::new, |below| format!(
            "<text class=\"below\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
            top + 38.0,
            escape(&below)
        )),
    );
}
struct Path {
    d: String,
    label: Point,
}

fn path(curve: &[[Point; 2]], same_column: bool) -> Path {
    let mut d = String::new();
    let mut label = (0.0, 0.0);
    for (index, &[(x1, y1), (x2, y2)]) in curve.iter().enumerate() {
        let _ = write!(d, "{}{x1:.1} {y1:.1} ", if index == 0 { "M" } else { "L" });
        let (c1, c2) = if same_column {
            let out = x1.max(x2) + (20.0 + 0.35 * (y2 - y1).abs()).min(BULGE);
            (out, out)
        } else {
            let half = f64::midpoint(x1, x2);
            (half, half)
        };
        let _ = write!(d, "C{c1:.1} {y1:.1} {c2:.1} {y2:.1} {x2:.1} {y2:.1} ");
        if index == 0 {
            // The middle of the curve.
            label = ((x1 + 3.0 * c1 + 3.0 * c2 + x2) / 8.0, f64::midpoint(y1, y2));
        }
    }
    d.truncate(d.trim_end().len());
    Path { d, label }
}

fn line(out: &mut String, labels: &mut String, edge: &Edge<'_>, path: &Path) {
    let class = if edge.wait.waits() { "line" } else { "line uses" };
    let _ = writeln!(
        out,
        "<path class=\"{class}\" marker-end=\"url(#head)\" d=\"{}\"><title>{}: {}</title></path>",
        path.d,
        escape(&edge.declared.to_string()),
        edge.wait.label(),
    );
    if let Some(label) = edge.wait.short_label() {
        let width = text_width(&label, 10.5) + 10.0;
        let (x, y) = path.label;
        let _ = writeln!(
            labels,
            "<rect class=\"plate\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"16\" rx=\"8\"/>\
             <text class=\"label\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
            x - width / 2.0,
            y - 8.0,
            y + 3.5,
        );
    }
}

/// The legend: the symbols that this picture uses.
fn legend(plan: &Plan, edges: &[Edge<'_>]) -> Vec<(&'static str, &'static str)> {
    let mut legend = Vec::new();
    if edges.iter().any(|edge| edge.wait.waits()) {
        legend.push(("waits", "waits until it is ready, or for the condition on the line"));
    }
    if edges.iter().any(|edge| !edge.wait.waits()) {
        legend.push(("uses", "uses its address, waits for nothing"));
    }
    if plan.services.iter().any(|service| service.kind == Kind::Job) {
        legend.push(("job", "a job: runs to completion"));
    }
    if plan.services.iter().any(|service| service.program == Program::External) {
        legend.push(("external", "external: not started by the tool"));
    }
    legend
}

fn box_width(service: &Service) -> f64 {
    let below = subtitle(service).map_or(0.0, |below| text_width(&below, 11.0));
    (text_width(&service.name, 16.5).max(below) + 32.0).max(96.0)
}

/// An upper estimate of a text's width, in pixels.
fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| if c.is_ascii() { 0.62 } else { 1.05 } * size).sum()
}

/// Escapes a text for XML and removes characters that XML does not allow.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
        out
    })
}
