//! Writes the supervisor's own log, which is its standard error.
//!
//! `eprintln!` panics if it cannot write. A full disk must cost log lines, never a stack.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

static LAST: Mutex<String> = Mutex::new(String::new());

/// Writes a line, unless it repeats the previous one: a lasting failure is reported once. A line
/// that cannot be written is discarded.
pub(crate) fn say(line: &str) {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if *last == line {
        return;
    }
    line.clone_into(&mut last);
    let _ = writeln!(io::stderr(), "{line}");
}
