//! The errors of a request, and the page that a person sees for each.
//!
//! Every answer is a page with a way on, except for requests that no page of ours makes: they get a
//! problem. Internal causes are logged.

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use kit::Problem;

use crate::views;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no session, or it has ended.
    #[error("not signed in")]
    SignedOut,
    /// The list or item does not exist, or no more.
    #[error("it is gone")]
    Gone,
    /// What was entered cannot be used; the text is for the person.
    #[error("{0}")]
    Refused(String),
    /// A service does not answer; the text begins a sentence.
    #[error("{0} cannot be reached right now")]
    Away(&'static str),
    /// The form does not come from our page, or its session has ended.
    #[error("the form is out of date")]
    Stale,
    /// A service gave an unexpected answer, which was logged.
    #[error("something failed")]
    Failed,
    #[error(transparent)]
    Request(#[from] Problem),
}

impl Error {
    /// The status of an answer with this error.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::SignedOut => StatusCode::SEE_OTHER,
            Self::Gone => StatusCode::NOT_FOUND,
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Stale => StatusCode::FORBIDDEN,
            Self::Failed | Self::Request(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// What a person should know, and can do.
    pub(crate) fn notice(&self) -> String {
        match self {
            Self::SignedOut => "Please sign in.".to_owned(),
            Self::Gone => {
                "This is not there any more. Perhaps another window removed it.".to_owned()
            }
            Self::Refused(text) => text.clone(),
            Self::Away(what) => {
                format!("{what} cannot be reached right now. Nothing is lost; please try again.")
            }
            Self::Stale => "This form was out of date. Please try again.".to_owned(),
            Self::Failed | Self::Request(_) => {
                "That did not work, and it is our fault. Please try again.".to_owned()
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::SignedOut => (StatusCode::SEE_OTHER, [(LOCATION, "/sign-in")]).into_response(),
            Self::Request(problem) => problem.into_response(),
            error => {
                let again = matches!(error, Self::Away(_));
                views::answer(error.status(), views::notice_page(&error.notice(), again))
            }
        }
    }
}
