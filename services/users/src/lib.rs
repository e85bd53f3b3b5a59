//! The parts of the `users` service, as a library so that tests reach the router without a socket.
//!
//! No other crate uses it: services talk over HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod config;
pub mod error;
pub mod http;
pub mod store;
pub mod todo;
