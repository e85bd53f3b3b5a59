//! Reads the fields of a JSON body one by one and reports every mistake in one answer.
//!
//! It checks shapes and lengths. The service decides what the values mean together.

use std::ops::RangeInclusive;

use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};
use unicode_normalization::{UnicodeNormalization as _, is_nfkc};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use crate::body;
use crate::problem::{FieldError, Problem};

/// The largest integer that every JSON reader represents exactly.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A JSON object whose fields are being read. A reader returns a placeholder for a wrong value:
/// call [`Fields::finish`] before using any of them.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

/// Why a field cannot be used. The text follows the field's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldMistake {
    #[error("is missing")]
    Missing,
    #[error("must not be empty")]
    Empty,
    #[error("has {0} characters, at most {1}")]
    TooLong(usize, usize),
    #[error("has {0} characters, at least {1} are needed")]
    TooShort(usize, usize),
    #[error("must be a day such as 2026-12-31, or null")]
    Date,
    #[error("must not contain control characters")]
    Control,
    /// A name that clients remove when they normalise a path.
    #[error("must not be `.` or `..`")]
    Dots,
    /// Two names would look alike, or one would look empty.
    #[error("must not contain {0:?}, which is invisible or looks like a space")]
    Invisible(char),
    /// Two names would look alike; the form that is accepted.
    #[error("must be in the Unicode form NFKC: {0:?}")]
    NotNormal(String),
    /// A value of another JSON type: the expected one, and the one in the body.
    #[error("must be {0}, not {1}")]
    Type(&'static str, &'static str),
    #[error("must be a whole number from {0} to {1}")]
    Range(i64, i64),
    #[error("must be 0, 1, true or false")]
    Bit,
    #[error("has {0} entries, at most {1}")]
    TooMany(usize, usize),
    #[error("cannot be changed")]
    ReadOnly,
    #[error("is not a field of this request")]
    Unknown,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Self::new(body::read_json(request).await?)
    }
}

