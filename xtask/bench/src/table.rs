//! The rows as text.

use std::fmt::Write as _;

use crate::row::{Limit, Row};
use crate::samples::Samples;

/// One line for each row, with notes and other tools below it.
pub(crate) fn text(rows: &[Row]) -> String {
    let head = ["row", "ours", "ideal", "ratio", "to reach", "", "what is measured"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len() - 1).map(width).collect();
    let mut out = String::new();
    let mut line = |cells: &[String]| {
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(out, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", cells[cells.len() - 1]);
    };
    line(&lines[0]);
    for (row, cells) in rows.iter().zip(&lines[1..]) {
        line(cells);
        let mut indented = |text: String| {
            let mut empty = vec![String::new(); head.len()];
            empty[head.len() - 1] = text;
            line(&empty);
        };
        for (name, values) in &row.peers {
            indented(format!("  {name}: {}", value(values, row.unit)));
        }
        row.notes.iter().for_each(|note| indented(format!("  {note}")));
    }
    out
}

fn cells(row: &Row) -> Vec<String> {
    let reached = match row.is_reached() {
        None => "",
        Some(true) => "reached",
        Some(false) => "missed",
    };
    let limit = match (row.limit, row.highest()) {
        (Some(Limit::Times(factor)), _) => format!("<= {factor} x"),
        (Some(_), Some(highest)) => format!("<= {} {}", number(highest), row.unit),
        (_, None) | (None, _) => String::new(),
    };
    vec![
        row.name.clone(),
        value(&row.ours, row.unit),
        row.ideal.as_ref().map(|ideal| value(ideal, row.unit)).unwrap_or_default(),
        row.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        limit,
        reached.to_owned(),
        row.what.clone(),
    ]
}

/// The median, and the range if there are several values.
fn value(samples: &Samples, unit: &str) -> String {
    let (low, high) = samples.range();
    let range = match samples.values().len() {
        0 | 1 => String::new(),
        _ => format!(" ({}-{})", number(low), number(high)),
    };
    format!("{}{range} {unit}", number(samples.median()))
}

/// Three digits.
pub(crate) fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_ratio_and_limit() {
        let mut row = Row::new("chain-50", "a chain");
        row.ours = Samples::of(30.0);
        row.ideal = Some(Samples::of(20.0));
        row.limit = Some(Limit::Times(1.5));
        row.notes.push("a note".to_owned());
        let text = text(&[row]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "chain-50  30.0 ms  20.0 ms  1.50   <= 1.5 x  reached  a chain");
        assert!(lines[2].ends_with("  a note"), "{text}");
    }
}
