//! Bodies of requests: the macro [`body!`](crate::body!), which declares one, and the collector
//! that reports every mistake in one answer.
//!
//! It checks shapes and lengths. The service decides what the values mean together.

mod names;
pub mod rules;

use axum::extract::Request;
use serde_json::{Map, Value};

pub use self::names::check_username;
use self::rules::{Rule, Slot};
use crate::body;
use crate::problem::{FieldError, Problem};

/// The largest integer that every JSON reader represents exactly.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A JSON object whose fields are being read.
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
    #[error("must not begin with {0:?}, which joins the character before it")]
    Accent(char),
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

impl Fields {
    /// Starts reading the JSON body of a request.
    ///
    /// # Errors
    /// When the body cannot be read within the limits, or is not a JSON object.
    pub async fn of(request: Request) -> Result<Self, Problem> {
        Self::new(body::read_json(request).await?)
    }

    /// Starts reading the fields of `value`.
    ///
    /// # Errors
    /// When it is not an object.
    pub fn new(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(object) => Ok(Self { object, errors: Vec::new() }),
            other => Err(FieldError::new("body", rules::wrong("an object", &other)).into()),
        }
    }

    /// The value of a field; `None` when it is wrong, which [`Fields::finish`] reports.
    pub fn read<R: Rule, T: Slot<R::Value>>(&mut self, field: &str, rule: &R) -> Option<T> {
        let Some(value) = self.object.remove(field) else {
            let absent = T::fill(None);
            if absent.is_none() {
                self.error(field, FieldMistake::Missing);
            }
            return absent;
        };
        match rule.read(value) {
            Ok(value) => T::fill(Some(value)),
            Err((Some(index), mistake)) => {
                self.error(&format!("{field}[{index}]"), mistake);
                None
            }
            Err((None, mistake)) => {
                self.error(field, mistake);
                None
            }
        }
    }

    /// Rejects a field that exists but cannot be set by this request.
    pub fn read_only(&mut self, field: &str) {
        if self.object.remove(field).is_some() {
            self.error(field, FieldMistake::ReadOnly);
        }
    }

    /// Skips a field of an answer that a client may send back unchanged.
    pub fn ignore(&mut self, field: &str) {
        self.object.remove(field);
    }

    /// Ends the reading. A field that no rule has read is a mistake: it is often misspelled.
    ///
    /// # Errors
    /// When there is a mistake: a problem of status 422 that names all of them.
    pub fn finish(mut self) -> Result<(), Problem> {
        for field in std::mem::take(&mut self.object).keys() {
            self.error(field, FieldMistake::Unknown);
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid(self.errors)) }
    }

    fn error(&mut self, field: &str, mistake: FieldMistake) {
        self.errors.push(FieldError::new(field, mistake));
    }
}

/// Declares the body of a request: a struct whose fields have a rule of [`rules`] and an example. A
/// field of the type `Option` may be absent.
///
/// The struct is an extractor. It answers 422 with every wrong field, and refuses fields that it
/// does not declare. Its schema for the OpenAPI document has the limits of the rules.
///
/// ```ignore
/// kit::body! {
///     /// An item to create.
///     pub struct NewItem {
///         /// What to do.
///         pub title: String = text(500) => "Buy milk",
///         /// Whether it is done.
///         pub completed: Option<bool> = flag() => false,
///     }
///     ignored: id, url;
///     read_only: owner;
/// }
/// ```
#[macro_export]
macro_rules! body {
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field_vis:vis $field:ident: $type:ty = $rule:expr => $example:expr
            ),* $(,)?
        }
        $(ignored: $($ignored:ident),+;)?
        $(read_only: $($read_only:ident),+;)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($(#[doc = $field_doc])* $field_vis $field: $type,)*
        }

        impl $name {
            fn read(mut fields: $crate::Fields) -> Result<Self, $crate::Problem> {
                // A declaration names any of the rules, or none.
                #[allow(clippy::wildcard_imports, unused_imports)]
                use $crate::rules::*;
                $(let $field = fields.read::<_, $type>(stringify!($field), &$rule);)*
                $($(fields.ignore(stringify!($ignored));)+)?
                $($(fields.read_only(stringify!($read_only));)+)?
                fields.finish()?;
                match ($($field,)*) {
                    ($(Some($field),)*) => Ok(Self { $($field),* }),
                    // Not reached: a wrong field is a mistake that ends the reading.
                    _ => Err($crate::Problem::internal()),
                }
            }
        }

        impl<S: Send + Sync> $crate::axum::extract::FromRequest<S> for $name {
            type Rejection = $crate::Problem;

            async fn from_request(
                request: $crate::axum::extract::Request,
                _: &S,
            ) -> Result<Self, $crate::Problem> {
                Self::read($crate::Fields::of(request).await?)
            }
        }

        impl $crate::openapi::Schema for $name {
            fn schema(components: &mut $crate::openapi::Components) -> $crate::openapi::Value {
                // A declaration names any of the rules, or none.
                #[allow(clippy::wildcard_imports, unused_imports)]
                use $crate::rules::*;
                components.object(stringify!($name), concat!($($doc),*), |_| {
                    let properties = vec![$({
                        let rule = $rule;
                        $crate::openapi::Property {
                            name: stringify!($field),
                            description: concat!($($field_doc),*),
                            required: is_required::<_, $type>(&rule),
                            schema: Rule::schema(&rule),
                        }
                    }),*];
                    (properties, $crate::openapi::Further::Refused(
                        &[$($(stringify!($ignored)),+)?]
                    ))
                }, Self::example())
            }

            fn example() -> $crate::openapi::Value {
                $crate::openapi::members([
                    $((stringify!($field), $crate::openapi::Value::from($example))),*
                ])
            }
        }

        impl $crate::openapi::Reads for $name {
            fn describe(operation: &mut $crate::openapi::Operation) {
                operation.reads_body::<Self>();
            }
        }
    };
}

#[cfg(test)]
mod tests;
