//! Values with their place in a file.
//!
//! The line is computed while the file's text is available, so later stages need no text.

use alloc::string::String;

use crate::problem::Span;
use crate::terms::Place;

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    /// The value as read.
    pub value: T,
    /// Its bytes, for carets.
    pub span: Span,
    /// Its line, counted from 1.
    pub line: u32,
}

impl<T> At<T> {
    /// The place for people.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { file: self.span.file.clone(), line: self.line }
    }

    /// Another value at the same place.
    pub fn with<U>(&self, value: U) -> At<U> {
        At { value, span: self.span.clone(), line: self.line }
    }

    /// The same place, another value made from this one.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), span: self.span, line: self.line }
    }
}

/// The value of an optional key.
pub(crate) fn value<T: Copy>(set: &Option<At<T>>) -> Option<T> {
    set.as_ref().map(|at| at.value)
}

/// The place of an optional key.
pub(crate) fn span<T>(set: &Option<At<T>>) -> Option<&Span> {
    set.as_ref().map(|at| &at.span)
}

/// Whether an optional key is `true`.
pub(crate) fn is_true(set: &Option<At<bool>>) -> bool {
    value(set) == Some(true)
}

/// Text and its place.
pub type TextAt = At<String>;
