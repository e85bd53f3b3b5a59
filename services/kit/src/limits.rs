//! Limits for one request, and the layer that ends a request at its timeout.
//!
//! The number of concurrent requests has no limit here. The database pool is the bottleneck: a
//! request that waits too long for a connection gets 503.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;
use crate::settings::{SettingError, Settings};

/// The limits for one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// The timeout for the client to send its body.
    pub body_time: Duration,
    /// The timeout for the whole answer, reading the request's body included.
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

impl Limits {
    /// Reads `BODY_LIMIT` in bytes, `BODY_TIMEOUT` and `REQUEST_TIMEOUT`.
    ///
    /// # Errors
    /// When one of them is not a number of bytes or a time.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let default = Self::default();
        Ok(Self {
            body_bytes: settings.parsed("BODY_LIMIT", default.body_bytes, "a number of bytes")?,
            body_time: settings.time("BODY_TIMEOUT", default.body_time)?,
            request_time: settings.time("REQUEST_TIMEOUT", default.request_time)?,
        })
    }
}

/// Passes the limits to the body reader and answers 503 at the timeout.
pub(crate) async fn enforce(
    State(limits): State<Limits>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(limits);
    match tokio::time::timeout(limits.request_time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the service had no answer within {:?}", limits.request_time);
            Problem::unavailable(detail, Duration::from_secs(1)).into_response()
        }
    }
}
