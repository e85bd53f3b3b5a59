//! The tool as its users meet it: a real binary, in workspaces generated somewhere
//! else, with real builds, processes and sockets.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod programs;
