//! The service `web` as a library, so that tests call the router without a socket.
//!
//! Every page works without JavaScript; `assets/app.js` makes it live.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cookies;
mod error;
pub mod http;
mod store;
mod upstream;
mod views;

pub use store::Store;
pub use upstream::Upstream;
