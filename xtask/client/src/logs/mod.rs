//! Log files of a stack: how they are named, what a record is, and reading them.
//!
//! The log of a service is one sequence of records over several files, the newest of
//! which grows. Reading goes on across rotations, never loses its place, and holds no
//! more than one read of one file in memory. Nothing is written here, and nobody is
//! woken when there is more.

mod backwards;
mod files;
mod merge;
mod reader;
mod record;

pub use backwards::{closing_lines, last_lines};
pub use files::{aside, numbers_aside};
pub use merge::{Merge, More};
pub use reader::{Reader, Start};
pub use record::{End, Line, Stream, head};
