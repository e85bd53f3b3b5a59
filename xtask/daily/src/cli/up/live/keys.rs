//! Decodes what a terminal sends into keys.

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::up) enum Key {
    Char(char),
    Enter,
    Tab,
    Backspace,
    /// Ctrl-U, which deletes the whole text.
    Clear,
    Escape,
}

/// The keys in what one read returned. Arrows and function keys are skipped.
pub(in crate::cli::up) fn decode(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let text = String::from_utf8_lossy(bytes);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' | '\n' => keys.push(Key::Enter),
            '\t' => keys.push(Key::Tab),
            '\u{8}' | '\u{7f}' => keys.push(Key::Backspace),
            '\u{15}' => keys.push(Key::Clear),
            '\u{1b}' => match chars.peek() {
                // A sequence of several bytes ends with a letter or `~`.
                Some('[' | 'O') => {
                    chars.next();
                    let is_end = |char: &char| ('\u{40}'..='\u{7e}').contains(char);
                    let _ = chars.find(is_end);
                }
                // A key that was pressed together with Alt.
                Some(_) => drop(chars.next()),
                None => keys.push(Key::Escape),
            },
            other if other.is_control() || other == char::REPLACEMENT_CHARACTER => {}
            other => keys.push(Key::Char(other)),
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_and_function_keys_are_no_letters() {
        assert_eq!(decode(b"\x1b[A\x1bOP\x1b[15~q"), [Key::Char('q')]);
        assert_eq!(decode(b"\x1b"), [Key::Escape]);
        assert_eq!(decode(b"\x1bq\x00\x04"), []);
        let typed = decode("ä\x7f\x15\t\r".as_bytes());
        assert_eq!(typed, [Key::Char('ä'), Key::Backspace, Key::Clear, Key::Tab, Key::Enter]);
    }
}
