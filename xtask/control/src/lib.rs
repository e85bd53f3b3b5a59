//! How a process reaches a running stack: the control protocol, and the paths of a stack's files.
//!
//! The tool's commands and the handle for tests share it. Nothing here starts a stack.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod called_as;
mod cargo;
mod chain;
pub mod connection;
pub mod context;
pub mod inherited;
pub mod names;
pub mod own_file;
pub mod owners;
pub mod paths;
mod private_folder;
pub mod process_stat;
pub mod protocol;
pub mod sources;
pub mod timings;

pub use cargo::cargo;
pub use chain::chain;
pub use connection::{Connection, Error};
pub use names::workspace_name;
pub use paths::StackPaths;
