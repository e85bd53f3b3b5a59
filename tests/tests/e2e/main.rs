//! Black-box tests of the whole application, through a stack that `cargo xtask` runs.
//!
//! They know no code of the services. Each makes users and lists of its own, so they run at
//! once and in any order; one that takes a service away asks for the stack alone.

#![allow(clippy::unwrap_used)]

#[cfg(target_os = "linux")]
mod alone;
mod common;
mod cycle;
mod durability;
mod faults;
mod isolation;
mod list;
mod logs;
mod sample_data;
mod todo_items;
mod todo_lists;
mod users;
