//! Whether there are colours.
//!
//! It is settled once for the whole process; what is written holds them always.

use anstream::ColorChoice;
use clap::ValueEnum;
use xtask_client::escapes::Keep;

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

/// Whether a variable is there and says yes.
pub(super) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false")
}
