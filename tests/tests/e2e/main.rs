//! Black-box tests of the application, through a stack that `cargo xtask` runs.
//!
//! They use no code of the services. Each test creates its own users and lists, so tests run in
//! parallel and in any order. A test that stops or kills a service takes the stack exclusively.

#![allow(clippy::unwrap_used)]

mod accounts;
#[cfg(target_os = "linux")]
mod alone;
mod browser;
mod common;
mod cycle;
mod documents;
mod durability;
mod exported;
mod faults;
mod handover;
mod isolation;
mod list;
mod logs;
mod sample_data;
mod todo_items;
mod todo_lists;
mod users;
