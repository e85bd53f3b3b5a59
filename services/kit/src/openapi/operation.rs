//! One operation of a document: what the arguments and the result of a handler add to it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::schema::{Components, Schema};

/// An operation while it is described.
#[derive(Debug, Default)]
pub struct Operation {
    id: String,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
    failures: Vec<StatusCode>,
    security: Option<Value>,
    components: Components,
}

impl Operation {
    /// The operation of the function with this path. Its module and its name are the id.
    pub(crate) fn of(function: &str) -> Self {
        let mut names: Vec<&str> = function.rsplit("::").take(2).collect();
        names.reverse();
        // Handlers beside the table of routes have no module of their own.
        let id = names.into_iter().filter(|name| *name != "http").collect::<Vec<_>>().join("_");
        Self { id, ..Self::default() }
    }

    /// Adds a body of JSON, and how it may be refused.
    pub fn reads_body<T: Schema>(&mut self) {
        let schema = T::schema(&mut self.components);
        self.body =
            Some(json!({"required": true, "content": {"application/json": {"schema": schema}}}));
        for status in [
            StatusCode::BAD_REQUEST,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ] {
            self.fails(status);
        }
    }

    /// Adds a parameter that may be absent; `place` is `query` or `header`.
    pub fn reads_parameter(&mut self, place: &str, name: &str, description: &str, schema: Value) {
        self.parameters
            .push(json!({"name": name, "in": place, "description": description, "schema": schema}));
    }

    /// Adds an answer with a body of JSON.
    pub fn answers<T: Schema>(&mut self, status: StatusCode) {
        let schema = T::schema(&mut self.components);
        let content = json!({"application/json": {"schema": schema, "example": T::example()}});
        self.answer(status, json!({"description": reason(status), "content": content}));
    }

    /// Adds an answer of this media type, whose content has no schema.
    pub fn answers_media(&mut self, media: &str) {
        let kind = if media == "application/json" { "object" } else { "string" };
        let content = json!({media: {"schema": {"type": kind}}});
        self.answer(StatusCode::OK, json!({"description": "OK", "content": content}));
    }

    /// Adds an answer without a body.
    pub fn answers_nothing(&mut self, status: StatusCode) {
        self.answer(status, json!({"description": reason(status)}));
    }

    /// Adds a header to the answer with this status.
    pub fn answers_header(&mut self, status: StatusCode, name: &str, description: &str) {
        if let Some(answer) = self.answers.get_mut(&status.as_u16()) {
            answer["headers"][name] =
                json!({"description": description, "schema": {"type": "string"}});
        }
    }

    /// Adds a tag to the answer with this status. A GET that names it gets 304.
    pub fn answers_tag(&mut self, status: StatusCode) {
        self.answers_header(status, "ETag", "The tag of what the resource contains.");
    }

    /// Adds the answer 304, if an answer has a tag.
    pub(crate) fn may_skip_known(&mut self) {
        let is_tagged = |answer: &Value| answer["headers"]["ETag"].is_object();
        if self.answers.get(&StatusCode::OK.as_u16()).is_some_and(is_tagged) {
            let text = "Tags of states that the caller has: 304 if the resource has one of them.";
            self.reads_parameter("header", "If-None-Match", text, json!({"type": "string"}));
            self.answers_nothing(StatusCode::NOT_MODIFIED);
        }
    }

    /// Adds a problem of this status.
    pub fn fails(&mut self, status: StatusCode) {
        self.failures.push(status);
    }

    /// Demands a credential, or lets callers use one if it is `optional`.
    pub fn demands(&mut self, scheme: &str, optional: bool) {
        let demanded = json!({scheme: []});
        let schemes = if optional { vec![json!({}), demanded] } else { vec![demanded] };
        self.security = Some(schemes.into());
        self.fails(StatusCode::UNAUTHORIZED);
    }

    /// The statuses of the problems, ascending.
    pub(crate) fn failures(&self) -> Vec<StatusCode> {
        let mut failures = self.failures.clone();
        failures.sort_unstable();
        failures.dedup();
        failures
    }

    /// The operation as JSON, and the schemas that it refers to.
    pub(crate) fn into_parts(self, summary: &str) -> (Value, Map<String, Value>) {
        let failures = self.failures();
        let mut answers: Map<String, Value> =
            self.answers.into_iter().map(|(status, answer)| (status.to_string(), answer)).collect();
        for status in failures {
            let reference = format!("#/components/responses/{}", problem_name(status));
            answers.insert(status.as_u16().to_string(), json!({"$ref": reference}));
        }
        let mut operation =
            json!({"operationId": self.id, "summary": summary, "responses": answers});
        for (key, value) in [
            ("parameters", (!self.parameters.is_empty()).then(|| self.parameters.into())),
            ("requestBody", self.body),
            ("security", self.security),
        ] {
            if let Some(value) = value {
                operation[key] = value;
            }
        }
        (operation, self.components.into_schemas())
    }

    fn answer(&mut self, status: StatusCode, answer: Value) {
        self.answers.insert(status.as_u16(), answer);
    }
}

/// The name of the component that describes a problem.
pub(super) fn problem_name(status: StatusCode) -> String {
    reason(status).split_whitespace().collect()
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}
