//! Makes text harmless on a terminal: names, command lines and values come from anywhere.
//!
//! Colours pass. Every other escape, control character and mark that changes the direction of text
//! is replaced by its number, so that it is seen and does nothing.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Replaces what acts on a terminal, except colours, line ends and tabs.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |out, acting| {
        // Writing to a text never fails.
        let _ = write!(out, "{}", acting.escape_unicode());
    })
}

/// As [`visible`], for JSON, where such a character stands only inside a text.
pub(crate) fn visible_json(text: &str) -> Cow<'_, str> {
    replaced(text, |out, acting| {
        let _ = write!(out, "\\u{:04x}", u32::from(acting));
    })
}

fn replaced(text: &str, replace: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let Some(first) = text.find(acts) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    let (plain, mut rest) = text.split_at(first);
    out.push_str(plain);
    while let Some(acting) = rest.chars().next() {
        let length = match colour_length(rest) {
            Some(length) => {
                out.push_str(&rest[..length]);
                length
            }
            None => {
                replace(&mut out, acting);
                acting.len_utf8()
            }
        };
        let after = &rest[length..];
        let (plain, next) = after.split_at(after.find(acts).unwrap_or(after.len()));
        out.push_str(plain);
        rest = next;
    }
    Cow::Owned(out)
}

/// Whether a terminal does something for a character other than showing it.
fn acts(char: char) -> bool {
    match char {
        '\n' | '\t' => false,
        // Marks of direction, and ends of lines and paragraphs.
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        other => other.is_control(),
    }
}

/// The length of the colour (SGR) at the start of a text.
fn colour_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    parameters[end..].starts_with('m').then_some(text.len() - parameters.len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_reach_the_terminal() {
        for (text, expected) in [
            ("plain ä\n\tline", "plain ä\n\tline"),
            ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
            ("a\x1b]52;c;ZXZpbA==\x07b", "a\\u{1b}]52;c;ZXZpbA==\\u{7}b"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a\u{202e}b\u{2066}c", "a\\u{202e}b\\u{2066}c"),
            ("a\rb\u{2028}c\x7f", "a\\u{d}b\\u{2028}c\\u{7f}"),
            ("\x1b[", "\\u{1b}["),
            ("\x1b[31", "\\u{1b}[31"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn json_stays_valid() {
        let value = serde_json::json!({"a": "x\u{9b}2J\u{202e}\x1b[31m\n"});
        let text = serde_json::to_string(&value).unwrap();
        let printed = visible_json(&text);
        assert!(!printed.contains(acts), "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed).unwrap(), value);
    }
}
