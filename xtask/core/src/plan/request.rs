//! What the caller wants of a plan, and what comes back.
//!
//! Flags arrive as they were typed: what they mean is decided where the metadata is
//! known. Nothing here looks at the command line.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::{Plan, StartOrder};
use crate::manifest::TextAt;
use crate::problem::Problem;
use crate::terms::Name;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The stack's name.
    pub stack: String,
    /// Whether it is the one that people use, or apart from everything.
    pub isolation: Isolation,
    /// The stack's data folder, absolute.
    pub data: String,
    /// The services named; none for the default ones.
    pub services: Vec<String>,
    /// `--with NAME`.
    pub overlays: Vec<String>,
    /// `-e [service:]KEY=VALUE`, as typed.
    pub variables: Vec<String>,
    /// What stands after `--`.
    pub args: Vec<String>,
    /// Which ports to take.
    pub ports: Ports,
    /// Which services run in containers.
    pub containers: Containers,
    /// What to do with a cycle that cannot start.
    pub cycles: Cycles,
    /// `--start-order random`, with its seed.
    pub start_order: StartOrder,
    /// `--slow SERVICE=TIME`, as typed.
    pub slow: Vec<String>,
    /// Flags passed on to cargo: `--release`, `--locked`.
    pub cargo_args: Vec<String>,
    /// Whether to build.
    pub building: Building,
    /// The caller's environment.
    pub shell: BTreeMap<String, String>,
}

/// Whether a stack is the default one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The default stack: the ports as declared, and the shell's variables win.
    #[default]
    Shared,
    /// Any free ports, and nothing of the shell that the plan sets.
    Isolated,
    /// Not on this machine: the ports as declared, and nothing of its shell.
    Elsewhere,
}

/// Which ports the services of the default stack get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Those declared.
    #[default]
    Declared,
    /// Any free ones.
    Auto,
}

/// Which services run in containers; those of an image always do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Containers {
    /// No others.
    #[default]
    None,
    /// All whose program is built here.
    All,
    /// Those named, as typed.
    Named(Vec<String>),
}

/// What to do with a cycle that cannot start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cycles {
    /// It is an error.
    #[default]
    Refuse,
    /// Its repair holds for this one start, with a warning.
    Relax,
}

/// Whether programs are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Building {
    /// All programs of the plan.
    #[default]
    Build,
    /// None: what lies in the target folder is used.
    Skip,
}

/// What planning ended in.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The plan, unless a problem is an error.
    pub plan: Option<Plan>,
    /// Errors and warnings, in order of file and place.
    pub problems: Vec<Problem>,
    /// Variables of the plan that the shell overrides.
    pub notices: Vec<ShellOverride>,
    /// The edges whose change to `uses` would make every cycle startable.
    pub repairs: Vec<Repair>,
}

/// A variable whose value the shell gives instead of the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShellOverride {
    /// The variable.
    pub variable: String,
    /// The services that get it.
    pub services: Vec<Name>,
}

/// One `depends-on` to turn into `uses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The dependent.
    pub from: Name,
    /// The dependency, at its place in the dependent's manifest.
    pub to: TextAt,
    /// The keys that lead to the table with the `depends-on`: `package`, `metadata`,
    /// `service`.
    pub table: Vec<String>,
}
