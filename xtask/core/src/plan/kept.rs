//! Flags of `up` that a stack keeps until it is shut down.
//!
//! Names that the metadata no longer declares are ignored: the user did not type them now.

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::request::{Containers, Isolation, Ports, Request};
use crate::manifest::Declarations;
use crate::model;
use crate::terms::secret;

/// Flags of `up` that a stack keeps until it is shut down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct KeptFlags {
    /// `--with NAME`.
    pub overlays: Vec<String>,
    /// `-e [service:]KEY=VALUE`, as typed, one for each key.
    pub variables: Vec<String>,
    /// `--ports auto`.
    pub auto_ports: bool,
    /// `--containers`: none without the flag, empty for all services.
    pub containers: Option<SortedSet<String>>,
    /// `--release` or `--profile NAME`.
    pub profile: Option<String>,
    /// `--watch` or `--no-watch`.
    pub watch: Option<bool>,
    /// `SERVICE -- ARGUMENT...`, by service.
    pub arguments: SortedMap<String, Vec<String>>,
}

impl KeptFlags {
    /// These flags, with those of a later command. A later placement, profile or value of a key
    /// wins.
    #[must_use]
    pub fn merge(&self, later: &Self) -> Self {
        let mut overlays = self.overlays.clone();
        for overlay in &later.overlays {
            if !overlays.contains(overlay) {
                overlays.push(overlay.clone());
            }
        }
        Self {
            overlays,
            variables: self.not_typed(&later.variables).chain(&later.variables).cloned().collect(),
            auto_ports: self.auto_ports || later.auto_ports,
            containers: later.containers.clone().or_else(|| self.containers.clone()),
            profile: later.profile.clone().or_else(|| self.profile.clone()),
            watch: later.watch.or(self.watch),
            arguments: self.arguments.clone().into_iter().chain(later.arguments.clone()).collect(),
        }
    }

    /// The kept variables whose key is not among the typed ones.
    fn not_typed<'a>(&'a self, typed: &'a [String]) -> impl Iterator<Item = &'a String> {
        self.variables.iter().filter(|kept| !typed.iter().any(|typed| key(typed) == key(kept)))
    }

    /// The flags as a command line, without those of `typed` and with masked secrets. None if
    /// nothing is left.
    #[must_use]
    pub fn shown(&self, typed: &Self) -> Option<String> {
        let overlays = self.overlays.iter().filter(|overlay| !typed.overlays.contains(overlay));
        let mut words: Vec<String> = overlays.map(|overlay| format!("--with {overlay}")).collect();
        words.extend(
            self.not_typed(&typed.variables).map(|variable| format!("-e {}", masked(variable))),
        );
        if self.auto_ports && !typed.auto_ports {
            words.push("--ports auto".to_string());
        }
        if let Some(names) =
            self.containers.as_ref().filter(|_| typed.containers != self.containers)
        {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            words.push(match names.is_empty() {
                true => "--containers".to_string(),
                false => format!("--containers={}", names.join(",")),
            });
        }
        if let (Some(profile), None) = (&self.profile, &typed.profile) {
            words.push(match profile.as_str() {
                "release" => "--release".to_string(),
                other => format!("--profile {other}"),
            });
        }
        if let (Some(watch), None) = (self.watch, typed.watch) {
            words.push(if watch { "--watch" } else { "--no-watch" }.to_string());
        }
        let arguments = self.arguments.iter();
        let arguments = arguments.filter(|(name, _)| !typed.arguments.contains_key(*name));
        words.extend(arguments.map(|(name, arguments)| {
            let before = core::iter::once(None).chain(arguments.iter().map(|it| Some(&**it)));
            let masked = arguments.iter().zip(before).map(|(argument, before)| {
                if secret::argument(argument, before) { secret::MASK } else { argument }
            });
            format!("{name} -- {}", masked.collect::<Vec<_>>().join(" "))
        }));
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// The request with these flags added, as far as the metadata still knows their names.
    /// Exports ignore them.
    pub(crate) fn add_to(&self, request: &Request, declarations: &Declarations) -> Request {
        let mut out = request.clone();
        if request.isolation == Isolation::Elsewhere {
            out.kept = Self::default();
            return out;
        }
        let known = model::overlays(declarations);
        let kept = self.overlays.iter().filter(|overlay| known.contains(overlay.as_str()));
        let mut overlays: Vec<String> = kept.cloned().collect();
        overlays.extend(request.overlays.iter().filter(|o| !self.overlays.contains(o)).cloned());
        out.overlays = overlays;
        out.kept.variables = self.not_typed(&request.variables).cloned().collect();
        out.kept.arguments.clone_from(&self.arguments);
        if self.auto_ports {
            out.ports = Ports::Auto;
        }
        let declared = |name: &&String| {
            declarations.sections.iter().any(|section| section.name.value == **name)
        };
        out.containers = match (&request.containers, &self.containers) {
            (Containers::None, Some(names)) if names.is_empty() => Containers::All,
            (Containers::None, Some(names)) => {
                Containers::Named(names.iter().filter(declared).cloned().collect())
            }
            (typed, _) => typed.clone(),
        };
        let profiles = ["--release", "--profile"];
        let typed = request.cargo_args.iter().any(|arg| profiles.contains(&arg.as_str()));
        if let Some(profile) = self.profile.as_ref().filter(|_| !typed) {
            out.cargo_args.extend(["--profile".to_string(), profile.clone()]);
        }
        out
    }
}

/// What `-e` sets: `[service:]KEY`.
fn key(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(key, _)| key)
}

fn masked(variable: &str) -> String {
    let Some((key, value)) = variable.split_once('=') else { return variable.to_string() };
    let name = key.rsplit(':').next().unwrap_or(key);
    let shown = if secret::variable(name, value) { secret::MASK } else { value };
    format!("{key}={shown}")
}
