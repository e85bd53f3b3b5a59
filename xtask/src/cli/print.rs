//! Output of commands: the result on standard output, everything else on standard error.
//!
//! A broken pipe on standard output ends the command with success. Errors on standard error are
//! ignored.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::view::style::{BAD, BOLD, RESET};

use super::color::is_set;
use super::stderr;

/// Writes to standard output. The stream removes colours that [`super::color`] turned off.
pub(crate) fn out(text: &str) -> io::Result<()> {
    let mut stream = anstream::stdout().lock();
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// Writes bytes to standard output unchanged.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stream = io::stdout().lock();
    stream.write_all(bytes)?;
    stream.flush()
}

/// Writes a JSON value and a line break to standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(out(&line)?)
}

/// As [`json`], indented.
pub(crate) fn json_pretty(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(out(&text)?)
}

/// A line of progress on standard error in cargo's manner: a right-aligned verb and an object.
pub(crate) fn progress(color: &str, verb: &str, text: &str) {
    stderr::write(format!("{}{color}{verb:>12}{RESET} {text}\n", clear_line()));
}

/// A plain message on standard error.
pub(crate) fn line(text: &str) {
    stderr::write(format!("{}{text}\n", clear_line()));
}

/// Whole lines on standard error, if there are any.
pub(crate) fn lines(text: &str) {
    if !text.is_empty() {
        line(text.trim_end_matches('\n'));
    }
}

/// Cargo may be drawing its progress bar on this line.
fn clear_line() -> &'static str {
    if std::io::stderr().is_terminal() && !is_set("CI") { "\r\x1b[K" } else { "" }
}

/// An error on standard error, and the way out if there is one.
pub(crate) fn error(message: &str, hint: Option<&str>) {
    line(&format!("{BAD}error{RESET}{BOLD}: {message}{RESET}"));
    if let Some(text) = hint {
        self::hint(text);
    }
}

/// One command or edit that helps.
pub(crate) fn hint(text: &str) {
    line(&format!("  {BOLD}hint:{RESET} {text}"));
}
