//! A line in the supervisor's own log, which is its standard error.
//!
//! The macros of the standard library panic where a line cannot be written, and a full
//! disk must cost words, never a stack.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// What was said last.
static LAST: Mutex<String> = Mutex::new(String::new());

/// Writes the line, unless it is the same as the one before: what goes on failing is said
/// once. Where it cannot be written there is nobody to tell.
pub(crate) fn say(line: &str) {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if *last == line {
        return;
    }
    line.clone_into(&mut last);
    let _ = writeln!(io::stderr(), "{line}");
}
