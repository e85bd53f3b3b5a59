//! A stream of server-sent events: one when the lists of a user have changed.
//!
//! The id of an event is the state of the lists. A caller that connects again sends the last one,
//! and the first event says whether it has missed something.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use kit::openapi::{Answers, Operation, Reads};
use kit::serve::Stopping;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::changes::{Follower, State as Lists};
use crate::error::Error;
use crate::keys::Owner;
use crate::store::Store;

/// A stream without events sends a comment after this time, which finds out that the caller is
/// gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream ends after this time, which is less than the lifetime of a token.
const STREAM_TIME: Duration = Duration::from_secs(4 * 60);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The id of the last event that the caller has seen, in the header `Last-Event-ID`.
pub(super) struct LastEvent(Option<String>);

/// An answer that says behind which event a caller follows the changes of what it contains.
pub(super) struct Followable<T>(pub(super) T, pub(super) Option<Lists>);

/// An answer of server-sent events.
pub(super) struct Events(Response);

/// The rest of a stream.
struct Stream {
    follower: Follower,
    /// The first event, until it is sent.
    first: Option<String>,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    end: Instant,
    /// When something was sent last.
    sent: Instant,
}

pub(super) async fn follow(
    State(store): State<Store>,
    owner: Owner,
    LastEvent(last): LastEvent,
    stopping: Stopping,
) -> Result<Events, Error> {
    let follower = store.changes().follow(&owner).await?;
    let missed = last.is_some_and(|last| last != follower.state().to_string());
    let first = event(if missed { "change" } else { "hello" }, &follower);
    let now = Instant::now();
    let stream = Stream {
        follower,
        first: Some(first),
        stopping: Box::pin(stopping.begun()),
        end: now + STREAM_TIME,
        sent: now,
    };
    let events = unfold(stream, async |mut stream| {
        let text = stream.next().await?;
        Some((Ok::<_, Infallible>(text), stream))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok(Events((headers, Body::from_stream(events)).into_response()))
}

impl Stream {
    /// The next text; `None` ends the stream, and the caller connects again.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let changed = tokio::select! {
                () = &mut self.stopping => return None,
                () = sleep_until(self.end) => return None,
                changed = self.follower.changed() => changed,
            };
            let text = match changed {
                Ok(true) => event("change", &self.follower),
                Ok(false) if self.sent.elapsed() < KEEP_ALIVE => continue,
                Ok(false) => ": still here\n\n".to_owned(),
                Err(error) => {
                    tracing::warn!(%error, "failed to read the state of lists");
                    return None;
                }
            };
            self.sent = Instant::now();
            return Some(text);
        }
    }
}

fn event(name: &str, follower: &Follower) -> String {
    format!("id: {}\nevent: {name}\ndata: \n\n", follower.state())
}

impl<S: Send + Sync> FromRequestParts<S> for LastEvent {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let last = parts.headers.get(LAST_EVENT_ID).and_then(|last| last.to_str().ok());
        Ok(Self(last.filter(|last| !last.is_empty()).map(str::to_owned)))
    }
}

impl Reads for LastEvent {
    fn describe(operation: &mut Operation) {
        let text = "The id of the last event: the first event is `change` if something has changed \
                    since, else `hello`.";
        operation.reads_parameter("header", "Last-Event-ID", text, json!({"type": "string"}));
    }
}

impl<T: Answers> Answers for Followable<T> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
        let text = "For `GET /events/{username}`: a stream behind this event begins with `change` \
                    if something has changed since this answer. Absent in an answer of a part.";
        operation.answers_header(StatusCode::OK, "Last-Event-ID", text);
    }
}

impl<T: IntoResponse> IntoResponse for Followable<T> {
    fn into_response(self) -> Response {
        let Self(answer, lists) = self;
        let id = lists.and_then(|lists| HeaderValue::try_from(lists.to_string()).ok());
        let mut response = answer.into_response();
        response.headers_mut().extend(id.map(|id| (LAST_EVENT_ID, id)));
        response
    }
}

impl Answers for Events {
    fn describe(operation: &mut Operation) {
        operation.answers_media("text/event-stream");
    }
}

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        self.0
    }
}
