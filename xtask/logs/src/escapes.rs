//! Removes terminal escapes from the output of services: all of them, or all but colours.
//!
//! A service may print escapes that move the cursor, clear the screen or query the terminal, and
//! marks that reverse the text after them. The state table of `anstyle-parse` finds where each
//! escape ends. Its parser is not used: that one drops bytes that are not UTF-8, and it prints
//! control characters of two bytes.
//!
//! What is removed never joins the bytes around it to a character that would be removed itself.

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

/// The first byte of the marks of direction and the ends of lines from U+2028 to U+2069.
const MARK: u8 = 0xe2;

/// The replacement character, U+FFFD.
const REPLACEMENT: &[u8] = b"\xef\xbf\xbd";

/// `line` without terminal escapes, marks that reverse text, and control characters other than tab.
pub fn strip(line: &[u8], keep: Keep) -> Cow<'_, [u8]> {
    if is_plain(line) {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    loop {
        let text = rest.iter().position(|&byte| is_special(byte));
        let (text, other) = rest.split_at(text.unwrap_or(rest.len()));
        out.extend_from_slice(text);
        let length = match other {
            [] => return Cow::Owned(out),
            [ESCAPE, escape @ ..] => 1 + escape_length(State::Escape, escape),
            [C1, kind @ 0x80..=0x9f, escape @ ..] => {
                2 + escape_length(state_change(State::Escape, kind - 0x40).0, escape)
            }
            [MARK, 0x80, 0xa8..=0xae, ..] | [MARK, 0x81, 0xa6..=0xa9, ..] => 3,
            [C1, next, ..] if continues(*next) => {
                out.extend_from_slice(&other[..2]);
                2
            }
            [MARK, second, third, ..] if continues(*second) && continues(*third) => {
                out.extend_from_slice(&other[..3]);
                3
            }
            // Bytes after what is removed could complete an incomplete character.
            [C1 | MARK, ..] => {
                out.extend_from_slice(REPLACEMENT);
                1
            }
            [_, ..] => 1,
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
    !line.iter().fold(false, |found, &byte| found | is_special(byte))
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

/// Whether the byte is a control character, or begins a character that may be removed.
fn is_special(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f || byte == C1 || byte == MARK
}

/// Whether the byte continues a character of UTF-8.
fn continues(byte: u8) -> bool {
    (0x80..=0xbf).contains(&byte)
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
    fn marks_that_reverse_text_are_removed() {
        assert_eq!(both("a\u{202e}b\u{2066}c\u{2028}d").1, "abcd");
        assert_eq!(
            both("\u{200f}\u{2027}\u{202f}\u{2065}\u{206a}✓—").1,
            "\u{200f}\u{2027}\u{202f}\u{2065}\u{206a}✓—"
        );
    }

    /// What is removed between two bytes must not make one character of them.
    #[test]
    fn removal_joins_no_bytes_to_an_escape() {
        for (line, expected) in [
            (&b"a\xc2\x1b[0m\x9b2Jb"[..], "a\u{fffd}\u{fffd}2Jb"),
            (b"a\xc2\0\x9b2Jb", "a\u{fffd}\u{fffd}2Jb"),
            (b"a\xe2\x80\x1b[0m\xaeb", "a\u{fffd}\u{fffd}\u{fffd}b"),
            (b"a\xe2\0\x80\xaeb", "a\u{fffd}\u{fffd}\u{fffd}b"),
            (b"a\xc2", "a\u{fffd}"),
        ] {
            let mut out = Vec::new();
            append(&mut out, line, Keep::Nothing);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn unterminated_escape_removes_the_rest_of_its_line() {
        assert_eq!(both("a\x1b]0;title").1, "a");
        assert_eq!(both("a\x1b[12").1, "a");
        assert_eq!(both("a\x1b").1, "a");
    }
}
