//! The fields of a JSON body, taken one by one: each mistake is collected with the field's name,
//! and one answer tells them all.
//!
//! It checks shapes and lengths. What values mean together is for the service.

use std::ops::RangeInclusive;

use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use crate::body;
use crate::problem::{FieldError, Problem};

/// The largest whole number that every JSON reader keeps exact.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A JSON object being read. Every taker returns a harmless value when it found a mistake;
/// [`Fields::finish`] must be called before any of them is used.
#[derive(Debug)]
pub struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Self::new(body::read_json(request).await?)
    }
}

impl Fields {
    /// Takes the fields of `value`.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn new(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(object) => Ok(Self { object, errors: Vec::new() }),
            other => {
                let detail = format!("must be an object, not {}", kind(&other));
                Err(Problem::invalid(vec![FieldError { field: "body".to_owned(), detail }]))
            }
        }
    }

    /// A line of text of 1 to `max_chars` characters.
    pub fn text(&mut self, field: &str, max_chars: usize) -> Option<String> {
        let value = self.object.remove(field)?;
        self.checked(field, line(value, max_chars))
    }

    /// The same, and it must be there.
    pub fn required_text(&mut self, field: &str, max_chars: usize) -> String {
        self.require(field);
        self.text(field, max_chars).unwrap_or_default()
    }

    /// A name that is also one segment of a path; see [`name_error`].
    pub fn name(&mut self, field: &str, max_chars: usize) -> Option<String> {
        let name = self.text(field, max_chars)?;
        let checked = name_error(&name, max_chars).map_or(Ok(name), |detail| Err(detail.into()));
        self.checked(field, checked)
    }

    /// The same, and it must be there.
    pub fn required_name(&mut self, field: &str, max_chars: usize) -> String {
        self.require(field);
        self.name(field, max_chars).unwrap_or_default()
    }

    /// Up to `max_count` lines of text; an absent field is an empty list.
    pub fn texts(&mut self, field: &str, max_count: usize, max_chars: usize) -> Vec<String> {
        match self.object.remove(field) {
            None => Vec::new(),
            Some(Value::Array(values)) if values.len() <= max_count => {
                let lines = values.into_iter().enumerate().map(|(index, value)| {
                    line(value, max_chars).map_err(|detail| (format!("{field}[{index}]"), detail))
                });
                match lines.collect() {
                    Ok(lines) => lines,
                    Err((field, detail)) => {
                        self.errors.push(FieldError { field, detail });
                        Vec::new()
                    }
                }
            }
            Some(Value::Array(values)) => {
                self.error(field, format!("has {} entries, at most {max_count}", values.len()));
                Vec::new()
            }
            Some(other) => {
                self.error(field, format!("must be an array, not {}", kind(&other)));
                Vec::new()
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, field: &str) -> Option<bool> {
        let checked = match self.object.remove(field)? {
            Value::Bool(flag) => Ok(flag),
            other => Err(format!("must be true or false, not {}", kind(&other))),
        };
        self.checked(field, checked)
    }

    /// `true` or `false`, or the numbers 1 and 0 for them.
    pub fn flag_or_bit(&mut self, field: &str) -> Option<bool> {
        match self.object.get(field)?.as_i64() {
            Some(bit @ (0 | 1)) => {
                self.object.remove(field);
                Some(bit == 1)
            }
            Some(_) => {
                self.object.remove(field);
                self.error(field, "must be 0, 1, true or false".to_owned());
                None
            }
            None => self.flag(field),
        }
    }

    /// A whole number within `range`.
    pub fn integer(&mut self, field: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let checked = match self.object.remove(field)? {
            Value::Number(number) => {
                number.as_i64().filter(|integer| range.contains(integer)).ok_or_else(|| {
                    format!("must be a whole number from {} to {}", range.start(), range.end())
                })
            }
            other => Err(format!("must be a whole number, not {}", kind(&other))),
        };
        self.checked(field, checked)
    }

    /// Refuses a field that exists but cannot be set here.
    pub fn refuse(&mut self, field: &str, why: &str) {
        if self.object.contains_key(field) {
            self.error(field, why.to_owned());
        }
    }

    /// Ends the reading; fields that nobody took are ignored.
    ///
    /// # Errors
    /// When any taker found a mistake: a problem of status 422 that names them all.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }

    fn require(&mut self, field: &str) {
        if !self.object.contains_key(field) {
            self.error(field, "is missing".to_owned());
        }
    }

    fn checked<T>(&mut self, field: &str, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|detail| self.error(field, detail)).ok()
    }

    fn error(&mut self, field: &str, detail: String) {
        self.errors.push(FieldError { field: field.to_owned(), detail });
    }
}

/// What keeps `name` from being one segment of a path: blank, too long, a control character, or
/// one of the two names that clients take out of paths.
pub fn name_error(name: &str, max_chars: usize) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("must not be empty")
    } else if name.chars().count() > max_chars {
        Some("is too long")
    } else if name.chars().any(char::is_control) {
        Some("must not contain control characters")
    } else if name == "." || name == ".." {
        Some("must not be `.` or `..`")
    } else {
        None
    }
}

fn line(value: Value, max_chars: usize) -> Result<String, String> {
    let Value::String(text) = value else {
        return Err(format!("must be text, not {}", kind(&value)));
    };
    if text.trim().is_empty() {
        return Err("must not be empty".to_owned());
    }
    let chars = text.chars().count();
    if chars > max_chars {
        return Err(format!("has {chars} characters, at most {max_chars}"));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(text)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mistakes(read: impl FnOnce(&mut Fields), value: Value) -> Vec<String> {
        let mut fields = Fields::new(value).unwrap();
        read(&mut fields);
        let problem = fields.finish().expect_err("a mistake");
        problem.errors().iter().map(|e| format!("{} {}", e.field, e.detail)).collect()
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_field() {
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
    fn text_is_counted_in_characters_and_blank_text_is_refused() {
        let mut fields = Fields::new(json!({"a": "äöü", "b": " "})).unwrap();
        assert_eq!(fields.text("a", 3).as_deref(), Some("äöü"));
        assert_eq!(fields.text("b", 3), None);
        assert!(fields.finish().is_err());
    }

    #[test]
    fn names_that_clients_would_take_out_of_a_path_are_refused() {
        for name in [".", "..", "a\nb", " "] {
            assert!(name_error(name, 10).is_some(), "{name:?}");
        }
        assert_eq!(name_error("shopping / food", 20), None);
    }

    #[test]
    fn a_bit_is_a_flag_where_that_is_wanted() {
        let mut fields = Fields::new(json!({"a": 1, "b": false, "c": 2})).unwrap();
        assert_eq!(fields.flag_or_bit("a"), Some(true));
        assert_eq!(fields.flag_or_bit("b"), Some(false));
        assert_eq!(fields.flag_or_bit("c"), None);
        assert!(fields.finish().is_err());
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        assert_eq!(Fields::new(json!([])).unwrap_err().status(), 422);
    }
}
