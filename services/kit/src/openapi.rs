//! Compares an OpenAPI document with the routes: paths, methods and references.
//!
//! It does not check schemas.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::routes::Entry;

/// The keys of a path item that are methods.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "options"];

/// One line for each difference between the routes and the document.
pub fn differences(table: &[Entry], document: &str) -> Vec<String> {
    let document: Value = match serde_json::from_str(document) {
        Ok(document) => document,
        Err(error) => return vec![format!("the document is not valid JSON: {error}")],
    };
    let served: BTreeSet<String> =
        table.iter().map(|entry| format!("{} {}", entry.method, entry.path)).collect();
    let described = described(&document);
    let mut found = Vec::new();
    for operation in served.difference(&described) {
        found.push(format!("`{operation}` is served but not described"));
    }
    for operation in described.difference(&served) {
        found.push(format!("`{operation}` is described but not served"));
    }
    dangling(&document, &document, &mut found);
    found
}

fn described(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, item)| {
        let methods = METHODS.into_iter().filter(|method| item.get(*method).is_some());
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    operations.collect()
}

fn dangling(value: &Value, document: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                let target = reference.strip_prefix('#').and_then(|at| document.pointer(at));
                if target.is_none() {
                    found.push(format!("`{reference}` has no target"));
                }
            }
            members.values().for_each(|value| dangling(value, document, found));
        }
        Value::Array(values) => values.iter().for_each(|value| dangling(value, document, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_and_dangling_references_are_reported() {
        let table = [Entry { method: "GET", path: "/a" }, Entry { method: "POST", path: "/a" }];
        let document = r##"{"paths": {"/a": {"get": {"$ref": "#/gone"}, "put": {}}}}"##;
        assert_eq!(
            differences(&table, document),
            [
                "`POST /a` is served but not described",
                "`PUT /a` is described but not served",
                "`#/gone` has no target",
            ]
        );
    }
}
