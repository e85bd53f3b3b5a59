//! Colours, and whether there are any.
//!
//! Views write escapes always; the streams take them out where nobody wants them, so
//! that no view asks what it writes to.

use std::io::IsTerminal;

use anstream::ColorChoice;
use clap::ValueEnum;
use xtask_client::escapes::Keep;

use super::stderr;

/// Back to normal.
pub(crate) const RESET: &str = "\x1b[0m";
/// Something went well.
pub(crate) const GOOD: &str = "\x1b[1;32m";
/// Something goes on.
pub(crate) const BUSY: &str = "\x1b[1;36m";
/// Something deserves a look.
pub(crate) const WARN: &str = "\x1b[1;33m";
/// Something went wrong.
pub(crate) const BAD: &str = "\x1b[1;31m";
/// Of less interest.
pub(crate) const DIM: &str = "\x1b[2m";
/// Of more interest.
pub(crate) const BOLD: &str = "\x1b[1m";

/// The colours that tell services apart.
pub(crate) const SERVICES: [&str; 6] =
    ["\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m"];

/// The variable by which cargo is told whether to use colours.
pub(crate) const CARGOS: &str = "CARGO_TERM_COLOR";

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, outside continuous integration.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Settles for the whole process whether there are colours. Returns the word for cargo, which
/// writes to the same terminal; none where it is left to see for itself.
pub(crate) fn choose(when: ColorWhen) -> Option<&'static str> {
    let (choice, word) = match when {
        ColorWhen::Always => (ColorChoice::Always, Some("always")),
        ColorWhen::Never => (ColorChoice::Never, Some("never")),
        ColorWhen::Auto if is_set("CI") || is_set("NO_COLOR") => {
            // Who tells cargo something else wants it of cargo alone.
            (ColorChoice::Never, (!is_set(CARGOS)).then_some("never"))
        }
        ColorWhen::Auto => (ColorChoice::Auto, None),
    };
    choice.write_global();
    word
}

/// What of a service's escapes gets to standard output.
pub(crate) fn kept() -> Keep {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        ColorChoice::Never => Keep::Nothing,
        ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => Keep::Colours,
    }
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

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false")
}
