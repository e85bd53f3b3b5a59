//! A plot of cost against size, as one SVG file without scripts.
//!
//! Both axes are logarithmic, so that equal ratios have equal distances.

use std::fmt::Write as _;

use crate::row::{Curve, Row};
use crate::samples::Samples;
use crate::table::number;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 340.0;
/// Left, top, right and bottom of a panel's curves.
const FRAME: (f64, f64, f64, f64) = (56.0, 34.0, 440.0, 292.0);

const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600 }
  .grid { stroke: #ddd } .axis { stroke: #888; fill: none }
  .ours { stroke: #c2410c; fill: #c2410c } .ideal { stroke: #2563eb; fill: #2563eb }
  polyline { fill: none !important; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    svg { background: #16181d } text { fill: #ddd } .grid { stroke: #333 }
    .ours { stroke: #fb923c; fill: #fb923c } .ideal { stroke: #60a5fa; fill: #60a5fa }
  }
";

/// The plot of all rows that belong to a curve.
pub(crate) fn svg(rows: &[Row]) -> String {
    let panels = [
        (Curve::Chain, "Start of a chain, ms"),
        (Curve::Wide, "Start of services side by side, ms"),
        (Curve::Memory, "Memory of an idle stack, MB"),
    ];
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {HEIGHT}\" role=\"img\">\n\
         <style>{STYLE}</style>\n",
        WIDTH * 3.0
    );
    for (place, (curve, title)) in (0_u8..).zip(panels) {
        let mut points: Vec<_> = rows
            .iter()
            .filter_map(|row| row.curve.filter(|(of, _)| *of == curve).map(|(_, size)| (size, row)))
            .collect();
        points.sort_by_key(|(size, _)| *size);
        let _ = writeln!(out, "<g transform=\"translate({} 0)\">", WIDTH * f64::from(place));
        panel(&mut out, title, &points);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, title: &str, points: &[(usize, &Row)]) {
    let (left, top, right, bottom) = FRAME;
    let _ = writeln!(out, "<text class=\"title\" x=\"{left}\" y=\"20\">{title}</text>");
    if points.is_empty() {
        let _ = writeln!(out, "<text x=\"{left}\" y=\"{}\">not measured</text>", top + 20.0);
        return;
    }
    let ours = |row: &Row| Some(row.ours.median());
    let ideal = |row: &Row| row.ideal.as_ref().map(Samples::median);
    let values = points.iter().flat_map(|(_, row)| [ours(row), ideal(row)]).flatten();
    let values: Vec<f64> = values.filter(|value| *value > 0.0).collect();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let sizes: Vec<f64> = points.iter().map(|(size, _)| *size as f64).collect();
    let x = Axis::of(&sizes, left, right);
    let y = Axis::of(&values, bottom, top);
    for decade in x.decades() {
        let at = x.place(decade);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 18.0,
            number(decade)
        );
    }
    for decade in y.decades() {
        let at = y.place(decade);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            number(decade)
        );
    }
    let _ = writeln!(
        out,
        "<polyline class=\"axis\" points=\"{left},{top} {left},{bottom} {right},{bottom}\"/>\
         <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">services</text>",
        bottom + 36.0
    );
    curve(out, "ours", &sizes, points.iter().map(|(_, row)| ours(row)), &x, &y);
    curve(out, "ideal", &sizes, points.iter().map(|(_, row)| ideal(row)), &x, &y);
}

fn curve(
    out: &mut String,
    class: &str,
    sizes: &[f64],
    values: impl Iterator<Item = Option<f64>>,
    x: &Axis,
    y: &Axis,
) {
    let points = sizes.iter().zip(values).filter_map(|(&size, value)| Some((size, value?)));
    let points: Vec<(f64, f64)> = points.filter(|(_, value)| *value > 0.0).collect();
    let places = points.iter().map(|&(size, value)| (x.place(size), y.place(value)));
    let places: Vec<_> = places.collect();
    let line: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(out, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "));
    for ((at_x, at_y), (size, value)) in places.iter().zip(&points) {
        let _ = writeln!(
            out,
            "<circle class=\"{class}\" cx=\"{at_x:.1}\" cy=\"{at_y:.1}\" r=\"3\">\
             <title>{class}, {size} services: {}</title></circle>",
            number(*value)
        );
    }
    if let Some((at_x, at_y)) = places.last() {
        let _ = writeln!(
            out,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{class}</text>",
            at_x - 6.0,
            at_y - 6.0
        );
    }
}

/// A logarithmic axis between two places.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// The whole decades around these values.
    fn of(values: &[f64], from: f64, to: f64) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min).max(1e-3).log10().floor();
        let high = values.iter().copied().fold(0.0, f64::max).max(1e-3).log10().ceil();
        Self { low, high: high.max(low + 1.0), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        let (low, high) = (self.low, self.high);
        (-3..=9)
            .map(f64::from)
            .filter(move |&power| power >= low && power <= high)
            .map(|power| 10_f64.powf(power))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_covers_whole_decades() {
        let axis = Axis::of(&[20.0, 300.0], 0.0, 100.0);
        assert_eq!(axis.decades().collect::<Vec<_>>(), [10.0, 100.0, 1000.0]);
        assert!((axis.place(100.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn plot_names_what_was_not_measured() {
        let mut row = Row::new("wide-10", "wide");
        row.curve = Some((Curve::Wide, 10));
        row.ours = Samples::of(5.0);
        let plot = svg(&[row]);
        assert_eq!(plot.matches("not measured").count(), 2);
        assert_eq!(plot.matches("<circle").count(), 1);
    }
}
