//! A stream of server-sent events: one when the lists of the person have changed, in whatever way.
//!
//! The first connection of a window begins behind the event that its page names, since something
//! may have changed while the page was on its way.
//!
//! It forwards the stream of `todo`. When that ends, this one does, and the browser connects again
//! with the id of the last event; so nothing is missed while a service is away.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use kit::form::parameter;
use kit::serve::Stopping;
use tokio::time::timeout;

use super::App;
use super::page::Visitor;
use crate::error::Error;
use crate::upstream::LAST_EVENT_ID;

/// `todo` sends something more often than this, or its connection is broken.
const QUIET_TIME: Duration = Duration::from_secs(40);

/// A window connects again this long after an interruption.
const RETRY: &[u8] = b"retry: 1000\n\n";

/// The same while there is no stream of `todo`.
const RETRY_LATER: &[u8] = b"retry: 3000\n\n";

pub(super) async fn follow(
    State(app): State<App>,
    visitor: Visitor,
    uri: Uri,
    headers: HeaderMap,
    stopping: Stopping,
) -> Result<Response, Error> {
    let followed = app.store.follow(&visitor.owner()?, last_event(&uri, &headers).as_ref()).await;
    // A browser would give up after an answer that is no stream.
    let first = Bytes::from_static(if followed.is_ok() { RETRY } else { RETRY_LATER });
    let start = (Some(first), followed.ok(), Box::pin(stopping.begun()));
    let events = unfold(start, async |(first, mut todo, mut stopping)| {
        if let Some(first) = first {
            return Some((Ok(first), (None, todo, stopping)));
        }
        let chunk = tokio::select! {
            () = &mut stopping => return None,
            chunk = timeout(QUIET_TIME, todo.as_mut()?.chunk()) => chunk.ok()?,
        };
        let chunk = chunk.transpose()?;
        Some((chunk, (None, todo, stopping)))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events)).into_response())
}

/// The last event that the window knows. A browser that connects again sends a header, and knows
/// no other address than that of the page.
fn last_event(uri: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    let of_page = || HeaderValue::try_from(parameter(uri, "after")?).ok();
    headers.get(LAST_EVENT_ID).cloned().or_else(of_page)
}
