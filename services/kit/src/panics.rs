//! Answers 500 where a handler panics, instead of closing the connection without a word.
//!
//! The panic itself is printed by the standard library; other requests never notice it.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;

/// Runs the handler and catches its panic.
pub(crate) async fn answer(request: Request, next: Next) -> Response {
    let mut handler = pin!(next.run(request));
    // A handler that has panicked is never polled again, so nothing broken is seen.
    let outcome = poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Problem::internal())),
        }
    });
    outcome.await.unwrap_or_else(|problem| {
        tracing::error!("a handler panicked");
        problem.into_response()
    })
}
