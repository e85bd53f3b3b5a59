//! Tests of the program as a process, on sockets that outlive its runs.
//!
//! What single requests answer is tested without a process, in `http.rs` beside this folder.

#![allow(clippy::unwrap_used)]

mod life;
mod restarts;
mod support;
