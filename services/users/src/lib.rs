//! The service `users` as a library, so that tests call the router without a socket.
//!
//! Other services never link it: they call it over HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod accounts;
pub mod bodies;
mod error;
pub mod http;
pub mod passwords;
pub mod store;
pub mod todo;
