//! Tables with aligned columns, measured in characters.

use std::fmt::Write;

use super::style::RESET;

#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: &'static str,
}

impl Cell {
    pub fn styled(text: impl Into<String>, style: &'static str) -> Self {
        Self { text: one_line(text.into()), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: one_line(text.into()), style: "" }
    }
}

/// A cell has one line: the second one of a text from elsewhere would look like a row.
fn one_line(text: String) -> String {
    if text.contains('\n') { text.replace('\n', " ") } else { text }
}

/// Renders the rows with two spaces between columns and none at the end of a line. Omits columns
/// that are empty below the header.
pub fn table(rows: &[Vec<Cell>]) -> String {
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
    fn columns_are_aligned_and_empty_ones_omitted() {
        let rows = [
            vec!["NAME".into(), "NOTE".into(), "PID".into()],
            vec![Cell::styled("a", "\x1b[1m"), "".into(), "10".into()],
            vec!["long-name".into(), "".into(), "7".into()],
        ];
        assert_eq!(table(&[vec!["a\nb".into()], vec!["c\n".into()]]), "a b\nc \n");
        assert_eq!(table(&rows), "NAME       PID\n\x1b[1ma\x1b[0m          10\nlong-name  7\n");
    }
}
