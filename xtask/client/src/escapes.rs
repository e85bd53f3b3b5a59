//! Removes terminal escapes from the output of services: all of them, or all but colours.
//!
//! A service may print escapes that move the cursor, clear the screen or query the terminal. The
//! state table of `anstyle-parse` finds where each escape ends. Its parser is not used: that one
//! drops bytes that are not UTF-8, and it prints control characters of two bytes.

use std::borrow::Cow;

use anstyle_parse::state::{State, state_change};

/// The escapes that [`strip`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None: for matching, and for output that is not a terminal.
    Nothing,
    /// Colours and text attributes (SGR): for terminals.
    Colours,
}

const ESCAPE: u8 = 0x1b;

/// The first byte of the control characters U+0080 to U+009F. Each is equivalent to an escape and
/// one more byte.
const C1: u8 = 0xc2;

/// `line` without terminal escapes, and without control characters other than tab.
pub fn strip(line: &[u8], keep: Keep) -> Cow<'_, [u8]> {
    if is_plain(line) {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    loop {
        let text = rest.iter().position(|&byte| is_control(byte) || byte == C1);
        let (text, other) = rest.split_at(text.unwrap_or(rest.len()));
        out.extend_from_slice(text);
        let length = match other {
            [] => return Cow::Owned(out),
            [ESCAPE, escape @ ..] => 1 + escape_length(State::Escape, escape),
            [C1, kind @ 0x80..=0x9f, escape @ ..] => {
                2 + escape_length(state_change(State::Escape, kind - 0x40).0, escape)
            }
            [first, ..] => {
                out.extend((*first == C1).then_some(C1));
                1
            }
        };
        let (escape, after) = other.split_at(length);
        if keep == Keep::Colours && is_colour(escape) {
            out.extend_from_slice(escape);
        }
        rest = after;
    }
}

/// The length of the rest of an escape, whose beginning led to `state`. Another escape ends it.
fn escape_length(mut state: State, rest: &[u8]) -> usize {
    let ends = |&byte: &u8| {
        let (next, _) = state_change(state, byte);
        let before = state;
        if next != State::Anywhere {
            state = next;
        }
        before == State::Ground || byte == ESCAPE
    };
    rest.iter().position(ends).unwrap_or(rest.len())
}

/// Whether there is nothing to remove. The loop has no branch per byte: nearly every line is plain,
/// and this reads every byte of the logs.
fn is_plain(line: &[u8]) -> bool {
    !line.iter().fold(false, |found, &byte| found | is_control(byte) | (byte == C1))
}

/// Appends `line` to `out` for display: stripped, with open colours closed, and with the
/// replacement character for bytes that are not UTF-8.
pub fn append(out: &mut Vec<u8>, line: &[u8], keep: Keep) {
    let kept = strip(line, keep);
    match std::str::from_utf8(&kept) {
        Ok(_) => out.extend_from_slice(&kept),
        Err(_) => out.extend_from_slice(String::from_utf8_lossy(&kept).as_bytes()),
    }
    if keep == Keep::Colours && kept.contains(&ESCAPE) {
        out.extend_from_slice(b"\x1b[0m");
    }
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
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
    fn colours_are_kept_on_request() {
        let (nothing, colours) = both("\x1b[1;32mok\x1b[0m\tä");
        assert_eq!(nothing, "ok\tä");
        assert_eq!(colours, "\x1b[1;32mok\x1b[0m\tä");
    }

    #[test]
    fn cursor_and_query_escapes_are_removed() {
        for escape in ["\x1b[2J", "\x1b[?25l", "\x1b[6n", "\x1bc", "\x1b(B", "\x1b]0;title\x07"] {
            assert_eq!(both(&format!("a{escape}b")), ("ab".into(), "ab".into()), "{escape:?}");
        }
        assert_eq!(both("a\x1b]8;;http://x\x1b\\b").1, "ab");
        assert_eq!(both("a\r\x08b\0").1, "ab");
    }

    #[test]
    fn two_byte_control_characters_are_escapes() {
        assert_eq!(both("a\u{9b}2Jb\u{9d}0;title\x07c\u{85}d").1, "abcd");
        assert_eq!(both("a\u{9b}31mb").1, "ab");
        assert_eq!(both("\u{a0}\u{a7}\u{c2}").1, "\u{a0}\u{a7}\u{c2}");
    }

    #[test]
    fn unterminated_escape_removes_the_rest_of_its_line() {
        assert_eq!(both("a\x1b]0;title").1, "a");
        assert_eq!(both("a\x1b[12").1, "a");
        assert_eq!(both("a\x1b").1, "a");
    }
}
