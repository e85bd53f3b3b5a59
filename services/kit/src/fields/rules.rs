//! What a field of a body may contain: each rule reads a value, and describes it as JSON Schema.
//!
//! The limits in the document are the limits that are checked.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::names::{check_line, check_name, check_username};
use super::{FieldMistake, MAX_INTEGER};

/// A rule for the value of a field.
pub trait Rule {
    /// What a correct value becomes.
    type Value;

    /// Reads a value.
    ///
    /// # Errors
    /// The mistake, with its index if the value is an array.
    fn read(&self, value: Value) -> Result<Self::Value, (Option<usize>, FieldMistake)>;

    /// The JSON Schema of correct values.
    fn schema(&self) -> Value;
}

/// What a field of a struct holds: a value, or an `Option` if the field of the body may be absent.
pub trait Slot<V>: Sized {
    /// The content for a value, or for an absent field; `None` when it must not be absent.
    fn fill(value: Option<V>) -> Option<Self>;
}

impl<V> Slot<V> for V {
    fn fill(value: Option<V>) -> Option<Self> {
        value
    }
}

impl<V> Slot<V> for Option<V> {
    fn fill(value: Option<V>) -> Option<Self> {
        Some(value)
    }
}

/// Whether a field of the type `T` with this rule must be present.
pub fn is_required<R: Rule, T: Slot<R::Value>>(_: &R) -> bool {
    T::fill(None).is_none()
}

/// One line of text.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    max_chars: usize,
    check: fn(&str, usize) -> Result<(), FieldMistake>,
    is_name: bool,
}

/// A line: no control characters, and one character that is no space.
const LINE: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$";

/// One line of text, 1 to `max_chars` characters.
pub const fn text(max_chars: usize) -> Text {
    Text { max_chars, check: check_line, is_name: false }
}

/// A line that is also one segment of a path: not `.` or `..`.
pub const fn name(max_chars: usize) -> Text {
    Text { max_chars, check: check_name, is_name: true }
}

/// The name of a user; see [`check_username`].
pub const fn username(max_chars: usize) -> Text {
    Text { max_chars, check: check_username, is_name: true }
}

impl Rule for Text {
    type Value = String;

    fn read(&self, value: Value) -> Result<String, (Option<usize>, FieldMistake)> {
        let Value::String(text) = value else { return Err((None, wrong("text", &value))) };
        let checked = (self.check)(&text, self.max_chars);
        checked.map(|()| text).map_err(|mistake| (None, mistake))
    }

    fn schema(&self) -> Value {
        let max = self.max_chars;
        let mut schema =
            json!({"type": "string", "minLength": 1, "maxLength": max, "pattern": LINE});
        if self.is_name {
            schema["not"] = json!({"enum": [".", ".."]});
        }
        schema
    }
}

/// Several lines of text.
#[derive(Clone, Copy, Debug)]
pub struct Texts {
    max: usize,
    line: Text,
}

/// Up to `max` lines of text.
pub const fn texts(max: usize, max_chars: usize) -> Texts {
    Texts { max, line: text(max_chars) }
}

impl Rule for Texts {
    type Value = Vec<String>;

    fn read(&self, value: Value) -> Result<Vec<String>, (Option<usize>, FieldMistake)> {
        let Value::Array(values) = value else { return Err((None, wrong("an array", &value))) };
        if values.len() > self.max {
            return Err((None, FieldMistake::TooMany(values.len(), self.max)));
        }
        let lines = values.into_iter().enumerate().map(|(index, value)| {
            self.line.read(value).map_err(|(_, mistake)| (Some(index), mistake))
        });
        lines.collect()
    }

    fn schema(&self) -> Value {
        json!({"type": "array", "maxItems": self.max, "items": self.line.schema()})
    }
}

/// Text of any characters.
#[derive(Clone, Debug)]
pub struct Password(RangeInclusive<usize>);

/// A password of any characters, `chars` of them.
pub const fn password(chars: RangeInclusive<usize>) -> Password {
    Password(chars)
}

impl Rule for Password {
    type Value = String;

    fn read(&self, value: Value) -> Result<String, (Option<usize>, FieldMistake)> {
        let Value::String(text) = value else { return Err((None, wrong("text", &value))) };
        let (length, min, max) = (text.chars().count(), *self.0.start(), *self.0.end());
        match length {
            short if short < min => Err((None, FieldMistake::TooShort(short, min))),
            long if long > max => Err((None, FieldMistake::TooLong(long, max))),
            _ => Ok(text),
        }
    }

    fn schema(&self) -> Value {
        let (min, max) = (self.0.start(), self.0.end());
        json!({"type": "string", "format": "password", "minLength": min, "maxLength": max})
    }
}

/// `true` or `false`.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    bits: bool,
}

/// `true` or `false`.
pub const fn flag() -> Flag {
    Flag { bits: false }
}

/// `true`, `false`, 1 or 0.
pub const fn flag_or_bit() -> Flag {
    Flag { bits: true }
}

impl Rule for Flag {
    type Value = bool;

    fn read(&self, value: Value) -> Result<bool, (Option<usize>, FieldMistake)> {
        match (&value, value.as_i64()) {
            (Value::Bool(flag), _) => Ok(*flag),
            (_, Some(bit @ (0 | 1))) if self.bits => Ok(bit == 1),
            (Value::Number(_), _) if self.bits => Err((None, FieldMistake::Bit)),
            _ => Err((None, wrong("true or false", &value))),
        }
    }

    fn schema(&self) -> Value {
        if self.bits { json!({"enum": [true, false, 1, 0]}) } else { json!({"type": "boolean"}) }
    }
}

/// A whole number.
#[derive(Clone, Debug)]
pub struct Integer(RangeInclusive<i64>);

/// A whole number within `range`.
pub const fn integer(range: RangeInclusive<i64>) -> Integer {
    Integer(range)
}

impl Rule for Integer {
    type Value = i64;

    fn read(&self, value: Value) -> Result<i64, (Option<usize>, FieldMistake)> {
        let Value::Number(number) = value else {
            return Err((None, wrong("a whole number", &value)));
        };
        // `5.0` is a whole number for JSON Schema. Beyond 2^53 a float names several of them.
        let whole = |float: &f64| float.fract() == 0.0 && float.abs() <= MAX_INTEGER as f64;
        let float = || number.as_f64().filter(whole).map(|float| float as i64);
        let inside = number.as_i64().or_else(float).filter(|integer| self.0.contains(integer));
        inside.ok_or((None, FieldMistake::Range(*self.0.start(), *self.0.end())))
    }

    fn schema(&self) -> Value {
        json!({"type": "integer", "minimum": self.0.start(), "maximum": self.0.end()})
    }
}

/// A day, or null.
#[derive(Clone, Copy, Debug)]
pub struct Date;

/// A day as `YYYY-MM-DD`, or null for none.
pub const fn date() -> Date {
    Date
}

impl Rule for Date {
    type Value = Option<String>;

    fn read(&self, value: Value) -> Result<Option<String>, (Option<usize>, FieldMistake)> {
        match value {
            Value::Null => Ok(None),
            Value::String(text) if is_date(&text) => Ok(Some(text)),
            _ => Err((None, FieldMistake::Date)),
        }
    }

    fn schema(&self) -> Value {
        json!({"type": ["string", "null"], "format": "date"})
    }
}

/// The mistake of a value of another JSON type.
pub(super) fn wrong(expected: &'static str, seen: &Value) -> FieldMistake {
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

/// Whether the text is a day of the Gregorian calendar, `YYYY-MM-DD`.
pub(super) fn is_date(text: &str) -> bool {
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
