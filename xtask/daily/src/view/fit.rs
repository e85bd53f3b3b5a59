//! Cuts text to the columns of a terminal. Colours take no column.

use super::style::RESET;

/// Marks a text that was cut.
const CUT: char = '…';

/// How many columns a text takes. Characters that some terminals show in two columns count as two,
/// so that the text is never wider.
pub(crate) fn width(text: &str) -> usize {
    pieces(text).map(|(_, columns)| columns).sum()
}

/// The text, or its beginning and a mark if it needs more columns. Open colours are closed.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let closed = |text: String| match text.contains('\x1b') && !text.ends_with(RESET) {
        true => text + RESET,
        false => text,
    };
    if width(text) <= columns {
        return closed(text.to_owned());
    }
    let mut out = String::new();
    let mut used = 0;
    for (piece, piece_columns) in pieces(text) {
        if used + piece_columns + 1 > columns {
            break;
        }
        out.push_str(piece);
        used += piece_columns;
    }
    if columns > 0 {
        out.push(CUT);
    }
    closed(out)
}

/// The characters and the colours of a text, each with its columns.
fn pieces(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (length, columns) = match (rest.starts_with("\x1b["), rest.find('m')) {
            (true, Some(end)) => (end + 1, 0),
            _ if first >= '\u{1100}' && !('\u{2000}'..'\u{2e80}').contains(&first) => {
                (first.len_utf8(), 2)
            }
            _ => (first.len_utf8(), 1),
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        Some((piece, columns))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_and_its_colours_closed() {
        assert_eq!(fit("short", 5), "short");
        assert_eq!(fit("longer", 5), "long…");
        assert_eq!(fit("\x1b[31mlonger\x1b[0m", 5), "\x1b[31mlong…\x1b[0m");
        assert_eq!(fit("\x1b[31mred\x1b[0m", 3), "\x1b[31mred\x1b[0m");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("x", 0), "");
        assert_eq!(width("\x1b[1;32mok\x1b[0m é"), 4);
    }
}
