//! A typed handle to a running stack, for the tool's commands and for tests.
//!
//! It speaks the control protocol and knows where a stack keeps its files. It
//! decides nothing and starts no service by itself.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod connection;
pub mod escapes;
pub mod handle;
pub mod harness;
pub mod inherited;
pub mod logs;
pub mod paths;
pub mod process_stat;
pub mod protocol;
mod service_logs;

pub use connection::{Connection, Error};
pub use handle::{STACK_VARIABLE, Service, Stack};
pub use paths::{StackPaths, workspace_name};
pub use service_logs::{LogError, Logs, Mark};
pub use xtask_core::snapshot;
