//! The part of the tool that decides: from manifest values to a plan, and from
//! events to effects.
//!
//! Data flows one way: [`manifest`] values become a [`model`], the model becomes
//! a [`plan`], the plan drives the [`stack`] reducer. Mistakes travel beside it as
//! [`problem`]s. There is deliberately no file, clock, thread, socket or process
//! here, and the crate is `no_std`, so the compiler keeps it that way.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;

// The rest of the tool is built after this crate, so that this is all that is said.
#[cfg(not(target_os = "linux"))]
compile_error!("`cargo xtask` runs on Linux only so far");

pub mod calls;
pub mod chance;
pub mod graph;
pub mod manifest;
pub mod model;
pub mod name;
pub mod plan;
pub mod problem;
pub mod record;
pub mod snapshot;
pub mod stack;
pub mod template;
