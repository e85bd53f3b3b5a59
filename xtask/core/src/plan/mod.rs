//! The plan: what is built and started, with which command, environment and address, in
//! which order. Plain data, and the same for the same input.
//!
//! A port that is chosen when its socket is bound is unknown; [`Text`] keeps a hole for it.
//! A plan does not depend on the clock or on running processes.

mod assemble;
mod build;
mod endpoint;
mod envfile;
mod environment;
mod flags;
mod kept;
mod make;
mod part;
mod paths;
mod probes;
mod request;
mod scope;
mod select;
mod service;
pub mod text;
mod watch;

use crate::sorted::{SortedMap, SortedSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

pub use kept::KeptFlags;
pub use make::{Checked, Files, Programs, Unreadable, check, check_patterns, make, tidy};
pub use part::Inseparable;
pub use request::{
    Building, Containers, Cycles, Isolation, Planned, Ports, Repair, Request, ShellOverride,
    WatchedFiles,
};
pub use service::{
    Dependency, Deploy, Health, LogLimits, Port, Probe, Program, Replacement, Service, Setting,
    Source, Stop, Use, Volume,
};
pub use text::{Piece, Text};
pub use watch::check_globs;

use crate::terms::Name;

/// Everything that one `up` builds and starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The version of this format.
    pub version: u32,
    /// The workspace root, absolute.
    pub workspace: String,
    /// The name of the stack.
    pub stack: String,
    /// The stack's data folder, absolute.
    pub data: String,
    /// The one cargo call, if anything is built.
    pub build: Option<Build>,
    /// The wanted services and everything that they need, dependencies first, ties in order of
    /// name.
    pub services: Vec<Service>,
    /// The image that images of built programs are based on, if any.
    #[serde(default)]
    pub base_image: Option<String>,
    /// The services asked for, or the default ones.
    pub wanted: Vec<Name>,
    /// Every service that the metadata declares, if the plan is about the whole stack: running
    /// services that are not declared are stopped. None if the user named services.
    #[serde(default)]
    pub declared: Option<SortedSet<Name>>,
    /// `--replace`: the supervisor stops processes of the same programs that were started by
    /// hand, instead of adopting or refusing them. Holds for one start.
    #[serde(default)]
    pub replace: bool,
    /// Services that get a new run even if nothing changed. Holds for one start.
    #[serde(default)]
    pub restart: Vec<Name>,
    /// The jobs with `once` that the data folder records as done. The supervisor sets it.
    #[serde(default, skip_serializing_if = "SortedSet::is_empty")]
    pub done: SortedSet<Name>,
    /// The number of the context in which its services start. The supervisor assigns it.
    #[serde(default)]
    pub context: u64,
    /// Injected faults of this start, for tests.
    #[serde(default)]
    pub faults: Faults,
}

/// Injected faults of a start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Faults {
    /// The order of services that could start at once.
    pub start_order: StartOrder,
    /// The delay of each of these services, at each start.
    pub slow: SortedMap<Name, Duration>,
}

/// The order of services that could start at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartOrder {
    /// All at once.
    #[default]
    AtOnce,
    /// One after the other. When one is ready or failed, the next is drawn from those that
    /// could start. The same seed gives the same order.
    Random {
        /// The seed of the draw.
        seed: u64,
    },
}

impl Plan {
    /// The value of [`Plan::version`] that this code writes and reads.
    pub const VERSION: u32 = 2;

    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| &*service.name == name)
    }

    /// The services that start together, in groups: each reaches the others of its group
    /// through `depends-on` and `uses`. Dependents from outside wait for all of them.
    #[must_use]
    pub fn rings(&self) -> Vec<Vec<&Name>> {
        let names = self.services.iter().map(|service| &service.name);
        let places: SortedMap<&Name, usize> =
            names.enumerate().map(|(at, name)| (name, at)).collect();
        let edges = self.services.iter().enumerate().flat_map(|(from, service)| {
            service.edges().filter_map(|to| places.get(to)).map(move |to| (from, *to))
        });
        let rings = crate::graph::rings(self.services.len(), edges);
        let name = |at: usize| &self.services[at].name;
        rings.into_iter().map(|ring| ring.into_iter().map(name).collect()).collect()
    }
}

/// The one cargo call that makes every program of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Build {
    /// Arguments after `cargo build --message-format=…`.
    pub args: Vec<String>,
    /// The programs by package and binary.
    pub targets: Vec<Target>,
}

/// A binary target and the services that run it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Cargo's package id, as in its messages.
    pub package_id: String,
    /// The package's name.
    pub package: String,
    /// The binary's name.
    pub binary: String,
    /// The services that run it.
    pub services: Vec<Name>,
}
