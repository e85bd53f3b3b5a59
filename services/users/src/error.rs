//! The errors of a request, and the problem that each becomes.
//!
//! The caller gets no internal cause; it is logged.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kit::Problem;
use kit::client::CallError;

/// When a caller may retry after `todo` was unavailable.
const TODO_RETRY: Duration = Duration::from_secs(2);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no user `{0}`")]
    NoUser(String),
    /// Another person has the username or the id.
    #[error("{0}")]
    Taken(String),
    #[error("the service `todo` is not available")]
    TodoUnreachable(#[source] CallError),
    /// `todo` answered 503.
    #[error("the service `todo` is not available")]
    TodoUnavailable,
    #[error("the service `todo` answered with status {0}")]
    TodoFailed(StatusCode),
    #[error("there were too many attempts to sign in")]
    TooManyAttempts(Duration),
    #[error(transparent)]
    Request(#[from] Problem),
    #[error("the storage failed")]
    Storage(#[from] sqlx::Error),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            Self::NoUser(_) => Problem::not_found(text),
            Self::Taken(_) => Problem::conflict(text),
            Self::TodoUnreachable(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "{text}");
                Problem::unavailable(text, TODO_RETRY)
            }
            Self::TodoUnavailable => Problem::unavailable(text, TODO_RETRY),
            Self::TodoFailed(_) => {
                tracing::error!("{text}");
                Problem::new(StatusCode::BAD_GATEWAY, text)
            }
            Self::TooManyAttempts(wait) => Problem::too_many(text, wait),
            Self::Request(problem) => problem,
            Self::Storage(error) => error.into(),
        }
        .into_response()
    }
}
