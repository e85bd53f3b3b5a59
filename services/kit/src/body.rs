//! Reads a request's body within the limits; [`crate::fields`] reads the values in it.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use hyper::body::Body as _;
use serde_json::Value;

use crate::limits::Limits;
use crate::problem::Problem;

/// A body over the limit is still read, up to this many times the limit. Closing a connection
/// with unread bytes resets it, and the client would never read the answer.
const DISCARD_FACTOR: usize = 16;

/// Reads and parses a JSON body.
pub(crate) async fn read_json(request: Request) -> Result<Value, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "expected a body with `Content-Type: application/json`",
        ));
    }
    let bytes = read_bytes(request).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is not valid JSON: {error}"))
    })
}

/// Reads a body of any type.
pub(crate) async fn read_bytes(request: Request) -> Result<Vec<u8>, Problem> {
    let limits = request.extensions().get::<Limits>().copied().unwrap_or_default();
    let announced = announced_bytes(request.headers());
    if announced.is_some_and(|bytes| bytes > limits.body_bytes.saturating_mul(DISCARD_FACTOR)) {
        return Err(too_large(limits));
    }
    let reading = read(request.into_body(), limits);
    match tokio::time::timeout(limits.body_time, reading).await {
        Ok(bytes) => bytes,
        Err(_) => {
            let detail = format!("the body did not arrive within {:?}", limits.body_time);
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limits: Limits) -> Problem {
    let detail = format!("the body is larger than {} bytes", limits.body_bytes);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

async fn read(mut body: Body, limits: Limits) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut seen: usize = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "the body ended before its announced length")
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        seen = seen.saturating_add(chunk.len());
        if seen > limits.body_bytes.saturating_mul(DISCARD_FACTOR) {
            break;
        }
        if seen <= limits.body_bytes {
            bytes.extend_from_slice(&chunk);
        }
    }
    if seen > limits.body_bytes { Err(too_large(limits)) } else { Ok(bytes) }
}
