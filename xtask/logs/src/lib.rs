//! The log files of a stack: their names, the format of a record, and readers.
//!
//! The log of a service is one sequence of records in several files; the newest file grows. A
//! reader follows rotations, keeps its position, and has at most one read buffer of one file in
//! memory. This crate neither writes logs nor watches them for changes.
//!
//! It reads every byte that a service prints, so it is optimised also in development builds. It is
//! a crate of its own because a small one is optimised in a second.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod backwards;
pub mod escapes;
mod files;
mod lines;
mod merge;
mod reader;
mod record;

/// The log of the stack's watcher, by a name that no service can have: what cargo prints in its
/// builds, and its own messages.
pub const WATCH_LOG: &str = "+watch";

pub use backwards::{closing_lines, last_lines};
pub use files::{rotated_numbers, rotated_path};
pub use merge::{Merge, More, Wanted};
pub use reader::{Mark, Reader, Start};
pub use record::{End, Record, Stream, head, tool_head};
