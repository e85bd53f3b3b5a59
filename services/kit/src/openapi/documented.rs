//! The operations of a document as a test calls them: with every mistake that services refuse.
//!
//! A service sends them in a test, which holds that the errors that happen are those of the
//! document.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH, ORIGIN, RETRY_AFTER};
use axum::http::request::Builder;
use axum::http::{HeaderName, Request};
use axum::response::Response;
use serde_json::Value;

use crate::limits::Limits;

/// One operation of a document.
#[derive(Clone, Debug)]
pub struct Documented {
    /// The method, in upper case.
    pub method: String,
    /// The path with `{parameters}`.
    pub path: String,
    /// The statuses of its problems.
    pub problems: BTreeSet<u16>,
    /// An example of its body.
    example: Option<Value>,
}

/// The operations of a document, by path.
///
/// # Panics
/// When the document is malformed: it is for tests.
pub fn operations(document: &str) -> Vec<Documented> {
    let document: Value = serde_json::from_str(document).unwrap_or_default();
    let paths: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_value(document["paths"].clone()).unwrap_or_default();
    assert!(!paths.is_empty(), "the document has no paths");
    let operations = paths.into_iter().flat_map(|(path, operations)| {
        let operations = operations.into_iter().filter(|(method, _)| method != "parameters");
        operations.map(move |(method, operation)| (method, path.clone(), operation))
    });
    let described = operations.map(|(method, path, operation)| Documented {
        problems: problems(&operation),
        example: example(&document, &operation),
        method: method.to_uppercase(),
        path,
    });
    described.collect()
}

impl Documented {
    /// The path with these values in place of the parameters.
    pub fn target(&self, values: &[(&str, &str)]) -> String {
        values.iter().fold(self.path.clone(), |path, (name, value)| {
            path.replace(&format!("{{{name}}}"), value)
        })
    }

    /// A request without a mistake.
    pub fn request(&self, target: &str) -> Request<Body> {
        self.with_body(self.start(target).header(HOST, "localhost"), None)
    }

    /// Requests with one mistake each. An operation that does not know a header ignores it.
    pub fn mistakes(&self, target: &str) -> Vec<Request<Body>> {
        let start = || self.start(target).header(HOST, "localhost");
        let mut requests = vec![self.with_body(self.start(target), None)];
        let headers: [(HeaderName, &str); 4] = [
            (HOST, "rebind.evil.example"),
            (ORIGIN, "https://evil.example"),
            (AUTHORIZATION, "Bearer a.b.c"),
            (IF_MATCH, "\"of another state\""),
        ];
        for (name, value) in headers {
            let start = if name == HOST { self.start(target) } else { start() };
            requests.push(self.with_body(start.header(name, value), None));
        }
        requests.push(self.request(&format!("{target}?limit=0")));
        if let Some((before, _)) = self.path.split_once('{') {
            // No text, a character that no name has, and the mark of what is never addressed.
            for segment in ["%FF", "%00", "%01"] {
                let (_, rest) = target.split_at(before.len());
                let rest = rest.split_once('/').map_or("", |(_, rest)| rest);
                let target = format!("{before}{segment}/{rest}");
                requests.push(self.request(target.trim_end_matches('/')));
            }
        }
        if self.example.is_some() {
            let large = "x".repeat(Limits::default().body_bytes + 1);
            for body in ["{", r#"{"strange": 1}"#, &large] {
                requests.push(self.with_body(start(), Some(Body::from(body.to_owned()))));
            }
            requests.extend(start().body(Body::from("{}")).ok());
            let stalled = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            requests.push(self.with_body(start(), Some(Body::from_stream(stalled))));
        }
        requests
    }

    fn start(&self, target: &str) -> Builder {
        Request::builder().method(self.method.as_str()).uri(target)
    }

    /// The request with this body, or with the example.
    fn with_body(&self, start: Builder, body: Option<Body>) -> Request<Body> {
        let request = match (&self.example, body) {
            (None, None) => start.body(Body::empty()),
            (example, body) => {
                let example = || example.as_ref().map(ToString::to_string).unwrap_or_default();
                let start = start.header(CONTENT_TYPE, "application/json");
                start.body(body.unwrap_or_else(|| Body::from(example())))
            }
        };
        request.unwrap_or_else(|error| unreachable!("{} {}: {error}", self.method, self.path))
    }
}

/// The status of an answer. An error must be a problem with the same status, and say when a caller
/// may try again.
///
/// # Panics
/// When the error is not such a problem: it is for tests.
pub async fn status_of(response: Response) -> u16 {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    if status >= 400 {
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{status}");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap_or_default();
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(headers.contains_key(RETRY_AFTER), matches!(status, 429 | 503), "{problem}");
    }
    status
}

/// The statuses of an operation that are not a success.
fn problems(operation: &Value) -> BTreeSet<u16> {
    let statuses = operation["responses"].as_object().into_iter().flat_map(|all| all.keys());
    statuses.filter_map(|status| status.parse().ok()).filter(|status| *status >= 400).collect()
}

/// The example of the schema that the body of an operation refers to.
fn example(document: &Value, operation: &Value) -> Option<Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    Some(document["components"]["schemas"][name]["examples"][0].clone())
}
