//! A manifest as JSON, for tests that compare or validate its values.

use std::path::Path;

use serde_json::Value as Json;
use xtask::workspace::document;
use xtask_core::manifest::{Table, Value, ValueKind};

/// The values of a manifest with this text.
pub(crate) fn manifest(text: &str) -> Json {
    let root = Path::new("/repo");
    let (manifest, problems) = document::manifest(root, &root.join("Cargo.toml"), text.to_owned());
    assert_eq!(problems, [], "{text}");
    table(&manifest.root)
}

fn table(table: &Table) -> Json {
    table.entries.iter().map(|(key, inner)| (key.name.clone(), value(inner))).collect()
}

fn value(value: &Value) -> Json {
    match &value.kind {
        ValueKind::String(text) | ValueKind::Datetime(text) => text.as_str().into(),
        ValueKind::Integer(number) => (*number).into(),
        ValueKind::Float(number) => (*number).into(),
        ValueKind::Boolean(truth) => (*truth).into(),
        ValueKind::Array(items) => items.iter().map(self::value).collect(),
        ValueKind::Table(inner) => table(inner),
    }
}
