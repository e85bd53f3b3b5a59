//! A TOML document as a tree of values with their places.
//!
//! It is not a parser: the tool parses with the `toml` crate and converts.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// A key of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key's name, unquoted.
    pub name: String,
    /// Its bytes in the file.
    pub bytes: Range<usize>,
}

/// A table, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Keys and their values.
    pub entries: Vec<(Key, Value)>,
}

impl Table {
    /// The entry of that key.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&(Key, Value)> {
        self.entries.iter().find(|(key, _)| key.name == name)
    }

    /// The value of that key.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entry(name).map(|(_, value)| value)
    }

    /// The table below that key, if it is one.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table> {
        match &self.get(name)?.kind {
            ValueKind::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its type and content.
    pub kind: ValueKind,
    /// Its bytes in the file.
    pub bytes: Range<usize>,
}

/// The type and content of a [`Value`].
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// A string of TOML.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or time, as written.
    Datetime(String),
    /// An array of any values.
    Array(Vec<Value>),
    /// A table, inline or with a header.
    Table(Table),
}
