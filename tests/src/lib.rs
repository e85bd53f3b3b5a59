//! Shared parts of the end-to-end tests: HTTP clients of the services, unique names, and the tool.
//!
//! It asserts nothing about a single service.

mod api;
mod application;
pub mod browser;
mod name;
pub mod postgres_image;
pub mod receiver;
mod tool;

pub use api::{Answer, Api, database_server};
pub use application::Application;
pub use name::unique;
pub use tool::Workspace;
pub use xtask_client::{Stack, harness, snapshot};
