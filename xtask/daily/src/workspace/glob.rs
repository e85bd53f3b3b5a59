//! Checks the patterns of `watch` in the metadata.
//!
//! The watcher matches them with a library that the program `xtask` does not contain:
//! `xtask/src/watch/pattern.rs`, whose test holds the two together. This file matches nothing.

/// Why a text is no pattern of files; none if it is one.
#[must_use]
pub fn mistake(text: &str) -> Option<String> {
    let mut characters = text.chars();
    let mut open_groups = 0_u32;
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.next().is_none() => {
                return Some("nothing follows the last `\\`".to_owned());
            }
            '[' => {
                if let Some(mistake) = mistake_in_class(&mut characters) {
                    return Some(mistake);
                }
            }
            '{' => open_groups += 1,
            '}' if open_groups == 0 => return Some("no `{` precedes this `}`".to_owned()),
            '}' => open_groups -= 1,
            _ => {}
        }
    }
    (open_groups > 0).then(|| "a `{` has no `}`".to_owned())
}

/// Reads a class of characters behind its `[`.
fn mistake_in_class(characters: &mut std::str::Chars<'_>) -> Option<String> {
    if characters.as_str().starts_with(['!', '^']) {
        characters.next();
    }
    let (mut is_first, mut last, mut in_range) = (true, None, false);
    for character in characters {
        match character {
            ']' if !is_first => return None,
            '-' if !is_first && !in_range => in_range = true,
            end => {
                if let Some(begin) = last.filter(|begin| in_range && *begin > end) {
                    return Some(format!("the range `{begin}-{end}` is empty"));
                }
                (last, in_range) = (Some(end), false);
            }
        }
        is_first = false;
    }
    Some("a `[` has no `]`".to_owned())
}
