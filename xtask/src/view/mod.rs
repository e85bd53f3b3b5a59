//! What people and programs get to see, made from data by pure functions.
//!
//! Nothing here asks a supervisor, reads a file or decides anything.

pub(crate) mod event;
pub(crate) mod failure;
pub(crate) mod log;
pub(crate) mod progress;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod status;
pub(crate) mod style;
pub(crate) mod table;
