//! A line in the supervisor's own log, which is its standard error.
//!
//! The macros of the standard library panic where a line cannot be written, and a full
//! disk must cost words, never a stack.

use std::io::{self, Write};

/// Writes the line. Where it cannot be written there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
