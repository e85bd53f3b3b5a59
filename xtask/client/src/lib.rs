//! A typed handle to a running stack, and what tests need of one.
//!
//! Only the harness for tests starts anything: a stack, by running `cargo xtask`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod handle;
pub mod harness;
mod service_logs;

pub use handle::{STACK_VARIABLE, Service, Stack};
pub use logs::Mark;
pub use service_logs::Logs;
pub use xtask_control::{
    Connection, Error, StackPaths, connection, paths, protocol, workspace_name,
};
pub use xtask_core::snapshot;
pub use xtask_logs as logs;
