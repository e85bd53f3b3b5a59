//! Decides once for the whole process whether output has colours.
//!
//! Views always write colours, and the streams remove them.

use anstream::ColorChoice;
use clap_builder::ValueEnum;
use clap_builder::builder::PossibleValue;
use xtask_logs::escapes::Keep;

/// The variable that turns colours of cargo on or off.
pub(crate) const CARGO_VARIABLE: &str = "CARGO_TERM_COLOR";

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ColorWhen {
    #[default]
    Auto,
    Always,
    Never,
}

impl ValueEnum for ColorWhen {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Always, Self::Never]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Auto => ("auto", "On a terminal, unless `CI` or `NO_COLOR` is set"),
            Self::Always => ("always", "Also in pipes and files"),
            Self::Never => ("never", "Not even on a terminal"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

/// Turns colours on or off for the whole process. Returns the value for cargo, which writes to
/// the same terminal; none if cargo decides itself.
pub(crate) fn choose(when: ColorWhen) -> Option<&'static str> {
    let (choice, for_cargo) = match when {
        ColorWhen::Always => (ColorChoice::Always, Some("always")),
        ColorWhen::Never => (ColorChoice::Never, Some("never")),
        ColorWhen::Auto if is_set("CI") || is_set("NO_COLOR") => {
            // A value that the user set applies to cargo alone.
            (ColorChoice::Never, (!is_set(CARGO_VARIABLE)).then_some("never"))
        }
        ColorWhen::Auto => (ColorChoice::Auto, None),
    };
    choice.write_global();
    for_cargo
}

/// Which escapes of a service standard output keeps.
pub(crate) fn kept() -> Keep {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        ColorChoice::Never => Keep::Nothing,
        ColorChoice::Auto | ColorChoice::Always | ColorChoice::AlwaysAnsi => Keep::Colours,
    }
}

/// Whether a variable is neither empty nor `false`.
pub(super) fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false")
}
