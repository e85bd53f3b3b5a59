//! Pure functions to text, JSON and files, for the rare commands.
//!
//! The rules of the views in the library hold here too.

pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod graph;
pub(crate) mod image;
pub(crate) mod schema;
pub(crate) mod timings;
pub(crate) mod trace;
mod trace_words;
pub(crate) mod verify;
pub(crate) mod watch;
