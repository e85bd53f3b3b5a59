//! Answers 500 when a handler panics, instead of closing the connection without an answer.
//!
//! The standard library prints the panic's message. Other requests are not affected.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::problem::Problem;

/// Runs the handler and catches a panic.
pub(crate) async fn catch(request: Request, next: Next) -> Response {
    let mut handler = pin!(next.run(request));
    // A handler that panicked is not polled again, so its broken state is never observed.
    let answer = poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Problem::internal())),
        }
    });
    answer.await.unwrap_or_else(|problem| {
        tracing::error!("a handler panicked");
        problem.into_response()
    })
}
