//! What every service of this workspace shares: how it gets its socket, says that it is ready,
//! answers, drains, logs, reports problems, stores and calls.
//!
//! It knows nothing about to-do lists or people: no route, table or rule of one service lives
//! here, and no service needs another service's types.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod base_url;
mod body;
pub mod client;
pub mod context;
pub mod database;
pub mod fields;
pub mod limits;
pub mod listener;
pub mod openapi;
mod panics;
pub mod probe;
pub mod problem;
pub mod readiness;
pub mod routes;
pub mod serve;
pub mod service;
pub mod settings;
mod taken;
pub mod telemetry;

pub use base_url::BaseUrl;
pub use client::Client;
pub use context::RequestContext;
pub use database::Database;
pub use fields::Fields;
pub use limits::Limits;
pub use problem::Problem;
pub use routes::Routes;
pub use settings::Settings;
