//! The body of every answer that is not a success: `application/problem+json` (RFC 9457).
//!
//! A problem contains only what the caller may know. Internal causes are logged where they occur.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const MEDIA_TYPE: &str = "application/problem+json";

/// The longest path. Encoded again for a call to another service, it may be three times as long,
/// and HTTP libraries refuse more than 64 KiB.
const MAX_PATH_BYTES: usize = 16 * 1024;

/// An answer with an error status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    pub(crate) status: StatusCode,
    detail: Cow<'static, str>,
    pub(crate) errors: Vec<FieldError>,
    retry_after: Option<Duration>,
}

crate::answer! {
    /// A mistake in one field of a request.
    #[derive(serde::Deserialize)]
    pub struct FieldError {
        /// The field's name in the body, or the path parameter's.
        pub field: String = "title",
        /// What is wrong with it; the text follows the field's name.
        pub detail: String = "must not be empty",
    }
}

crate::answer! {
    /// Why a request failed (RFC 9457).
    pub(crate) struct ProblemBody {
        /// The kind of problem; always `about:blank`.
        r#type: String = "about:blank",
        /// The status as text.
        title: String = "Not Found",
        /// The status as a number.
        status: u16 = 404,
        /// What happened, for people.
        detail: String = "the list `home` has no item `7`",
        /// For status 422: the mistake in each field.
        errors: Option<Vec<FieldError>> = vec![FieldError::example()],
    }
}

impl FieldError {
    /// A mistake in the field of that name.
    pub fn new(field: &str, detail: impl ToString) -> Self {
        Self { field: field.to_owned(), detail: detail.to_string() }
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::invalid(vec![error])
    }
}

impl Problem {
    /// A problem of this status; `detail` explains this case to a person.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// 404: the resource does not exist.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 409: the resource exists already.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 422: these fields are invalid.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let named: Vec<_> = errors.iter().map(|e| format!("`{}` {}", e.field, e.detail)).collect();
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, named.join("; ")) }
    }

    /// 503 with `Retry-After`: `wait` in whole seconds, rounded up.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        Self { retry_after: Some(wait), ..problem }
    }

    /// 429 with `Retry-After`: `wait` in whole seconds, rounded up.
    pub fn too_many(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, detail);
        Self { retry_after: Some(wait), ..problem }
    }

    /// 500: the service failed. The caller must log the cause.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the service failed to answer this request")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let members = ProblemBody {
            r#type: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.into_owned(),
            errors: (!self.errors.is_empty()).then_some(self.errors),
        };
        let body = serde_json::to_vec(&members).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1000) as u64;
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

/// Replaces an error answer of a library, such as for a path that is not UTF-8, with a problem of
/// the same status. A page for people is left alone.
pub(crate) async fn unify(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let media = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_page = media.is_some_and(|media| media.starts_with(b"text/html"));
    if !is_error || is_page || media == Some(MEDIA_TYPE.as_bytes()) {
        return response;
    }
    let detail = if status.is_client_error() {
        "malformed request"
    } else {
        "the service failed to answer this request"
    };
    Problem::new(status, detail).into_response()
}

/// Answers a path that no route matches.
pub(crate) async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("nothing is at `{}`", uri.path()))
}

/// Answers 404 to a path that no stored name has: it contains a NUL, which PostgreSQL rejects in
/// text, or a segment `.` or `..`, which clients remove, or it is too long to be forwarded.
pub(crate) async fn reject_unusable(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path.len() > MAX_PATH_BYTES {
        return Problem::not_found("no path of this service is as long").into_response();
    }
    if path.contains("%00") || path.split('/').any(is_dots) {
        return no_such_path(request.uri().clone()).await.into_response();
    }
    next.run(request).await
}

/// Whether a segment is `.` or `..`, as clients read it.
fn is_dots(segment: &str) -> bool {
    segment.starts_with(['.', '%'])
        && segment.len() <= 6
        && matches!(&*segment.to_lowercase().replace("%2e", "."), "." | "..")
}

/// Answers a method that the path does not support; axum adds `Allow`.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("`{}` does not support {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn problem_has_members_and_media_type_of_the_rfc() {
        let response = Problem::unavailable("todo is down", Duration::from_millis(1500));
        let response = response.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"type": "about:blank", "title": "Service Unavailable",
                "status": 503, "detail": "todo is down"})
        );
    }

    #[test]
    fn invalid_fields_appear_in_detail_and_list() {
        let error = FieldError::new("title", "must not be empty");
        let problem = Problem::invalid(vec![error.clone()]);
        assert_eq!(problem.status, 422);
        assert_eq!(problem.detail, "`title` must not be empty");
        assert_eq!(problem.errors, [error]);
    }

    #[test]
    fn dots_are_recognised_as_clients_do() {
        for segment in [".", "..", "%2e", "%2E%2e", ".%2E"] {
            assert!(is_dots(segment), "{segment}");
        }
        for segment in ["", "...", "a.", "%2e%2e%2e", "%2f.", ".git"] {
            assert!(!is_dots(segment), "{segment}");
        }
    }
}
