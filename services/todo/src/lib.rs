//! The service `todo` as a library, so that tests call the router without a socket.
//!
//! Other services never link it: they call it over HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod bodies;
pub mod changes;
mod error;
pub mod http;
pub mod keys;
mod places;
pub mod store;
