//! Names that are one segment of a path, and usernames that do not look like another.

use unicode_normalization::{UnicodeNormalization as _, is_nfkc};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::FieldMistake;

/// Checks that `name` can be one segment of a path.
///
/// # Errors
/// When it is blank, too long, contains a control character, or is `.` or `..`.
pub(super) fn check_name(name: &str, max_chars: usize) -> Result<(), FieldMistake> {
    check_line(name, max_chars)?;
    if matches!(name, "." | "..") { Err(FieldMistake::Dots) } else { Ok(()) }
}

/// Checks that `name` can be one segment of a path, and that no other username looks the same.
///
/// # Errors
/// When it is blank, too long, `.` or `..`, contains a control character, an invisible one, a space
/// at an end or beside another, begins with an accent, or is not in the Unicode form NFKC.
pub fn check_username(name: &str, max_chars: usize) -> Result<(), FieldMistake> {
    check_name(name, max_chars)?;
    // Pages show several spaces as one.
    let unseen_space = name.starts_with(' ') || name.ends_with(' ') || name.contains("  ");
    let unseen_space = unseen_space.then_some(' ');
    if let Some(invisible) = name.chars().find(|&char| is_invisible(char)).or(unseen_space) {
        return Err(FieldMistake::Invisible(invisible));
    }
    if let Some(accent) = name.chars().next().filter(|&first| is_mark(first)) {
        return Err(FieldMistake::Accent(accent));
    }
    if is_nfkc(name) { Ok(()) } else { Err(FieldMistake::NotNormal(name.nfkc().collect())) }
}

/// Whether a character joins the one before it, which a name does not have.
fn is_mark(char: char) -> bool {
    use GeneralCategory::{EnclosingMark, NonspacingMark, SpacingMark};
    matches!(char.general_category(), EnclosingMark | NonspacingMark | SpacingMark)
}

/// Whether a character has no glyph of its own, or that of a space. Fonts have none for private and
/// most unassigned characters.
fn is_invisible(char: char) -> bool {
    use GeneralCategory::{
        Format, LineSeparator, ParagraphSeparator, PrivateUse, SpaceSeparator, Unassigned,
    };
    match char.general_category() {
        SpaceSeparator => char != ' ',
        Format | LineSeparator | ParagraphSeparator | PrivateUse | Unassigned => true,
        // Letters and marks that Unicode calls default ignorable, and blank symbols.
        _ => matches!(char,
            '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fffc}'
            | '\u{16fe4}' | '\u{1d159}' | '\u{e0000}'..='\u{e0fff}'),
    }
}

/// Checks that a text is one line of 1 to `max` characters.
pub(super) fn check_line(text: &str, max: usize) -> Result<(), FieldMistake> {
    let chars = text.chars().count();
    if text.trim().is_empty() {
        Err(FieldMistake::Empty)
    } else if chars > max {
        Err(FieldMistake::TooLong(chars, max))
    } else if text.chars().any(char::is_control) {
        Err(FieldMistake::Control)
    } else {
        Ok(())
    }
}
