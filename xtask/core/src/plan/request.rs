//! The request for a plan, and the result of planning.
//!
//! Flags arrive as typed; `flags.rs` decodes them, where the metadata is known.

use crate::sorted::{SortedMap, SortedSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use serde::Serialize;

use super::{KeptFlags, Plan, StartOrder};
use crate::manifest::TextAt;
use crate::problem::Problem;
use crate::terms::Name;

/// A request for a plan.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The stack's name.
    pub stack: String,
    /// Whether it is the default stack, or isolated.
    pub isolation: Isolation,
    /// The stack's data folder, absolute.
    pub data: String,
    /// The stack's secret, the same at each start.
    pub secret: String,
    /// The named services; empty for the default ones.
    pub services: Vec<String>,
    /// `--with NAME`.
    pub overlays: Vec<String>,
    /// `-e [service:]KEY=VALUE`, as typed.
    pub variables: Vec<String>,
    /// The arguments after `--`.
    pub args: Vec<String>,
    /// The service that gets them; none for the only named one.
    pub args_for: Option<String>,
    /// The flags of earlier commands.
    pub kept: KeptFlags,
    /// The services that the stack runs. Their packages keep the features of their dependencies.
    pub running: Vec<Name>,
    /// Declared or free ports.
    pub ports: Ports,
    /// Which services run in containers.
    pub containers: Containers,
    /// How a cycle that cannot start is treated.
    pub cycles: Cycles,
    /// `--start-order random`, with its seed.
    pub start_order: StartOrder,
    /// `--slow SERVICE=TIME`, as typed.
    pub slow: Vec<String>,
    /// Flags for cargo: `--release`, `--locked`.
    pub cargo_args: Vec<String>,
    /// Whether to build.
    pub building: Building,
    /// The caller's environment.
    pub shell: SortedMap<String, String>,
    /// The most bytes of an argument or variable that this machine passes to a program.
    pub longest_text: Option<usize>,
    /// The ports that this machine may give to outgoing connections, to warn of.
    pub outgoing_ports: Vec<RangeInclusive<u16>>,
}

/// Whether a stack is the default one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The default stack: declared ports, and the shell's variables win.
    #[default]
    Shared,
    /// Free ports, and no variable of the shell that the plan sets.
    Isolated,
    /// Not on this machine: declared ports, and no variable of this machine's shell.
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
    /// Only those of an image.
    #[default]
    None,
    /// All services with a program that is built here.
    All,
    /// Those named, as typed.
    Named(Vec<String>),
}

/// How a cycle that cannot start is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cycles {
    /// It is an error.
    #[default]
    Refuse,
    /// It is repaired for this one start, with a warning.
    Relax,
}

/// Whether programs are built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Building {
    /// All programs of the plan.
    #[default]
    Build,
    /// None: the programs in the target folder are used.
    Skip,
}

/// The result of planning.
#[derive(Clone, Debug, Default)]
pub struct Planned {
    /// The plan, unless a problem is an error.
    pub plan: Option<Plan>,
    /// All services of the workspace, in order of name, also those outside the plan.
    pub services: Vec<Name>,
    /// Errors and warnings, in order of file and place.
    pub problems: Vec<Problem>,
    /// Variables of the plan that the shell overrides.
    pub notices: Vec<ShellOverride>,
    /// The edges whose change to `uses` would make every cycle startable.
    pub repairs: Vec<Repair>,
    /// What the metadata says about watching.
    pub watch: WatchedFiles,
}

/// What the metadata says about watching, beside the sources that cargo knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedFiles {
    /// `watch = true` of the workspace: a plain `up` watches the sources.
    pub by_default: bool,
    /// The absolute glob patterns of each service of the plan that has some.
    pub patterns: SortedMap<Name, Vec<String>>,
    /// The files that planning read, such as env-files, also missing ones. Absolute paths.
    pub read: SortedSet<String>,
}

/// A variable for which the shell overrides the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShellOverride {
    /// The name of the variable.
    pub variable: String,
    /// The services that receive it.
    pub services: Vec<Name>,
}

/// One `depends-on` to change to `uses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The service that declares it.
    pub from: Name,
    /// The dependency, at its place in the dependent's manifest.
    pub to: TextAt,
    /// The keys that lead to the table with the `depends-on`: `package`, `metadata`,
    /// `service`.
    pub table: Vec<String>,
}
