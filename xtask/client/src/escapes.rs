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

/// The first byte of the control characters U+0080 to U+009F, each of which means what
/// an escape and one more byte do.
const C1: u8 = 0xc2;

/// `line` without terminal escapes, and without control characters other than tab.
#[must_use]
pub fn strip(line: &[u8], keep: Keep) -> Cow<'_, [u8]> {
    if is_plain(line) {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(&byte) = rest.first() {
        let length = match rest {
            [ESCAPE, kind, ..] => 1 + sequence(*kind, &rest[1..]),
            [C1, kind @ 0x80..=0x9f, ..] => 1 + sequence(*kind - 0x40, &rest[1..]),
            _ => {
                if !is_control(byte) {
                    out.push(byte);
                }
                rest = &rest[1..];
                continue;
            }
        };
        let (escape, after) = rest.split_at(length);
        if keep == Keep::Colours && is_colour(escape) {
            out.extend_from_slice(escape);
        }
        rest = after;
    }
    Cow::Owned(out)
}

/// Whether there is nothing to take out. Without a branch a byte: nearly every line is
/// plain, and every byte of it is looked at.
fn is_plain(line: &[u8]) -> bool {
    !line.iter().fold(false, |found, &byte| found | is_control(byte) | (byte == C1))
}

/// Appends `line` to `out` as others may see it: without what [`strip`] takes out, with
/// colours closed that it may have left open, and with the replacement character where
/// it is no text.
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

/// The length of what follows the escape, of which `kind` is the first; `bytes` begins
/// with the byte that says it.
fn sequence(kind: u8, bytes: &[u8]) -> usize {
    let ends_at = |from: usize, is_end: fn(u8) -> bool| {
        let end = bytes.iter().skip(from).position(|&byte| is_end(byte));
        end.map_or(bytes.len(), |end| from + end + 1)
    };
    match kind {
        // CSI: parameters, then one final byte.
        b'[' => ends_at(1, |byte| (0x40..=0x7e).contains(&byte)),
        // OSC, DCS, SOS, PM, APC: a text that BEL or ESC \ ends.
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let end = ends_at(1, |byte| byte == 0x07 || byte == ESCAPE);
            let by_escape = bytes[end - 1] == ESCAPE;
            match (by_escape, bytes.get(end)) {
                (true, Some(b'\\')) => end + 1,
                // Another escape, which is looked at by itself.
                (true, _) => end - 1,
                (false, _) => end,
            }
        }
        // Two or three bytes: intermediates, then a final byte.
        0x20..=0x2f => ends_at(0, |byte| !(0x20..=0x2f).contains(&byte)),
        _ => 1,
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
    fn control_characters_of_two_bytes_are_escapes_too() {
        assert_eq!(both("a\u{9b}2Jb\u{9d}0;title\x07c\u{85}d").1, "abcd");
        assert_eq!(both("a\u{9b}31mb").1, "ab");
        assert_eq!(both("\u{a0}\u{a7}\u{c2}").1, "\u{a0}\u{a7}\u{c2}");
    }

    #[test]
    fn an_escape_that_never_ends_takes_the_rest_of_its_line_only() {
        assert_eq!(both("a\x1b]0;title").1, "a");
        assert_eq!(both("a\x1b[12").1, "a");
        assert_eq!(both("a\x1b").1, "a");
    }
}
