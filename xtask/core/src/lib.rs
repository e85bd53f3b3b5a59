//! The part of the tool that decides: from manifest values to a plan, and from
//! events to effects.
//!
//! Data flows one way: [`manifest`] values become a `model`, the model becomes a
//! [`plan`], the plan drives the [`stack`] reducer. Mistakes travel beside it as
//! [`problem`]s. There is deliberately no file, clock, thread, socket or process
//! here, and the crate is `no_std`, so the compiler keeps it that way.
//!
//! # Order of the modules
//!
//! A module imports only modules before it in this list:
//!
//! | module | holds |
//! |---|---|
//! | [`sorted`] | maps and sets that compile to little code |
//! | [`terms`] | the words that all stages share: names, places, hosts, durations, choices |
//! | [`problem`] | a user's mistake as data |
//! | [`manifest`] | what the manifests declare, with the place of every value |
//! | `model` | the services, their sections merged and their names resolved |
//! | `graph` | start order and cycles, on names alone |
//! | [`plan`] | what is built and started, with which command, environment and address |
//! | [`calls`] | open connections between services, and deadlocks |
//! | [`snapshot`] | the state of a stack as data for its readers |
//! | [`stack`] | the reducer: events to effects |
//! | [`record`] | a recorded run of the reducer, and its replay |

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;

// Every other crate of the tool is built after this one, so this is the only error shown.
#[cfg(not(target_os = "linux"))]
compile_error!("this tool runs on Linux only so far");

pub mod calls;
mod graph;
pub mod manifest;
mod model;
pub mod plan;
pub mod problem;
pub mod record;
pub mod snapshot;
pub mod sorted;
pub mod stack;
pub mod terms;
