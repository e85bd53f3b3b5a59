//! Puts the operations of a service together to one OpenAPI document, and compares it with the
//! committed one.

use std::collections::BTreeSet;
use std::path::Path;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::operation::{Operation, problem_name};
use super::schema::{Components, Schema as _};
use crate::problem::{FieldError, ProblemBody};

/// What a document says about its service.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The name of the service.
    pub name: &'static str,
    /// The version of its package.
    pub version: &'static str,
    /// What it is for.
    pub description: &'static str,
}

/// One served operation.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The method, in lower case.
    pub(crate) method: &'static str,
    /// The path with `{parameters}`.
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) describe: fn() -> Operation,
    /// Problems that neither arguments nor result imply.
    pub(crate) failures: Vec<StatusCode>,
}

/// A parameter of paths: name, description and example. A number as example makes it an integer.
pub(crate) type Parameter = (&'static str, &'static str, &'static str);

/// What every service refuses, whatever the path.
const COMMON: &str =
    "A request for a foreign host gets 421, and one of a page of another origin 403.";

/// The document, as it is committed.
pub(crate) fn document(about: About, parameters: &[Parameter], entries: &[Entry]) -> String {
    let (mut paths, mut components) = (Map::new(), Components::default());
    let problem = ProblemBody::schema(&mut components);
    let mut schemas = components.into_schemas();
    let mut failures = BTreeSet::new();
    for entry in entries {
        let (operation, used) = described(entry).into_parts(entry.summary);
        failures.extend(described(entry).failures());
        schemas.extend(used);
        let path = paths.entry(entry.path).or_insert_with(|| path_item(entry.path, parameters));
        path[entry.method] = operation;
    }
    let responses: Map<String, Value> = failures
        .into_iter()
        .map(|status| (problem_name(status), problem_answer(status, &problem)))
        .collect();
    let description = format!("{} {COMMON}", about.description);
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": about.name,
            "version": about.version,
            "description": description,
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": responses,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of `GET /session` of the service `users`. Without one, \
                                    `OPEN_OWNERS` decides.",
                },
                "session": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The secret of a session, from `POST /sessions` or \
                                    `POST /accounts` of the service `users`.",
                },
            },
        },
    });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn described(entry: &Entry) -> Operation {
    let mut operation = (entry.describe)();
    if entry.method == "get" {
        operation.may_skip_known();
    }
    if entry.path.contains('{') {
        // Also for a segment that is not UTF-8.
        operation.fails(StatusCode::NOT_FOUND);
    }
    // What is around every route: one `Host` that is a name, a known one, and the own origin.
    for status in [StatusCode::BAD_REQUEST, StatusCode::MISDIRECTED_REQUEST, StatusCode::FORBIDDEN]
    {
        operation.fails(status);
    }
    entry.failures.iter().for_each(|status| operation.fails(*status));
    operation
}

/// The parameters in a path.
fn path_item(path: &str, parameters: &[Parameter]) -> Value {
    let names = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let described: Vec<Value> = names
        .map(|name| {
            let known = parameters.iter().find(|parameter| parameter.0 == name);
            let (description, example) = known.map_or(("", ""), |known| (known.1, known.2));
            let (schema, example) = match example.parse::<i64>() {
                Ok(number) => (json!({"type": "integer"}), json!(number)),
                Err(_) => (json!({"type": "string", "minLength": 1}), json!(example)),
            };
            json!({"name": name, "in": "path", "required": true, "description": description,
                "schema": schema, "example": example})
        })
        .collect();
    if described.is_empty() { json!({}) } else { json!({"parameters": described}) }
}

/// The answer with a problem of this status.
fn problem_answer(status: StatusCode, schema: &Value) -> Value {
    let detail = match status {
        StatusCode::BAD_REQUEST => "the body is not valid JSON: expected value at line 1 column 1",
        StatusCode::UNAUTHORIZED => "the token is invalid or has expired",
        StatusCode::FORBIDDEN => "the token belongs to another person",
        StatusCode::NOT_FOUND => "the list `home` has no item `7`",
        StatusCode::REQUEST_TIMEOUT => "the body did not arrive within 5s",
        StatusCode::CONFLICT => "another resource has this name or id, or there are too many",
        StatusCode::PRECONDITION_FAILED => "the resource has changed since it was read",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than 262144 bytes",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            "expected a body with `Content-Type: application/json`"
        }
        StatusCode::UNPROCESSABLE_ENTITY => "`title` must not be empty",
        StatusCode::TOO_MANY_REQUESTS => "there were too many attempts",
        StatusCode::MISDIRECTED_REQUEST => {
            "`rebind.example` is not a name of this service; `ALLOWED_HOSTS` can list it"
        }
        StatusCode::INTERNAL_SERVER_ERROR => "the service failed to answer this request",
        StatusCode::BAD_GATEWAY => "the service `todo` answered with status 500",
        StatusCode::SERVICE_UNAVAILABLE => "the storage is not available",
        _ => "the request failed",
    };
    let title = status.canonical_reason().unwrap_or("Error");
    let mut example =
        json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    if status == StatusCode::UNPROCESSABLE_ENTITY {
        example["errors"] = json!([FieldError::example()]);
    }
    let content = json!({"application/problem+json": {"schema": schema, "example": example}});
    let mut answer = json!({"description": title, "content": content});
    let header = match status {
        StatusCode::UNAUTHORIZED => Some(("WWW-Authenticate", "The scheme, `Bearer`.", "string")),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some(("Retry-After", "Seconds until the next attempt.", "integer"))
        }
        _ => None,
    };
    if let Some((name, description, kind)) = header {
        answer["headers"][name] = json!({"description": description, "schema": {"type": kind}});
    }
    answer
}

/// Compares the committed document at `path` with the one that the code makes. `XTASK_BLESS=1`
/// writes it.
///
/// # Panics
/// When they differ: it is for tests.
pub fn check(path: impl AsRef<Path>, made: &str) {
    let path = path.as_ref();
    if std::env::var_os("XTASK_BLESS").is_some() {
        let written = std::fs::write(path, made);
        assert!(written.is_ok(), "failed to write `{}`: {written:?}", path.display());
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let mut pairs = committed.lines().zip(made.lines()).zip(1..);
    let first = pairs.find(|((committed, made), _)| committed != made);
    assert!(
        committed == made,
        "the document differs from the code, first at {first:?}\nhint: `XTASK_BLESS=1` writes it"
    );
}
