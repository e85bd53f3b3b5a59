//! A typed handle to a running stack, for the tool's commands and for tests.
//!
//! It contains the control protocol, the paths of a stack's files, and the readers of its logs.
//! Only the harness for tests starts anything: a stack, by running `cargo xtask`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod called_as;
mod chain;
pub mod connection;
pub mod context;
pub mod handle;
pub mod harness;
pub mod inherited;
pub mod names;
pub mod own_file;
pub mod owners;
pub mod paths;
mod private_folder;
pub mod process_stat;
pub mod protocol;
mod service_logs;
pub mod sources;
pub mod timings;

pub use chain::chain;
pub use connection::{Connection, Error};
pub use handle::{STACK_VARIABLE, Service, Stack};
pub use logs::Mark;
pub use names::workspace_name;
pub use paths::StackPaths;
pub use service_logs::Logs;
pub use xtask_core::snapshot;
pub use xtask_logs as logs;
pub use xtask_logs::escapes;
