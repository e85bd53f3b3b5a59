//! What can go wrong with a request, and which problem the caller is told.
//!
//! Causes inside the storage are logged here, once, and not told.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use kit::{Problem, database};

/// A request that has no success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user has no lists.
    #[error("the user `{0}` has no lists")]
    NoLists(String),
    /// The user has no list of that name.
    #[error("the user `{username}` has no list `{list}`")]
    NoList {
        /// The user.
        username: String,
        /// The list that was asked for.
        list: String,
    },
    /// The list has no such item.
    #[error("the list `{list}` has no item `{id}`")]
    NoItem {
        /// The list.
        list: String,
        /// The item's id as it was asked for.
        id: String,
    },
    /// The user has a list of that name already.
    #[error("the user `{username}` has a list `{list}` already")]
    ListTaken {
        /// The user.
        username: String,
        /// The name that was wanted.
        list: String,
    },
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
        match self {
            Self::NoLists(_) | Self::NoList { .. } | Self::NoItem { .. } => {
                Problem::not_found(self.to_string())
            }
            Self::ListTaken { .. } => Problem::conflict(self.to_string()),
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
