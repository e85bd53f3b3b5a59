//! What commands write: what was asked on standard output, the rest on standard error.
//!
//! A reader that goes away is no failure: whoever writes to it ends, and well.

use std::io::{self, IsTerminal, Write};

use rustix::process::{Resource, Rlimit, getrlimit};
use serde::Serialize;

use crate::view::style::{BAD, BOLD, RESET};
use crate::workspace;

use super::color::is_set;
use super::stderr;

/// Writes to standard output, colours taken out where nobody wants them.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn out(text: &str) -> io::Result<()> {
    let mut stream = anstream::stdout().lock();
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stream = io::stdout().lock();
    stream.write_all(bytes)?;
    stream.flush()
}

/// Writes one JSON value and a line's end to standard output.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(out(&line)?)
}

/// As [`json`], over several lines for people.
///
/// # Errors
/// When nobody reads it any more.
pub(crate) fn json_pretty(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(out(&text)?)
}

/// A line of progress on standard error, in the manner of cargo: a verb, then what it
/// is about. Nobody is told when standard error is gone.
pub(crate) fn say(color: &str, verb: &str, text: &str) {
    stderr::write(format!("{}{color}{verb:>12}{RESET} {text}\n", clear_line()));
}

/// A plain message on standard error.
pub(crate) fn tell(text: &str) {
    stderr::write(format!("{}{text}\n", clear_line()));
}

/// Whole lines on standard error, if there are any.
pub(crate) fn tell_all(lines: &str) {
    if !lines.is_empty() {
        tell(lines.trim_end_matches('\n'));
    }
}

/// Cargo may be drawing its progress on the line that is written to.
fn clear_line() -> &'static str {
    if std::io::stderr().is_terminal() && !is_set("CI") { "\r\x1b[K" } else { "" }
}

/// An error with everything that caused it, once.
pub(crate) fn error(error: &anyhow::Error) {
    tell(&format!("{BAD}error{RESET}{BOLD}: {error}{RESET}"));
    for cause in error.chain().skip(1) {
        tell(&format!("  because: {cause}"));
    }
    if let Some(hint) = hint(error) {
        tell(&format!("  {BOLD}hint:{RESET} {hint}"));
    }
}

/// The way out of what the system lacks.
fn hint(error: &anyhow::Error) -> Option<String> {
    let system = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    let no_cargo = matches!(error.downcast_ref(), Some(workspace::Error::NoCargo { .. }));
    match (system?.kind(), system?.raw_os_error()) {
        (io::ErrorKind::NotFound, _) if no_cargo => {
            Some("put the folder of Rust's programs into `PATH`: `PATH=~/.cargo/bin:$PATH`".into())
        }
        (_, Some(libc::EMFILE)) => Some(more_open_files()),
        _ => None,
    }
}

fn more_open_files() -> String {
    match getrlimit(Resource::Nofile) {
        Rlimit { current: Some(now), maximum: Some(most) } if now >= most => {
            format!("root may raise the hard limit of open files, which is {most}: `ulimit -Hn`")
        }
        Rlimit { maximum: Some(most), .. } => format!("`ulimit -n {most}` allows more open files"),
        Rlimit { maximum: None, .. } => "`ulimit -n unlimited` allows more open files".to_owned(),
    }
}

/// What makes no sense, and the way out.
pub(crate) fn error_with_hint(message: &str, hint: &str) {
    tell(&format!("{BAD}error{RESET}{BOLD}: {message}{RESET}\n  {BOLD}hint:{RESET} {hint}"));
}

/// Whether an error only says that nobody reads any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
