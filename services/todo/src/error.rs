//! The errors of a request, and the problem that each becomes.
//!
//! The caller gets no internal cause; it is logged.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use kit::Problem;

use crate::bodies::MAX_ITEMS;
use crate::changes::MAX_FOLLOWERS;
use crate::keys::ListKey;
use crate::store::MAX_LISTS;

/// When a caller may try again to follow changes.
const FOLLOW_PAUSE: Duration = Duration::from_secs(15);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the user `{0}` has no lists")]
    NoLists(String),
    #[error("the user `{}` has no list `{}`", .0.owner.username(), .0.list)]
    NoList(ListKey),
    #[error("the list `{list}` has no item `{id}`")]
    NoItem { list: String, id: String },
    #[error("the user `{}` already has a list `{}`", .0.owner.username(), .0.list)]
    ListTaken(ListKey),
    #[error("the user `{0}` already has {MAX_LISTS} lists, the largest number")]
    TooManyLists(String),
    #[error("the list `{0}` already has {MAX_ITEMS} items, the largest number")]
    TooManyItems(String),
    #[error("{MAX_FOLLOWERS} callers follow changes, the largest number")]
    TooManyFollowers,
    #[error(transparent)]
    Path(PathRejection),
    #[error(transparent)]
    Request(#[from] Problem),
    #[error("the storage failed")]
    Storage(#[from] sqlx::Error),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            Self::NoLists(_) | Self::NoList(_) | Self::NoItem { .. } => Problem::not_found(text),
            Self::ListTaken(_) | Self::TooManyLists(_) | Self::TooManyItems(_) => {
                Problem::conflict(text)
            }
            Self::TooManyFollowers => Problem::too_many(text, FOLLOW_PAUSE),
            // The shell turns it into a problem of the same status.
            Self::Path(rejection) => return rejection.into_response(),
            Self::Request(problem) => problem,
            Self::Storage(error) => error.into(),
        }
        .into_response()
    }
}
