//! The calls to `todo`, and what each answer means here.
//!
//! Lists are forwarded unchanged and unparsed.

use axum::body::Body;
use axum::http::header::ETAG;
use axum::http::{HeaderValue, StatusCode};
use kit::settings::SettingError;
use kit::{Client, RequestContext, Settings, Tag};

use crate::error::Error;

/// A client of the service `todo`.
#[derive(Clone, Debug)]
pub struct Todo {
    client: Client,
}

impl Todo {
    /// Calls `todo` at `TODO_URL`.
    ///
    /// # Errors
    /// When it is missing or invalid.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        Ok(Self::new(Client::from_settings("TODO_URL", settings)?))
    }

    /// Calls `todo` through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The JSON object of a user's lists, as it arrives, and its tag if it has one; `{}` for a user
    /// without lists.
    ///
    /// # Errors
    /// When `todo` does not answer, or answers with an unexpected status.
    pub async fn lists(
        &self,
        username: &str,
        context: &RequestContext,
    ) -> Result<(Body, Option<HeaderValue>), Error> {
        let response = self.client.get(&["lists", username], context).await;
        let response = response.map_err(Error::TodoUnreachable)?;
        match response.status() {
            StatusCode::OK => {
                let tag = response.headers().get(ETAG).cloned();
                Ok((Body::new(reqwest::Body::from(response)), tag))
            }
            StatusCode::NOT_FOUND => {
                let none = "{}";
                let tag = Tag::of_bytes(none.as_bytes()).header().map(|(_, tag)| tag);
                Ok((Body::from(none), tag))
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_address_names_the_variable() {
        for (url, expected) in
            [("", "`TODO_URL` is not set"), ("localhost:5001", "`TODO_URL` is `localhost:5001`")]
        {
            let error = Todo::from_settings(&Settings::from_pairs([("TODO_URL", url)]));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
