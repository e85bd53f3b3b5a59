//! Finds the place of a part of a text in the file that spells it.
//!
//! A text of TOML has quotes, escapes and trimmed line ends, so an offset into its value is
//! not an offset into the file.

use core::ops::Range;

/// The bytes of `raw` that spell `part` of `value`; none if `raw` does not spell `value`.
///
/// `raw` is one string of TOML with its quotes.
pub(crate) fn place_of(raw: &str, value: &str, part: &Range<usize>) -> Option<Range<usize>> {
    let quote = raw.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let triple = raw.len() >= 6 && raw.bytes().take(3).all(|byte| byte == quote as u8);
    let mut at = if triple { 3 } else { 1 };
    let end = raw.len().checked_sub(at)?;
    if triple {
        let newline = ["\r\n", "\n"].iter().find(|newline| raw[at..].starts_with(**newline));
        at += newline.map_or(0, |newline| newline.len());
    }
    let (mut start, mut read) = (None, 0);
    while read < part.end || start.is_none() {
        if read >= part.start && start.is_none() {
            start = Some(at);
            continue;
        }
        let (spelled, length) = next(raw.get(at..end)?, value.get(read..)?, quote)?;
        at += spelled;
        read += length;
        if length == 0 && start.is_some_and(|start| start + spelled == at) {
            // Trimmed blanks before the part do not belong to it.
            start = Some(at);
        }
    }
    Some(start?..at)
}

/// The length of the next character in the file, and in the value. A line end that `\` trims has
/// no length in the value.
fn next(raw: &str, value: &str, quote: char) -> Option<(usize, usize)> {
    let length = value.chars().next().map_or(0, char::len_utf8);
    let mut chars = raw.chars();
    let first = chars.next()?;
    if first == '\r' && raw.starts_with("\r\n") && value.starts_with('\n') {
        return Some((2, 1));
    }
    if first != '\\' || quote == '\'' {
        return Some((first.len_utf8(), first.len_utf8()));
    }
    match chars.next()? {
        'x' => Some((4, length)),
        'u' => Some((6, length)),
        'U' => Some((10, length)),
        blank if blank.is_whitespace() => Some((raw.len() - raw[1..].trim_start().len(), 0)),
        _ => Some((2, length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_any_string_is_found_in_the_file() {
        for (raw, value) in [
            ("\"a ${x} b\"", "a ${x} b"),
            ("'a\\n ${x}'", "a\\n ${x}"),
            (r#""\u00e9\t\"é ${x}""#, "é\t\"é ${x}"),
            ("\"\"\"\none\ntwo ${x}\n\"\"\"", "one\ntwo ${x}\n"),
            ("\"\"\"\r\none\r\ntwo ${x}\"\"\"", "one\ntwo ${x}"),
            ("\"\"\"\r\none\r\ntwo ${x}\"\"\"", "one\r\ntwo ${x}"),
            ("\"\"\"one \\\n   two \\\n\n  ${x}\"\"\"", "one two ${x}"),
            ("'''\none\n${x}'''", "one\n${x}"),
        ] {
            let at = value.find("${x}").unwrap();
            let found = place_of(raw, value, &(at..at + 4)).unwrap();
            assert_eq!(&raw[found], "${x}", "{raw}");
            assert!(place_of(raw, value, &(0..value.len())).is_some(), "{raw}");
        }
    }

    #[test]
    fn other_text_has_no_place() {
        assert_eq!(place_of("", "a", &(0..1)), None);
        assert_eq!(place_of("[1]", "a", &(0..1)), None);
        assert_eq!(place_of("\"a\"", "a long value", &(8..9)), None);
    }
}
