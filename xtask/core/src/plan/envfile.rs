//! Parses env-files: the subset that `sh`, python-dotenv and Compose read alike.
//!
//! - A line is `NAME=VALUE`, with an optional `export` before and blanks around the name.
//! - A bare value ends at the line end or at a `#` after a blank. Blanks around it are removed.
//! - Text in single quotes is literal. In double quotes `\n`, `\r`, `\t`, `\\`, `\"`, `\$` and
//!   `` \` `` are escapes; every other backslash is kept. Both may span lines.
//! - Nothing is expanded.
//!
//! A problem names the line and the variable but never a value, since values may be secret.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::terms::is_variable_name;

/// A line that sets a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Line number of the name, counted from 1.
    pub(crate) number: u32,
    pub(crate) name: String,
    /// The value without quotes and escapes.
    pub(crate) value: String,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Line number, counted from 1.
    pub(crate) number: u32,
    /// The variable, if the line has a valid name.
    pub(crate) name: Option<String>,
    /// The mistake, without any part of the value.
    pub(crate) why: &'static str,
}

/// Reads a whole file: its assignments and the lines that cannot be read, both in order.
pub(crate) fn parse(text: &str) -> (Vec<Assignment>, Vec<BadLine>) {
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut number = 1;
    while !rest.is_empty() {
        let before = rest;
        let line = rest.split_inclusive('\n').next().unwrap_or(rest);
        rest = &rest[line.len()..];
        let trimmed = line.trim();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            match name(trimmed) {
                Ok((name, value)) => {
                    // A quoted value may continue after the line.
                    let start = before.len() - before.trim_start().len();
                    let offset = start + (trimmed.len() - value.len());
                    match unquote(&before[offset..], line.trim_end().len() - offset) {
                        Ok((value, length)) => {
                            rest = &before[line.len().max(offset + length)..];
                            lines.push(Assignment { number, name: name.to_string(), value });
                        }
                        Err(Mistake { why, skipped }) => {
                            rest = &before[line.len().max(offset + skipped)..];
                            bad.push(BadLine { number, name: Some(name.to_string()), why });
                        }
                    }
                }
                Err(why) => bad.push(BadLine { number, name: None, why }),
            }
        }
        let read = &before[..before.len() - rest.len()];
        number += u32::try_from(read.matches('\n').count()).unwrap_or(u32::MAX);
    }
    (lines, bad)
}

/// The name of an assignment and its untrimmed value.
fn name(line: &str) -> Result<(&str, &str), &'static str> {
    let bare = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let line = bare.unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or("the line has no `=`")?;
    let name = name.trim_end();
    if !is_variable_name(name) {
        return Err("a name consists of letters, digits and `_`");
    }
    Ok((name, value))
}

/// A value that cannot be read, and the length of the text that belongs to it.
struct Mistake {
    why: &'static str,
    skipped: usize,
}

/// Reads the value at the start of `text`, whose first line has `line` bytes. Returns the value
/// and the length of the text that it occupies, with the rest of its last line.
fn unquote(text: &str, line: usize) -> Result<(String, usize), Mistake> {
    let nul = |value: &str, skipped| match value.contains('\0') {
        true => Err(Mistake { why: "a value cannot contain a NUL byte", skipped }),
        false => Ok((value.to_string(), skipped)),
    };
    let blanks = text[..line].len() - text[..line].trim_start().len();
    let Some(quote) = text[blanks..line].chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return nul(bare(&text[..line]), line);
    };
    let mut out = String::new();
    let mut chars = text[blanks + 1..].char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let after = &text[blanks + 1 + at + 1..];
            let after = after.split_inclusive('\n').next().unwrap_or(after);
            let length = blanks + 1 + at + 1 + after.len();
            return match after.trim_start() {
                "" => nul(&out, length),
                comment if comment.starts_with('#') => nul(&out, length),
                _ => Err(Mistake { why: "text follows the closing quote", skipped: length }),
            };
        }
        if c != '\\' || quote == '\'' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some((_, 'n')) => out.push('\n'),
            Some((_, 'r')) => out.push('\r'),
            Some((_, 't')) => out.push('\t'),
            Some((_, escaped @ ('\\' | '"' | '$' | '`'))) => out.push(escaped),
            Some((_, other)) => out.extend(['\\', other]),
            None => break,
        }
    }
    // Everything after the quote belongs to the value, so nothing of it is read or shown.
    Err(Mistake { why: "the quote is not closed", skipped: text.len() })
}

/// A bare value up to a comment, without blanks around it.
fn bare(value: &str) -> &str {
    let mut previous = None;
    let comment = value.char_indices().find(|(_, c)| {
        let found = *c == '#' && previous.is_some_and(char::is_whitespace);
        previous = Some(*c);
        found
    });
    value[..comment.map_or(value.len(), |(at, _)| at)].trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn values(text: &str) -> Vec<(u32, String, String)> {
        let (lines, bad) = parse(text);
        assert_eq!(bad, [], "{text}");
        lines.into_iter().map(|l| (l.number, l.name, l.value)).collect()
    }

    fn value(line: &str) -> String {
        let mut lines = values(line);
        assert_eq!(lines.len(), 1, "{line}");
        lines.remove(0).2
    }

    #[test]
    fn comments_need_a_blank_before_them() {
        for (line, expected) in [
            ("K=   # note", ""),
            ("K=\t# note", ""),
            ("K=a\t# note", "a"),
            ("K=#fff", "#fff"),
            ("K=a#b", "a#b"),
            ("K='a' # b", "a"),
            ("K=a b  # c", "a b"),
        ] {
            assert_eq!(value(line), expected, "{line}");
        }
    }

    #[test]
    fn unknown_escapes_keep_their_backslash() {
        for (line, expected) in [
            (r#"K="\d\x\u\0""#, r"\d\x\u\0"),
            (r#"K="a\nb\tc\\d\"e\$f""#, "a\nb\tc\\d\"e$f"),
            (r"K='a\nb'", r"a\nb"),
            (r"K=a\nb", r"a\nb"),
        ] {
            assert_eq!(value(line), expected, "{line}");
        }
    }

    #[test]
    fn quoted_values_span_lines() {
        let text = "\u{feff}K=\"one\r\ntwo # no comment\n\" # note\nexport\tA='x\n\n'\nB=1\n";
        let expected = vec![
            (1, "K".to_string(), "one\r\ntwo # no comment\n".to_string()),
            (4, "A".to_string(), "x\n\n".to_string()),
            (7, "B".to_string(), "1".to_string()),
        ];
        assert_eq!(values(text), expected);
    }

    #[test]
    fn bad_lines_are_named_without_their_value() {
        let (lines, bad) = parse("A=1\nnonsense\nD=a\0b\nE=\"x\" y\nC=3\nB=\"open\nF=6\n");
        let read: Vec<_> = lines.iter().map(|line| &*line.name).collect();
        assert_eq!(read, ["A", "C"]);
        let named: Vec<_> = bad.iter().map(|b| (b.number, b.name.as_deref())).collect();
        assert_eq!(named, [(2, None), (3, Some("D")), (4, Some("E")), (6, Some("B"))]);
    }
}
