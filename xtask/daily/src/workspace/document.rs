//! Parses the text of one manifest into values with their places.
//!
//! It reads no file and interprets no metadata. It imports only the core, so that the fuzzer
//! can include this file.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use xtask_core::manifest::{Key, Manifest, Table, Value, ValueKind};
use xtask_core::problem::{Code, Problem, Span};

/// Parses one manifest. Text that is not TOML is a problem, and left out of the values.
pub fn manifest(root: &Path, path: &Path, text: String) -> (Manifest, Vec<Problem>) {
    let file = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let folder = path.parent().unwrap_or(root).display().to_string();
    let (tree, errors) = DeTable::parse_recoverable(&text);
    // One mistake causes several errors; the first is at its place.
    let problems = errors
        .iter()
        .take(1)
        .map(|error| {
            let bytes = error.span().unwrap_or(0..0);
            Problem::error(Code::Syntax, format!("`{file}` is not valid TOML"))
                .at(Span { file: file.clone(), bytes }, error.message())
                .hint("correct the line")
        })
        .collect();
    let root = table(tree.get_ref());
    (Manifest { file, folder, text, root, package: None }, problems)
}

/// A table in the order of the file.
fn table(tree: &DeTable<'_>) -> Table {
    let mut entries: Vec<(Key, Value)> = tree
        .iter()
        .map(|(key, inner)| {
            let name = key.get_ref().to_string();
            (Key { name, bytes: key.span() }, value(inner))
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.bytes.start);
    Table { entries }
}

fn value(tree: &Spanned<DeValue<'_>>) -> Value {
    let kind = match tree.get_ref() {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Integer(number) => {
            match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => ValueKind::Integer(number),
                // No key accepts a number of more than 64 bits.
                Err(_) => ValueKind::Integer(i64::MAX),
            }
        }
        DeValue::Float(number) => ValueKind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
        DeValue::Datetime(date) => ValueKind::Datetime(date.to_string()),
        DeValue::Array(items) => ValueKind::Array(items.iter().map(value).collect()),
        DeValue::Table(inner) => ValueKind::Table(table(inner)),
    };
    Value { kind, bytes: tree.span() }
}
