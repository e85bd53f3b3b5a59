//! The calls to `todo`, and what each answer means here.
//!
//! Lists are forwarded unchanged and unparsed.

use axum::http::StatusCode;
use kit::{Client, RequestContext};

use crate::error::Error;

/// A client of the service `todo`.
#[derive(Clone, Debug)]
pub struct Todo {
    client: Client,
}

impl Todo {
    /// Calls `todo` through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The JSON object of a user's lists; `{}` for a user without lists.
    ///
    /// # Errors
    /// When `todo` does not answer, or answers with an unexpected status.
    pub async fn lists(&self, username: &str, context: &RequestContext) -> Result<Vec<u8>, Error> {
        let response = self.client.get(&["lists", username], context).await;
        let response = response.map_err(Error::TodoUnreachable)?;
        match response.status() {
            StatusCode::OK => Ok(response.bytes().await.map_err(Error::TodoUnreachable)?.to_vec()),
            StatusCode::NOT_FOUND => Ok(b"{}".to_vec()),
            other => Err(unexpected(other)),
        }
    }

    /// Removes all lists of a user. A user without lists is no error.
    ///
    /// # Errors
    /// When `todo` does not answer, or answers with an unexpected status.
    pub async fn delete_lists(
        &self,
        username: &str,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let response = self.client.delete(&["lists", username], context).await;
        match response.map_err(Error::TodoUnreachable)?.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            other => Err(unexpected(other)),
        }
    }
}

fn unexpected(status: StatusCode) -> Error {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Error::TodoUnavailable,
        other => Error::TodoFailed(other),
    }
}
