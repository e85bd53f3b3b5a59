//! Parses env-files: `KEY=VALUE` lines.
//!
//! It understands comments, quotes and `export`. It expands nothing, because other tools read
//! the same file and do not.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

/// One line that sets a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Counted from 1.
    pub(crate) number: u32,
    /// The variable.
    pub(crate) name: String,
    /// Its value, unquoted.
    pub(crate) value: String,
}

/// One malformed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// Counted from 1.
    pub(crate) number: u32,
    /// Its bytes in the text.
    pub(crate) bytes: Range<usize>,
    /// The mistake.
    pub(crate) why: &'static str,
}

/// Reads a whole file.
pub(crate) fn parse(text: &str) -> (Vec<Assignment>, Vec<BadLine>) {
    let (mut lines, mut bad) = (Vec::new(), Vec::new());
    let mut start = 0;
    for (number, raw) in (1..).zip(text.split_inclusive('\n')) {
        let line = raw.trim_end_matches(['\n', '\r']);
        let bytes = start..start + line.len();
        start += raw.len();
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line) {
            Ok((name, value)) => lines.push(Assignment { number, name, value }),
            Err(why) => bad.push(BadLine { number, bytes, why }),
        }
    }
    (lines, bad)
}

fn assignment(line: &str) -> Result<(String, String), &'static str> {
    if line.contains('\0') {
        return Err("a variable cannot contain a NUL byte");
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("it has no `=`")?;
    let name = name.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(fits) {
        return Err("a variable name has letters, digits and `_`");
    }
    Ok((name.to_string(), unquoted(value.trim())?))
}

/// The value: in double quotes with escapes, in single quotes literal, or bare up
/// to a comment.
fn unquoted(value: &str) -> Result<String, &'static str> {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let end = value.find(" #").unwrap_or(value.len());
        return Ok(value[..end].trim_end().to_string());
    };
    let mut out = String::new();
    let mut chars = value[1..].chars();
    while let Some(c) = chars.next() {
        if c == quote {
            let rest = chars.as_str().trim_start();
            let over = rest.is_empty() || rest.starts_with('#');
            return if over { Ok(out) } else { Err("there is text after the closing quote") };
        }
        if c != '\\' || quote == '\'' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some(other) => out.push(other),
            None => break,
        }
    }
    Err("the quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_quotes_and_exports_are_parsed() {
        let text = "# a\n\nA=1\nexport B = two # note\nC=\"x\\n#\" # y\nD='a\\n'\nE=\n";
        let (lines, bad) = parse(text);
        let pairs: Vec<_> = lines.iter().map(|l| (l.number, &*l.name, &*l.value)).collect();
        let wanted =
            [(3, "A", "1"), (4, "B", "two"), (5, "C", "x\n#"), (6, "D", "a\\n"), (7, "E", "")];
        assert_eq!(pairs, wanted);
        assert!(bad.is_empty());
    }

    #[test]
    fn bad_line_is_reported_and_skipped() {
        let (lines, bad) = parse("A=1\nnonsense\nB=\"open\nC=3\nD=a\0b\n");
        assert_eq!(lines.len(), 2);
        assert_eq!(bad.iter().map(|b| b.number).collect::<Vec<_>>(), [2, 3, 5]);
        assert_eq!(bad[0].bytes, 4..12);
    }
}
