//! A typed handle to a running stack, for the tool's commands and for tests.
//!
//! It speaks the control protocol and knows where a stack keeps its files. It
//! decides nothing and starts no service by itself.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod escapes;
pub mod protocol;

pub use xtask_core::snapshot;
