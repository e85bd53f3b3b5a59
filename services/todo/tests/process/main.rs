//! Tests of the program as a process, on sockets that outlive its runs.
//!
//! `http.rs`, next to this folder, tests single requests without a process.

#![allow(clippy::unwrap_used)]

mod export;
mod lifecycle;
mod restarts;
mod support;
