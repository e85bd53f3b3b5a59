//! Entity tags: `ETag` in answers, `If-None-Match` for reading and `If-Match` for changing.
//!
//! A tag is a digest of what the resource contains, so no version is stored.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::openapi::{Answers, Operation, Reads, Schema};
use crate::problem::Problem;

/// The tag of what a resource contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

/// The tags in `If-Match`, an extractor. Without the header every state matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IfMatch(Option<String>);

/// A success of status 200 with a tag.
#[derive(Clone, Debug)]
pub struct Tagged<T>(pub Tag, pub Json<T>);

impl Tag {
    /// The tag of a value, which must not fail to serialise.
    pub fn of(value: &impl Serialize) -> Self {
        Self::of_bytes(&serde_json::to_vec(value).unwrap_or_default())
    }

    /// The tag of a complete body.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        // 128 bits in base64, which contains neither quotes nor commas.
        Self(format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16])))
    }

    /// The header of an answer.
    pub fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some((ETAG, HeaderValue::from_str(&self.0).ok()?))
    }
}

impl IfMatch {
    /// Whether the caller sent a condition.
    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// Checks the state of a resource before it is changed.
    ///
    /// # Errors
    /// 412 when the caller expects another one.
    pub fn check(&self, current: &Tag) -> Result<(), Problem> {
        match &self.0 {
            Some(expected) if !names(expected, &current.0) => {
                let detail = "the resource has changed since it was read";
                Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(list(&parts.headers, IF_MATCH)))
    }
}

impl Reads for IfMatch {
    fn describe(operation: &mut Operation) {
        let text = "Tags of the state that is changed; 412 if it has another one.";
        operation.reads_parameter("header", "If-Match", text, json!({"type": "string"}));
        operation.fails(StatusCode::PRECONDITION_FAILED);
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = self.1.into_response();
        response.headers_mut().extend(self.0.header());
        response
    }
}

impl<T: Schema> Answers for Tagged<T> {
    fn describe(operation: &mut Operation) {
        operation.answers::<T>(StatusCode::OK);
        operation.answers_tag(StatusCode::OK);
    }
}

/// Answers 304 to a GET for a state that the caller has.
pub(crate) async fn skip_known(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = if reads { list(request.headers(), IF_NONE_MATCH) } else { None };
    let mut response = next.run(request).await;
    let Some(known) = known.filter(|_| response.status() == StatusCode::OK) else {
        return response;
    };
    let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
    if tag.is_some_and(|tag| names(&known, tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = axum::body::Body::empty();
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response
}

/// The values of a header, which may be sent several times.
fn list(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Whether a list of tags contains this one. Our tags contain no comma.
fn names(list: &str, tag: &str) -> bool {
    list.split(',').map(str::trim).any(|known| known == "*" || known == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn expected(values: &[&str]) -> IfMatch {
        let mut request = axum::http::Request::patch("/");
        for value in values {
            request = request.header(IF_MATCH, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let Ok(found) = IfMatch::from_request_parts(&mut parts, &()).await;
        found
    }

    #[tokio::test]
    async fn condition_names_the_state_or_any() {
        let (tag, other) = (Tag::of(&1), Tag::of(&2));
        assert_ne!(tag, other);
        assert_eq!(tag, Tag::of(&1));
        let list = format!("\"x\", {}", tag.0);
        for values in [&[][..], &["*"], &[&tag.0], &[&list], &[&other.0, &tag.0]] {
            assert_eq!(expected(values).await.check(&tag), Ok(()), "{values:?}");
        }
        let weak = format!("W/{}", tag.0);
        for values in [&["\"x\""][..], &[&other.0], &[&weak], &[""]] {
            let refused = expected(values).await.check(&tag).unwrap_err();
            assert_eq!(refused.status, 412, "{values:?}");
        }
    }
}
