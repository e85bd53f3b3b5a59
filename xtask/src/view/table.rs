//! Columns that line up.
//!
//! It measures characters, not what a terminal makes of them.

use std::fmt::Write;

use super::style::RESET;

/// A piece of text and its colour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    style: &'static str,
}

impl Cell {
    /// Text in a colour.
    pub(crate) fn styled(text: impl Into<String>, style: &'static str) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: "" }
    }
}

/// The rows as lines, columns two spaces apart; no line ends in spaces. Columns that
/// are empty in every row but the first are left out.
pub(crate) fn table(rows: &[Vec<Cell>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
    };
    let empty = |column: usize| {
        rows.iter().skip(1).filter_map(|row| row.get(column)).all(|cell| cell.text.is_empty())
    };
    let shown: Vec<(usize, usize)> =
        (0..columns).filter(|&column| !empty(column)).map(|c| (c, width(c))).collect();
    let mut out = String::new();
    for row in rows {
        let mut spaces = 0;
        for &(column, width) in &shown {
            let Some(cell) = row.get(column) else { continue };
            let count = cell.text.chars().count();
            if count > 0 {
                let reset = if cell.style.is_empty() { "" } else { RESET };
                let _ = write!(out, "{:spaces$}{}{}{reset}", "", cell.style, cell.text);
                spaces = 0;
            }
            spaces += width - count + 2;
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let rows = [
            vec!["NAME".into(), "NOTE".into(), "PID".into()],
            vec![Cell::styled("a", "\x1b[1m"), "".into(), "10".into()],
            vec!["long-name".into(), "".into(), "7".into()],
        ];
        assert_eq!(table(&rows), "NAME       PID\n\x1b[1ma\x1b[0m          10\nlong-name  7\n");
    }
}
