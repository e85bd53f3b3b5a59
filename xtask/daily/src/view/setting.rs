//! Values of a plan for output: known ports filled in, secrets masked, sources as text.
//!
//! Every value of a plan reaches an output through this module, so no secret bypasses the mask.
//! Only `env` prints unmasked values.

use serde::Serialize;
use xtask_core::plan::{Piece, Plan, Setting, Source, Text};
use xtask_core::snapshot::Snapshot;
use xtask_core::terms::Name;
use xtask_core::terms::secret;

/// Resolves port numbers: the bound number, else the fixed one.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    pub plan: &'a Plan,
    pub running: Option<&'a Snapshot>,
}

impl Values<'_> {
    /// The number of a port, if it is known.
    pub(crate) fn port(&self, service: &Name, index: usize) -> Option<u16> {
        let declared = self.plan.service(service)?.ports.get(index)?;
        let running = self.running.and_then(|snapshot| snapshot.service(service));
        let bound = running.and_then(|service| service.ports.get(&declared.name)).copied();
        bound.or(declared.number)
    }

    /// The text with known ports filled in and `?` for the others, or the mask.
    pub(crate) fn text(&self, text: &Text) -> String {
        let out = self.unmasked(text);
        if secret::has_password(&out) { secret::MASK.to_string() } else { out }
    }

    /// As [`Values::text`] without the mask, for comparisons and for `env`.
    pub(crate) fn unmasked(&self, text: &Text) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(literal) => literal.clone(),
            Piece::Port { service, port } => match self.port(service, *port) {
                Some(number) => number.to_string(),
                None => "?".to_owned(),
            },
        };
        text.pieces.iter().map(piece).collect()
    }

    /// The value of a setting, or the mask.
    pub(crate) fn setting(&self, setting: &Setting) -> String {
        if setting.secret { secret::MASK.to_string() } else { self.text(&setting.value) }
    }
}

/// A value and its source, as `--json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SettingJson {
    /// The value; `?` replaces a port that is chosen at the start, and stars replace a secret.
    pub(crate) value: String,
    pub(crate) secret: bool,
    /// The source: `FILE:LINE`, `shell`, `injected`, or the flag as typed.
    pub(crate) source: String,
    /// The overridden sources, highest precedence first, in the same form.
    pub(crate) overrides: Vec<String>,
}

impl SettingJson {
    pub(crate) fn new(values: &Values<'_>, setting: &Setting) -> Self {
        Self {
            value: values.setting(setting),
            secret: setting.secret,
            source: source(&setting.source),
            overrides: setting.overrides.iter().map(source).collect(),
        }
    }
}
pub(crate) fn source(source: &Source) -> String {
    match source {
        Source::File { place } => place.to_string(),
        Source::Shell => "shell".to_string(),
        Source::Flag { flag } => flag.clone(),
        Source::Injected => "injected".to_string(),
    }
}
