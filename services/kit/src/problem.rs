//! The body of every answer that is not a success: `application/problem+json` (RFC 9457).
//!
//! A problem is what the caller may know. Causes inside the service are logged where they happen
//! and never put into a problem.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

const MEDIA_TYPE: &str = "application/problem+json";

/// One answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The field's name in the body, or the path parameter's.
    pub field: String,
    /// What was expected, in words.
    pub detail: String,
}

/// The members on the wire.
#[derive(Serialize)]
struct Members<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// A problem of this status; `detail` tells a person about this very case.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// 404: what was asked for does not exist.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: it exists already.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 422: these fields cannot be used.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let named: Vec<_> = errors.iter().map(|e| format!("`{}` {}", e.field, e.detail)).collect();
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, named.join("; ")) }
    }

    /// 503: try again after `wait`, which is rounded up to whole seconds.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(wait)
    }

    /// 500: our fault. The cause belongs into the log.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed to answer this request")
    }

    /// Adds `Retry-After`, in whole seconds rounded up.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong with which field.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let members = Members {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&members).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1000) as u64;
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// Turns an error that a library answered in its own words, such as a path that is not UTF-8,
/// into a problem of the same status.
pub(crate) async fn unify(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let media = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !is_error || media == Some(MEDIA_TYPE.as_bytes()) {
        return response;
    }
    let detail = if status.is_client_error() {
        "the request cannot be understood"
    } else {
        "the service failed to answer this request"
    };
    Problem::new(status, detail).into_response()
}

/// The answer for a path that no route matches.
pub(crate) async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("nothing is at `{}`", uri.path()))
}

/// The answer for a path with a NUL in it, which no name has: PostgreSQL takes none in a text, and
/// SQLite should not be asked for one either.
pub(crate) async fn no_nul(request: Request, next: Next) -> Response {
    if request.uri().path().contains("%00") {
        return no_such_path(request.uri().clone()).await.into_response();
    }
    next.run(request).await
}

/// The answer for a method that the path does not know; axum adds `Allow`.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("`{}` does not answer {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_problem_has_the_members_and_the_media_type_of_the_rfc() {
        let response = Problem::unavailable("todo is away", Duration::from_millis(1500));
        let response = response.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"type": "about:blank", "title": "Service Unavailable",
                "status": 503, "detail": "todo is away"})
        );
    }

    #[test]
    fn invalid_fields_are_named_in_the_detail_and_in_the_list() {
        let error = FieldError { field: "title".into(), detail: "must not be empty".into() };
        let problem = Problem::invalid(vec![error.clone()]);
        assert_eq!(problem.status(), 422);
        assert_eq!(problem.detail, "`title` must not be empty");
        assert_eq!(problem.errors(), [error]);
    }
}
