//! What people and programs get to see, made from data by pure functions.
//!
//! Nothing here asks a supervisor, reads a file or decides anything.

pub(crate) mod explain;
pub(crate) mod plan;
pub(crate) mod problem;
pub(crate) mod service_json;
pub(crate) mod setting;
pub(crate) mod words;
