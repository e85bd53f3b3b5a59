//! The rules of the reducer, one sentence a test.
//!
//! The simulation checks that the rules hold together at any time and in any order.

#![allow(clippy::unwrap_used)]

mod adoption;
mod bring_up;
mod builds;
mod candidates;
mod containers;
mod contexts;
mod crashes;
mod deadlocks;
mod faults;
mod handover;
mod health;
mod late_starts;
mod moves;
mod once;
mod ports;
mod replacement;
mod reports;
mod scenario;
#[path = "../support/mod.rs"]
mod support;
mod take_down;
mod users;
