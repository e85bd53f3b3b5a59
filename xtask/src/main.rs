//! x
#![allow(dead_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]
mod effects;
fn main() {}
