//! The plan: what will be built and started, with which command, environment and
//! address, in which order. Data, printable, and the same for the same input.
//!
//! The only thing a plan does not know is a port that is chosen when its socket is
//! bound; [`Text`] keeps a hole for it. A plan does not look at the shell, the
//! clock or what runs already.

mod address;
mod assemble;
mod build;
mod envfile;
mod environment;
mod flags;
mod make;
mod part;
mod paths;
mod probes;
mod request;
mod scope;
mod select;
mod service;
pub mod text;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

pub use make::{Files, check, check_patterns, make, tidy};
pub use part::Inseparable;
pub use request::{
    Building, Containers, Cycles, Isolation, Outcome, Ports, Repair, Request, ShellOverride,
};
pub use service::{
    Dependency, Deploy, LogLimits, Port, Probe, Program, Service, Setting, Source, Stop, Use,
    Volume,
};
pub use text::{Piece, Text};

use crate::terms::Name;

/// What one `up` wants, complete.
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
    /// The one cargo call, if anything is to be built.
    pub build: Option<Build>,
    /// Every service and job of the closure of what is wanted, dependencies first,
    /// ties in order of name.
    pub services: Vec<Service>,
    /// What images of built programs are built upon; none for nothing.
    #[serde(default)]
    pub base_image: Option<String>,
    /// The services asked for, or the default ones.
    pub wanted: Vec<Name>,
    /// Whether processes of the same programs that were started by hand are stopped to
    /// make room, instead of being adopted or refused. A matter of one start: the caller
    /// says so.
    #[serde(default)]
    pub replace: bool,
    /// What makes this start worse than it need be, for tests.
    #[serde(default)]
    pub faults: Faults,
}

/// Faults of a start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Faults {
    /// In which order services start that could.
    pub start_order: StartOrder,
    /// How much later than it could each of these starts, at each start.
    pub slow: BTreeMap<Name, Duration>,
}

/// In which order services start that could.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartOrder {
    /// Each at once.
    #[default]
    AtOnce,
    /// One after the other: the next is drawn when the one before is ready or given up,
    /// of those that could start then. The same seed, the same order.
    Random {
        /// The seed.
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
        let places: BTreeMap<&Name, usize> =
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
    /// What is to be built: the service's program by package and binary.
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
