//! The parts of the `users` service, as a library so that tests reach the router without a socket.
//!
//! Other crates use it in tests only: services talk over HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod error;
pub mod http;
pub mod store;
pub mod todo;
