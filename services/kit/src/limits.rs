//! Limits on what one request may cost, and the layer that ends a request which takes too long.
//!
//! The number of requests at a time is not limited here: the database pool is the narrow place,
//! and it answers 503 when a caller waits too long for it.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;

/// What one request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body that is read, in bytes.
    pub body_bytes: usize,
    /// How long a client may take to send its body.
    pub body_time: Duration,
    /// How long an answer may take, the body of the request included.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256 * 1024,
            body_time: Duration::from_secs(5),
            request_time: Duration::from_secs(10),
        }
    }
}

/// Makes the limits known to the body reader and answers 503 when the time is over.
pub(crate) async fn enforce(
    State(limits): State<Limits>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(limits);
    match tokio::time::timeout(limits.request_time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no answer was ready within {:?}", limits.request_time),
        )
        .retry_after(Duration::from_secs(1))
        .into_response(),
    }
}
