//! Output of commands: the result on standard output, everything else on standard error.
//!
//! All text passes [`visible`]: names, command lines and values come from anywhere. The tool's name
//! is inserted as the user typed it. The lines of a message after the first are indented, so that
//! none of them looks like a message of its own.
//!
//! A broken pipe on standard output ends the command with success. Errors on standard error are
//! ignored.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd as _;

use anyhow::Context as _;
use serde::Serialize;
use xtask_control::called_as::{named, named_json};

use crate::system::async_fd;
use crate::view::style::{BAD, BOLD, RESET};
use crate::view::visible::{visible, visible_json};

use super::color::is_set;
use super::{screen, stderr};

/// Writes to standard output. The stream removes colours that [`super::color`] turned off.
pub fn out(text: &str) -> io::Result<()> {
    write(&visible(&named(text)))
}

fn write(text: &str) -> io::Result<()> {
    above(|| {
        let mut stream = anstream::stdout().lock();
        stream.write_all(text.as_bytes())?;
        stream.flush()
    })
}

/// Whether standard error shows colours.
pub(crate) fn has_colour() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Whether a user can answer a question: standard input and standard error are a terminal, and it
/// is no continuous integration.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && !is_set("CI")
}

/// Asks a question on standard error, and returns whether the answer is `y` or `yes`. An empty
/// answer and the end of the input mean no.
pub(crate) fn ask(question: &str) -> anyhow::Result<bool> {
    stderr::write(format!("{}{} [y/N] ", clear_line(), indented(question, "  ")));
    let mut answer = String::new();
    if io::stdin().read_line(&mut answer).context("failed to read the answer")? == 0 {
        // The next line begins below the question.
        stderr::write("\n".to_owned());
    }
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes to standard output, above the live lines if both are on the terminal.
fn above(write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match screen::is_on() && io::stdout().is_terminal() {
        true => screen::above(write),
        false => write(),
    }
}

/// Writes bytes to standard output unchanged.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    above(|| {
        let mut stream = io::stdout().lock();
        stream.write_all(bytes)?;
        stream.flush()
    })
}

/// Waits until the reader of standard output has gone. A file has none.
pub(crate) async fn reader_gone() {
    let gone = match io::stdout().as_fd().try_clone_to_owned() {
        Ok(stdout) => async_fd::reader_gone(stdout).await.is_ok(),
        Err(_) => false,
    };
    if !gone {
        std::future::pending().await
    }
}

/// Writes a JSON value and a line break to standard output.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    Ok(write(&visible_json(&named_json(&line)))?)
}

/// As [`json`], indented.
pub fn json_pretty(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(write(&visible_json(&named_json(&text)))?)
}

/// A line of progress on standard error in cargo's manner: a right-aligned verb and an object.
pub fn progress(color: &'static str, verb: &'static str, text: &str) {
    let text = indented(text, "             ");
    stderr::write(format!("{}{color}{verb:>12}{RESET} {text}\n", clear_line()));
}

/// A plain message on standard error.
pub fn line(text: &str) {
    stderr::write(format!("{}{}\n", clear_line(), visible(&named(text))));
}

/// Whole lines on standard error, if there are any.
pub fn lines(text: &str) {
    if !text.is_empty() {
        line(text.trim_end_matches('\n'));
    }
}

/// A text whose lines after the first begin with `indent`.
fn indented(text: &str, indent: &str) -> String {
    visible(&named(text)).trim_end_matches('\n').replace('\n', &format!("\n{indent}"))
}

/// Cargo may be drawing its progress bar on this line.
fn clear_line() -> &'static str {
    if std::io::stderr().is_terminal() && !is_set("CI") && !screen::is_on() {
        "\r\x1b[K"
    } else {
        ""
    }
}

/// An error on standard error, and the way out if there is one.
pub fn error(message: &str, hint: Option<&str>) {
    line(&format!("{BAD}error{RESET}{BOLD}: {}{RESET}", indented(message, "  ")));
    if let Some(text) = hint {
        self::hint(text);
    }
}

/// One command or edit that helps.
pub fn hint(text: &str) {
    line(&format!("  {BOLD}hint:{RESET} {}", indented(text, "    ")));
}
