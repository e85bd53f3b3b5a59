//! The library that every service of this workspace uses: sockets, readiness, serving and
//! draining, settings, logs, problem bodies, storage, and calls to other services.
//!
//! It contains no route, table or rule of a single service.

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
pub mod telemetry;
mod write_timeout;

pub use base_url::BaseUrl;
pub use client::Client;
pub use context::RequestContext;
pub use database::Database;
pub use fields::Fields;
pub use limits::Limits;
pub use problem::Problem;
pub use routes::Routes;
pub use settings::Settings;