impl Fields {
    /// Starts reading the fields of `value`.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn new(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(object) => Ok(Self { object, errors: Vec::new() }),
            other => Err(FieldError::new("body", wrong("an object", &other)).into()),
        }
    }

    /// One line of text, 1 to `max_chars` characters.
    pub fn text(&mut self, field: &str, max_chars: usize) -> Option<String> {
        let value = self.object.remove(field)?;
        self.checked(field, line(value, max_chars))
    }

    /// Like [`Fields::text`], and the field must be present.
    pub fn required_text(&mut self, field: &str, max_chars: usize) -> String {
        self.require(field);
        self.text(field, max_chars).unwrap_or_default()
    }

    /// A name that is also one segment of a path: not `.` or `..`.
    pub fn name(&mut self, field: &str, max_chars: usize) -> Option<String> {
        let name = self.text(field, max_chars)?;
        let checked = check_name(&name, max_chars);
        self.checked(field, checked.map(|()| name))
    }

    /// The name of a user, which must be present; see [`check_username`].
    pub fn required_username(&mut self, field: &str, max_chars: usize) -> String {
        self.require(field);
        let name = self.text(field, max_chars).unwrap_or_default();
        let checked = if name.is_empty() { Ok(()) } else { check_username(&name, max_chars) };
        self.checked(field, checked.map(|()| name)).unwrap_or_default()
    }

    /// Like [`Fields::name`], and the field must be present.
    pub fn required_name(&mut self, field: &str, max_chars: usize) -> String {
        self.require(field);
        self.name(field, max_chars).unwrap_or_default()
    }

    /// A password, which must be present: any characters, `chars` of them.
    pub fn required_password(&mut self, field: &str, chars: RangeInclusive<usize>) -> String {
        self.require(field);
        let checked = match self.object.remove(field) {
            None => return String::new(),
            Some(Value::String(text)) => {
                let length = text.chars().count();
                if length < *chars.start() {
                    Err(FieldMistake::TooShort(length, *chars.start()))
                } else if length > *chars.end() {
                    Err(FieldMistake::TooLong(length, *chars.end()))
                } else {
                    Ok(text)
                }
            }
            Some(other) => Err(wrong("text", &other)),
        };
        self.checked(field, checked).unwrap_or_default()
    }

    /// A day as `YYYY-MM-DD`; null is `Some(None)`.
    pub fn date(&mut self, field: &str) -> Option<Option<String>> {
        let checked = match self.object.remove(field)? {
            Value::Null => Ok(None),
            Value::String(text) if is_date(&text) => Ok(Some(text)),
            _ => Err(FieldMistake::Date),
        };
        self.checked(field, checked)
    }

    /// Up to `max` lines of text; an absent field is an empty list.
    pub fn texts(&mut self, field: &str, max: usize, max_chars: usize) -> Vec<String> {
        match self.object.remove(field) {
            None => Vec::new(),
            Some(Value::Array(values)) if values.len() <= max => {
                let lines = values.into_iter().enumerate().map(|(index, value)| {
                    line(value, max_chars).map_err(|mistake| (format!("{field}[{index}]"), mistake))
                });
                lines.collect::<Result<_, _>>().unwrap_or_else(|(entry, mistake)| {
                    self.error(&entry, mistake);
                    Vec::new()
                })
            }
            Some(Value::Array(values)) => {
                self.error(field, FieldMistake::TooMany(values.len(), max));
                Vec::new()
            }
            Some(other) => {
                self.error(field, wrong("an array", &other));
                Vec::new()
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, field: &str) -> Option<bool> {
        let checked = match self.object.remove(field)? {
            Value::Bool(flag) => Ok(flag),
            other => Err(wrong("true or false", &other)),
        };
        self.checked(field, checked)
    }

    /// `true`, `false`, 1 or 0.
    pub fn flag_or_bit(&mut self, field: &str) -> Option<bool> {
        let Some(number) = self.object.get(field)?.as_i64() else { return self.flag(field) };
        self.object.remove(field);
        let checked = match number {
            0 | 1 => Ok(number == 1),
            _ => Err(FieldMistake::Bit),
        };
        self.checked(field, checked)
    }

    /// An integer within `range`.
    pub fn integer(&mut self, field: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let outside = FieldMistake::Range(*range.start(), *range.end());
        let checked = match self.object.remove(field)? {
            Value::Number(number) => {
                number.as_i64().filter(|integer| range.contains(integer)).ok_or(outside)
            }
            other => Err(wrong("a whole number", &other)),
        };
        self.checked(field, checked)
    }

    /// Rejects a field that exists but cannot be set by this request.
    pub fn read_only(&mut self, field: &str) {
        if self.object.remove(field).is_some() {
            self.error(field, FieldMistake::ReadOnly);
        }
    }

    /// Skips fields of an answer that a client may send back unchanged.
    pub fn ignore(&mut self, fields: &[&str]) {
        for field in fields {
            self.object.remove(*field);
        }
    }

    /// Ends the reading. A field that no reader has read is a mistake: it is often misspelled.
    ///
    /// # Errors
    /// When there is a mistake: a problem of status 422 that names all of them.
    pub fn finish(mut self) -> Result<(), Problem> {
        for field in std::mem::take(&mut self.object).keys() {
            self.error(field, FieldMistake::Unknown);
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }

    fn require(&mut self, field: &str) {
        if !self.object.contains_key(field) {
            self.error(field, FieldMistake::Missing);
        }
    }

    fn checked<T>(&mut self, field: &str, checked: Result<T, FieldMistake>) -> Option<T> {
        checked.map_err(|mistake| self.error(field, mistake)).ok()
    }

    fn error(&mut self, field: &str, mistake: FieldMistake) {
        self.errors.push(FieldError::new(field, mistake));
    }
}

/// Checks that `name` can be one segment of a path.
///
/// # Errors
/// When it is blank, too long, contains a control character, or is `.` or `..`.
fn check_name(name: &str, max_chars: usize) -> Result<(), FieldMistake> {
    check_line(name, max_chars)?;
    if matches!(name, "." | "..") { Err(FieldMistake::Dots) } else { Ok(()) }
}

/// Checks that `name` can be one segment of a path, and that no other username looks the same.
///
/// # Errors
/// When it is blank, too long, `.` or `..`, contains a control character, an invisible one or a
/// space at an end, or is not in the Unicode form NFKC.
pub fn check_username(name: &str, max_chars: usize) -> Result<(), FieldMistake> {
    check_name(name, max_chars)?;
    let outer = [name.chars().next(), name.chars().next_back()].into_iter().flatten();
    let outer_space = outer.into_iter().find(|&edge| edge == ' ');
    if let Some(invisible) = name.chars().find(|&char| is_invisible(char)).or(outer_space) {
        return Err(FieldMistake::Invisible(invisible));
    }
    if is_nfkc(name) { Ok(()) } else { Err(FieldMistake::NotNormal(name.nfkc().collect())) }
}

/// Whether a character has no glyph of its own, or that of a space.
fn is_invisible(char: char) -> bool {
    use GeneralCategory::{Format, LineSeparator, ParagraphSeparator, SpaceSeparator};
    match char.general_category() {
        SpaceSeparator => char != ' ',
        Format | LineSeparator | ParagraphSeparator => true,
        // Letters and marks that Unicode calls default ignorable.
        _ => matches!(char,
            '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}'),
    }
}

fn line(value: Value, max_chars: usize) -> Result<String, FieldMistake> {
    match value {
        Value::String(text) => check_line(&text, max_chars).map(|()| text),
        other => Err(wrong("text", &other)),
    }
}

fn check_line(text: &str, max: usize) -> Result<(), FieldMistake> {
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

/// Whether the text is a day of the Gregorian calendar, `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        let part = text.get(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
        part.and_then(|part| part.parse::<u32>().ok())
    };
    let well_formed =
        text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    let (true, Some(year), Some(month), Some(day)) =
        (well_formed, digits(0..4), digits(5..7), digits(8..10))
    else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn wrong(expected: &'static str, seen: &Value) -> FieldMistake {
    let seen = match seen {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    FieldMistake::Type(expected, seen)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mistakes(read: impl FnOnce(&mut Fields), value: Value) -> Vec<String> {
        let mut fields = Fields::new(value).unwrap();
        read(&mut fields);
        let problem = fields.finish().expect_err("a mistake");
        problem.errors.iter().map(|e| format!("{} {}", e.field, e.detail)).collect()
    }

    #[test]
    fn every_mistake_is_reported_with_its_field() {
        let found = mistakes(
            |fields| {
                fields.required_text("title", 5);
                fields.flag("completed");
                fields.integer("order", 0..=9);
                fields.texts("items", 9, 5);
            },
            json!({"completed": "yes", "order": 10, "items": ["a", 1]}),
        );
        assert_eq!(
            found,
            [
                "title is missing",
                "completed must be true or false, not text",
                "order must be a whole number from 0 to 9",
                "items[1] must be text, not a number",
            ]
        );
    }

    #[test]
    fn unknown_fields_are_mistakes_unless_ignored() {
        let read = |fields: &mut Fields| {
            fields.ignore(&["url"]);
            fields.flag("completed");
            fields.read_only("id");
        };
        let found = mistakes(read, json!({"compleated": true, "url": 1, "id": 2, "titel": "x"}));
        let unknown = "is not a field of this request";
        assert_eq!(
            found,
            [
                "id cannot be changed".to_owned(),
                format!("compleated {unknown}"),
                format!("titel {unknown}"),
            ]
        );
    }

    #[test]
    fn text_limit_counts_characters_and_blank_is_empty() {
        let mut fields = Fields::new(json!({"a": "äöü", "b": " "})).unwrap();
        assert_eq!(fields.text("a", 3).as_deref(), Some("äöü"));
        assert_eq!(fields.text("b", 3), None);
        assert!(fields.finish().is_err());
    }

    #[test]
    fn names_unusable_in_paths_are_rejected() {
        for name in [".", "..", "a\nb", " "] {
            assert!(check_name(name, 10).is_err(), "{name:?}");
        }
        assert_eq!(check_name("shopping / food", 20), Ok(()));
    }

    #[test]
    fn usernames_that_look_alike_are_rejected() {
        for name in [
            "a\u{200b}b",
            "a\u{202e}b",
            "\u{3164}",
            "a\u{a0}b",
            " a",
            "a ",
            "a\u{fe0f}",
            "\u{feff}a",
            "e\u{301}",
            "\u{fb01}",
            "\u{ff41}",
        ] {
            assert!(check_username(name, 10).is_err(), "{name:?}");
        }
        for name in ["luckas", "saurabh badhwar", "\u{e9}", "ß", "日本", "👍"] {
            assert_eq!(check_username(name, 20), Ok(()), "{name:?}");
        }
        let mut fields = Fields::new(json!({"username": "e\u{301}"})).unwrap();
        fields.required_username("username", 10);
        let problem = fields.finish().unwrap_err();
        assert_eq!(problem.errors[0].detail, "must be in the Unicode form NFKC: \"é\"");
    }

    #[test]
    fn dates_exist_in_the_calendar() {
        for day in ["2026-12-31", "2024-02-29", "2000-02-29", "0001-01-01"] {
            assert!(is_date(day), "{day}");
        }
        for wrong in [
            "",
            "2026-2-3",
            "2026-13-01",
            "2025-02-29",
            "1900-02-29",
            "2026-04-31",
            "2026-00-01",
            "2026-01-00",
            "2026/01/01",
            "+026-01-01",
            "2026-01-011",
            "\u{661}026-01-01",
        ] {
            assert!(!is_date(wrong), "{wrong}");
        }
        let mut fields = Fields::new(json!({"a": null, "b": "2026-01-01", "c": 5})).unwrap();
        assert_eq!(fields.date("a"), Some(None));
        assert_eq!(fields.date("b"), Some(Some("2026-01-01".to_owned())));
        assert_eq!((fields.date("c"), fields.date("d")), (None, None));
        assert!(fields.finish().is_err());
    }

    #[test]
    fn flag_or_bit_reads_zero_and_one() {
        let mut fields = Fields::new(json!({"a": 1, "b": false, "c": 2})).unwrap();
        assert_eq!(fields.flag_or_bit("a"), Some(true));
        assert_eq!(fields.flag_or_bit("b"), Some(false));
        assert_eq!(fields.flag_or_bit("c"), None);
        assert!(fields.finish().is_err());
    }

    #[test]
    fn non_object_body_is_rejected() {
        assert_eq!(Fields::new(json!([])).unwrap_err().status, 422);
    }
}
