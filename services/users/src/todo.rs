//! What this service asks of `todo`, and what each answer means here.
//!
//! The lists are passed on as they came; this service does not look into them.

use axum::http::StatusCode;
use kit::{Client, RequestContext};

use crate::error::Error;

/// The service `todo`.
#[derive(Clone, Debug)]
pub struct Todo {
    client: Client,
}

impl Todo {
    /// Asks through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The JSON object of a user's lists; `{}` for a user without any.
    ///
    /// # Errors
    /// When `todo` is away or answers something else.
    pub async fn lists(&self, username: &str, context: &RequestContext) -> Result<Vec<u8>, Error> {
        let response = self.client.get(&["lists", username], context).await;
        let response = response.map_err(Error::TodoAway)?;
        match response.status() {
            StatusCode::OK => Ok(response.bytes().await.map_err(Error::TodoAway)?.to_vec()),
            StatusCode::NOT_FOUND => Ok(b"{}".to_vec()),
            other => Err(unexpected(other)),
        }
    }

    /// Removes all lists of a user; having none is success too.
    ///
    /// # Errors
    /// When `todo` is away or answers something else.
    pub async fn delete_lists(
        &self,
        username: &str,
        context: &RequestContext,
    ) -> Result<(), Error> {
        let response = self.client.delete(&["lists", username], context).await;
        match response.map_err(Error::TodoAway)?.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            other => Err(unexpected(other)),
        }
    }
}

fn unexpected(status: StatusCode) -> Error {
    if status == StatusCode::SERVICE_UNAVAILABLE { Error::TodoBusy } else { Error::TodoOdd(status) }
}
