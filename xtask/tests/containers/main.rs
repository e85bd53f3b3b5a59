//! Containers on the engine of this machine, with images made here from small programs.
//!
//! Where no engine answers these tests are skipped aloud. Everything that they make carries
//! the label of their workspace, by which it is removed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod engine;
mod engines;
mod exports;
mod foreign;
mod images;
mod kubernetes;
mod leftovers;
mod script;
mod stacks;
mod starts;
