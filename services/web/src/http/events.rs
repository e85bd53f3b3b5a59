//! A stream of server-sent events: one when another window has changed something.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use kit::serve::Stopping;

use super::App;
use super::page::Visitor;
use crate::error::Error;

/// A stream without events sends a comment after this time, which finds out that the window is
/// closed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A window connects again this long after an interruption.
const HELLO: &str = "retry: 1000\nevent: hello\ndata: \n\n";

pub(super) async fn follow(
    State(app): State<App>,
    visitor: Visitor,
    stopping: Stopping,
) -> Result<Response, Error> {
    let changes = app.live.follow(&visitor.person()?.username);
    let start = (changes, Box::pin(stopping.begun()), true);
    let events = unfold(start, async |(mut changes, mut stopping, is_first)| {
        if is_first {
            return Some((Ok::<_, Infallible>(HELLO), (changes, stopping, false)));
        }
        let text = tokio::select! {
            () = &mut stopping => return None,
            changed = changes.changed() => changed.ok().map(|()| "event: change\ndata: \n\n")?,
            () = tokio::time::sleep(KEEP_ALIVE) => ": still here\n\n",
        };
        Some((Ok(text), (changes, stopping, false)))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events)).into_response())
}
