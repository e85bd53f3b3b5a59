//! The JSON schema of the metadata, made from the declaration of the keys.
//!
//! It describes a whole `Cargo.toml` and accepts everything in it that is not metadata of services.
//! Editors use it to complete and check keys. The tool itself finds more mistakes than a schema
//! can express.

use serde_json::{Map, Value as Json, json};
use xtask_core::manifest::declare::{Key, Type};
use xtask_core::manifest::keys::{SECTION_KEYS, SETTINGS};

/// The schema, as JSON Schema of draft 7.
pub(crate) fn schema() -> Json {
    let mut section = properties(SECTION_KEYS);
    let settings = properties(SETTINGS);
    let overlays = json!({
        "type": "object",
        "description": doc(SECTION_KEYS, "with"),
        "additionalProperties": { "$ref": "#/definitions/overlay" },
    });
    section.insert("with".to_owned(), overlays);
    section.extend(settings.clone());
    let services = json!({
        "type": "object",
        "description": "Several services, by name.",
        "additionalProperties": { "$ref": "#/definitions/service" },
    });
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Metadata of services in Cargo.toml",
        "type": "object",
        "definitions": {
            "service": closed(section),
            "overlay": closed(settings),
        },
        "properties": {
            "package": { "type": "object", "properties": { "metadata": {
                "type": "object",
                "properties": {
                    "service": { "$ref": "#/definitions/service" },
                    "services": services.clone(),
                },
            } } },
            "workspace": { "type": "object", "properties": { "metadata": {
                "type": "object",
                "properties": { "services": services, "xtask": shared() },
            } } },
        },
    })
}

/// `[workspace.metadata.xtask]`.
fn shared() -> Json {
    let text = |doc: &str| json!({ "type": "string", "description": doc });
    let mut keys = Map::new();
    let default = json!({
        "type": "array",
        "items": { "type": "string" },
        "description": "What a plain `up` starts; without it, every service.",
    });
    keys.insert("default".to_owned(), default);
    keys.insert("env".to_owned(), texts_by_name("Variables for every service."));
    keys.insert("e2e".to_owned(), text("The package with the end-to-end tests."));
    keys.insert("base-image".to_owned(), text("What images of built programs are based on."));
    keys.insert("template".to_owned(), text("The folder with the template of `new`."));
    closed(keys)
}

fn properties(keys: &[Key]) -> Map<String, Json> {
    keys.iter().map(|key| (key.name.to_owned(), property(key))).collect()
}

fn closed(properties: Map<String, Json>) -> Json {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn doc(keys: &[Key], name: &str) -> &'static str {
    keys.iter().find(|key| key.name == name).map_or("", |key| key.doc)
}

fn texts_by_name(doc: &str) -> Json {
    json!({ "type": "object", "additionalProperties": { "type": "string" }, "description": doc })
}

fn property(key: &Key) -> Json {
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "array", "items": text });
    let port = json!({ "type": "integer", "minimum": 0, "maximum": 65535 });
    let status = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
    let mut schema = match key.takes {
        Type::Text => text,
        Type::Texts => texts,
        Type::TextOrTexts => json!({ "anyOf": [text, texts] }),
        Type::TextTable => texts_by_name(""),
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Choice(choices) => json!({ "enum": choices }),
        Type::Duration => json!({ "type": "string", "pattern": "^[0-9.]+ *[a-z]+$" }),
        Type::Size => json!({ "type": "string", "pattern": "^[0-9.]+ *[KMG]?i?B?$" }),
        Type::Count(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Type::Number => json!({ "type": "number" }),
        Type::Port => port,
        Type::Ports => json!({ "type": "object", "additionalProperties": port }),
        Type::Dependencies => json!({ "anyOf": [texts, dependencies()] }),
        Type::Statuses => json!({ "anyOf": [status, { "type": "array", "items": status }] }),
        Type::Table(inner) => closed(properties(inner)),
    };
    schema["description"] = Json::from(key.doc);
    // Defaults are TOML, and those of plain values are JSON too.
    if let Ok(default) = serde_json::from_str::<Json>(key.default) {
        schema["default"] = default;
    }
    schema
}

/// A table from names to conditions.
fn dependencies() -> Json {
    let condition = json!({ "enum": ["ready", "started", "succeeded"] });
    let long = json!({
        "type": "object",
        "properties": { "condition": condition, "restart": { "type": "boolean" } },
        "additionalProperties": false,
    });
    json!({ "type": "object", "additionalProperties": { "anyOf": [condition, long] } })
}

#[cfg(test)]
mod tests;
