//! The flags: what is wanted, as typed.

use std::time::Duration;

use crate::refuse;

/// The flag by which the program starts itself as a grandchild.
pub(crate) const HOLD: &str = "--hold";
/// The flag by which it starts itself to leave a grandchild and end.
pub(crate) const FORK_AGAIN: &str = "--fork-again";

/// Where a grandchild is left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Group,
    Session,
    /// A session of its own, and not as a child of ours.
    Daemon,
}

/// What is wanted, as typed.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) args: Vec<String>,
}

impl Wanted {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.args.iter().any(|arg| arg == flag)
    }

    pub(crate) fn text(&self, flag: &str) -> Option<&str> {
        let place = self.args.iter().position(|arg| arg == flag)?;
        match self.args.get(place + 1) {
            Some(value) => Some(value),
            None => refuse(&format!("`{flag}` wants a value")),
        }
    }

    pub(crate) fn number(&self, flag: &str) -> Option<u64> {
        let text = self.text(flag)?;
        match text.parse() {
            Ok(number) => Some(number),
            Err(_) => refuse(&format!("`{flag}` wants a number, not `{text}`")),
        }
    }

    pub(crate) fn pause(&self, flag: &str) -> Option<Duration> {
        self.number(flag).map(Duration::from_millis)
    }

    pub(crate) fn grandchildren(&self) -> impl Iterator<Item = Place> {
        [
            ("--grandchild", Place::Group),
            ("--grandchild-setsid", Place::Session),
            ("--grandchild-daemon", Place::Daemon),
        ]
        .into_iter()
        .filter(|(flag, _)| self.has(flag))
        .map(|(_, place)| place)
    }

    /// Ends the program if a flag is unknown: a test with a typing error must fail.
    pub(crate) fn check(&self) {
        const PLAIN: [&str; 18] = [
            HOLD,
            FORK_AGAIN,
            "--count",
            "--print-args",
            "--print-env",
            "--hide",
            "--ignore-term",
            "--listen-env",
            "--no-reuse",
            "--inherit",
            "--polite",
            "--grandchild",
            "--grandchild-setsid",
            "--grandchild-daemon",
            "--flood-on",
            "--half-line",
            "--junk",
            "--torn",
        ];
        const VALUED: [&str; 19] = [
            "--listen-at",
            "--require-env",
            "--stderr",
            "--print-before-bind",
            "--drain",
            "--boot",
            "--listen-at",
            "--call",
            "--http",
            "--ready-line",
            "--notify-after",
            "--ping",
            "--flood",
            "--line-bytes",
            "--tick",
            "--long-line",
            "--exit-after",
            "--code",
            "--crash-after",
        ];
        let mut args = self.args.iter();
        while let Some(arg) = args.next() {
            if VALUED.contains(&arg.as_str()) {
                args.next();
            } else if !PLAIN.contains(&arg.as_str()) && !self.has("--print-args") {
                refuse(&format!("unknown flag `{arg}`"));
            }
        }
    }
}
