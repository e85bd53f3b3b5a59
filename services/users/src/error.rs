//! What can go wrong with a request, and which problem the caller is told.
//!
//! Causes inside the storage and of calls to `todo` are logged here, once, and not told.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kit::{Problem, database};

/// When a caller may come again after `todo` was away.
const TODO_RETRY: Duration = Duration::from_secs(2);

/// A request that has no success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such person.
    #[error("there is no user `{0}`")]
    NoUser(String),
    /// The username, or the id that was asked for, belongs to somebody.
    #[error("{0}")]
    Taken(String),
    /// `todo` gave no answer in time.
    #[error("the service `todo` is not available")]
    TodoAway(#[source] reqwest::Error),
    /// `todo` is there and asks for patience.
    #[error("the service `todo` is not available")]
    TodoBusy,
    /// `todo` answered something that makes no sense here.
    #[error("the service `todo` answered with status {0}")]
    TodoOdd(StatusCode),
    /// The request itself is wrong.
    #[error("the request is wrong")]
    Request(Problem),
    /// The storage failed.
    #[error("the storage failed")]
    Storage(#[from] sqlx::Error),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self::Request(problem)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            Self::NoUser(_) => Problem::not_found(text),
            Self::Taken(_) => Problem::conflict(text),
            Self::TodoAway(error) => {
                tracing::warn!(%error, cause = ?std::error::Error::source(&error), "{text}");
                Problem::unavailable(text, TODO_RETRY)
            }
            Self::TodoBusy => Problem::unavailable(text, TODO_RETRY),
            Self::TodoOdd(_) => {
                tracing::error!("{text}");
                Problem::new(StatusCode::BAD_GATEWAY, text)
            }
            Self::Request(problem) => problem,
            Self::Storage(error) if database::is_away(&error) => {
                tracing::warn!(%error, "storage is not available");
                Problem::unavailable("the storage is not available", Duration::from_secs(1))
            }
            Self::Storage(error) => {
                tracing::error!(%error, "storage failed");
                Problem::internal()
            }
        }
        .into_response()
    }
}
