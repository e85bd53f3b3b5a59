//! Terminal escapes in what services print: taken out, all or all but colours.
//!
//! A service may print what moves a cursor, clears a screen or asks the terminal to
//! answer; none of that belongs into somebody else's terminal. It does not interpret
//! colours, only lets them through.

use std::borrow::Cow;

/// What [`strip`] leaves in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// No escapes at all: for matching, and for output that is not a terminal.
    Nothing,
    /// Colours and text attributes (SGR): for terminals.
    Colours,
}

const ESCAPE: u8 = 0x1b;

/// `line` without terminal escapes, and without control characters other than tab.
#[must_use]
pub fn strip(line: &[u8], keep: Keep) -> Cow<'_, [u8]> {
    if !line.iter().any(|&byte| is_control(byte)) {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(&byte) = rest.first() {
        if byte == ESCAPE {
            let length = sequence(rest);
            let (escape, after) = rest.split_at(length);
            if keep == Keep::Colours && is_colour(escape) {
                out.extend_from_slice(escape);
            }
            rest = after;
        } else {
            if !is_control(byte) {
                out.push(byte);
            }
            rest = &rest[1..];
        }
    }
    Cow::Owned(out)
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// The length of the escape sequence that `bytes` begins with.
fn sequence(bytes: &[u8]) -> usize {
    let ends_at = |from: usize, is_end: fn(u8) -> bool| {
        let end = bytes.iter().skip(from).position(|&byte| is_end(byte));
        end.map_or(bytes.len(), |end| from + end + 1)
    };
    match bytes.get(1) {
        None => 1,
        // CSI: parameters, then one final byte.
        Some(b'[') => ends_at(2, |byte| (0x40..=0x7e).contains(&byte)),
        // OSC, DCS, SOS, PM, APC: a text that BEL or ESC \ ends.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let end = ends_at(2, |byte| byte == 0x07 || byte == ESCAPE);
            let by_escape = end >= 1 && bytes[end - 1] == ESCAPE && end > 2;
            if by_escape && bytes.get(end) == Some(&b'\\') { end + 1 } else { end }
        }
        // Two or three bytes: intermediates, then a final byte.
        Some(_) => ends_at(1, |byte| !(0x20..=0x2f).contains(&byte)),
    }
}

fn is_colour(escape: &[u8]) -> bool {
    let Some(parameters) = escape.strip_prefix(b"\x1b[").and_then(|rest| rest.strip_suffix(b"m"))
    else {
        return false;
    };
    parameters.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(line: &str) -> (String, String) {
        let text = |keep| String::from_utf8(strip(line.as_bytes(), keep).into_owned()).unwrap();
        (text(Keep::Nothing), text(Keep::Colours))
    }

    #[test]
    fn colours_are_kept_only_on_request() {
        let (nothing, colours) = both("\x1b[1;32mok\x1b[0m\tä");
        assert_eq!(nothing, "ok\tä");
        assert_eq!(colours, "\x1b[1;32mok\x1b[0m\tä");
    }

    #[test]
    fn what_moves_clears_or_asks_is_always_removed() {
        for escape in ["\x1b[2J", "\x1b[?25l", "\x1b[6n", "\x1bc", "\x1b(B", "\x1b]0;title\x07"] {
            assert_eq!(both(&format!("a{escape}b")), ("ab".into(), "ab".into()), "{escape:?}");
        }
        assert_eq!(both("a\x1b]8;;http://x\x1b\\b").1, "ab");
        assert_eq!(both("a\r\x08b\0").1, "ab");
    }

    #[test]
    fn an_escape_that_never_ends_takes_the_rest_of_its_line_only() {
        assert_eq!(both("a\x1b]0;title").1, "a");
        assert_eq!(both("a\x1b[12").1, "a");
        assert_eq!(both("a\x1b").1, "a");
    }
}
