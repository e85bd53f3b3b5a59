//! The library that every service of this workspace uses: sockets, readiness, serving and
//! draining, settings, logs, problem bodies, storage, and calls to other services.
//!
//! It contains no route, table or rule of a single service.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod auth;
mod base_url;
mod body;
mod callers;
mod circuit;
pub mod client;
mod context;
mod database;
mod fields;
pub mod form;
mod limits;
mod listener;
mod metrics;
pub mod once;
pub mod openapi;
mod otlp;
pub mod pages;
pub mod paging;
mod panics;
mod places;
mod probe;
pub mod problem;
mod readiness;
mod routes;
pub mod serve;
pub mod service;
pub mod settings;
mod shell;
pub mod tags;
mod telemetry;
mod text_lines;
mod write_timeout;

// The macros of this crate use them.
#[doc(hidden)]
pub use {axum, serde};

pub use base_url::BaseUrl;
pub use callers::Callers;
pub use circuit::CircuitLimits;
pub use client::Client;
pub use context::RequestContext;
pub use database::{Database, Migration, Pool, is_conflict};
pub use fields::{Fields, MAX_INTEGER, check_username, rules};
pub use limits::Limits;
pub use listener::{BindAddress, Listeners, Origin};
pub use once::Once;
pub use openapi::{Created, Written};
pub use paging::{Paging, Span};
pub use problem::Problem;
pub use routes::Routes;
pub use settings::Settings;
pub use shell::Shell;
pub use tags::{IfMatch, Tag, Tagged};
