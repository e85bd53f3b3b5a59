//! The plan: what will be built and started, with which command, environment and
//! address, in which order. Data, printable, and the same for the same input.
//!
//! The only thing a plan does not know is a port that is chosen when its socket is
//! bound; [`Text`] keeps a hole for it. A plan does not look at the shell, the
//! clock or what runs already.

mod address;
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
pub mod secret;
mod select;
mod service;
pub mod text;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::Name;
pub(crate) use address::is_loopback;
pub use make::{Files, check, check_patterns, make, tidy};
pub use part::Inseparable;
pub use request::{
    Building, Containers, Cycles, Isolation, Outcome, Ports, Repair, Request, ShellOverride,
};
pub use text::{Piece, Text};

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

/// One node of the graph, everything about it decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// Service or job.
    pub kind: Kind,
    /// Where it is declared.
    pub declared: Place,
    /// What is run.
    pub program: Program,
    /// Where it is run.
    #[serde(default)]
    pub placement: Placement,
    /// Arguments, in order.
    pub args: Vec<Setting>,
    /// Variables that the plan sets, by name.
    pub env: BTreeMap<String, Setting>,
    /// The working folder, absolute.
    pub cwd: String,
    /// The package's folder, absolute: its `CARGO_MANIFEST_DIR`. None outside packages.
    pub manifest_dir: Option<String>,
    /// Its ports, in order of declaration; may be empty.
    pub ports: Vec<Port>,
    /// The index into `ports` of the default port, if there is one.
    pub default_port: Option<usize>,
    /// Its default address, if it has a port.
    pub url: Option<Text>,
    /// Whether the tool binds the ports and the service inherits the sockets.
    pub socket_activation: bool,
    /// What it waits for.
    pub depends_on: Vec<Dependency>,
    /// What it only knows the address of.
    pub uses: Vec<Use>,
    /// All of them must pass; empty means ready when started.
    pub probes: Vec<Probe>,
    /// How often the service promised to send `WATCHDOG=1`.
    pub watchdog: Option<Duration>,
    /// What it sees of this machine when it runs in a container.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// The arguments with which its program asks itself whether it is well, for health
    /// checks in images without a shell; none if it cannot.
    #[serde(default)]
    pub self_probe: Vec<String>,
    /// What an engine for more than one machine is told.
    #[serde(default)]
    pub deploy: Deploy,
    /// When it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub stop: Stop,
    /// How long it may take from start to ready.
    pub start_timeout: Duration,
    /// How much is kept of what it prints.
    #[serde(default)]
    pub log: LogLimits,
    /// What may be adopted in its place.
    pub adopt: Adopt,
}

impl Service {
    /// What it depends on and what it uses.
    pub fn edges(&self) -> impl Iterator<Item = &Name> {
        let depends_on = self.depends_on.iter().map(|edge| &edge.on);
        depends_on.chain(self.uses.iter().map(|used| &used.of))
    }
}

/// Service or job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A long-running program.
    Service,
    /// Runs to completion; satisfied by exit 0.
    Job,
}

/// A place for people: file and line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// Relative to the workspace root where it lies below it.
    pub file: String,
    /// Counted from 1.
    pub line: u32,
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What is run for a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Program {
    /// A binary of the workspace: cargo's artifact says where it is.
    Artifact {
        /// Cargo's package id.
        package_id: String,
        /// The package's name.
        package: String,
        /// The binary's name.
        binary: String,
    },
    /// Something else; its arguments are in `args`.
    Command {
        /// A name to look up in `PATH`, or a path.
        program: Setting,
    },
    /// Not managed: only probed.
    External,
    /// A container image.
    Image {
        /// The image's reference.
        image: String,
        /// The numbers on which the image listens, in the order of the service's ports:
        /// they are its own affair, and do not follow the stack's.
        ports: Vec<u16>,
    },
}

/// Where a service runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// On this machine, like any other program.
    #[default]
    Process,
    /// In a container of its own.
    Container,
}

/// A value, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setting {
    /// The value.
    pub value: Text,
    /// Who said so.
    pub source: Source,
    /// Whether it is masked wherever it is shown.
    pub secret: bool,
    /// What it won over, highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Source>,
}

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum Source {
    /// A manifest, or an env-file.
    File {
        /// Where.
        place: Place,
    },
    /// The caller's environment.
    Shell,
    /// A flag of the command line, as typed.
    Flag {
        /// For example `-e api:RUST_LOG=debug`.
        flag: String,
    },
    /// The tool: an address of a declared dependency, or the service's own.
    Injected,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Port {
    /// Its name; the only port of a service is called `http` unless it says otherwise.
    pub name: String,
    /// The address to bind and to call.
    pub host: String,
    /// The number, or none: any free one.
    pub number: Option<u16>,
    /// Where it is declared.
    pub declared: Place,
}

/// An edge that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dependency {
    /// The dependency.
    pub on: Name,
    /// What is waited for.
    pub condition: Condition,
    /// Whether the dependent is restarted when the dependency is.
    pub restart: bool,
    /// Where it is declared.
    pub declared: Place,
}

/// An edge that waits for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Use {
    /// The service whose address is known.
    pub of: Name,
    /// Where it is declared.
    pub declared: Place,
    /// Whether it was a `depends-on` until `--cycles relax`.
    pub relaxed: bool,
}

/// What a dependent waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// All probes passed.
    Ready,
    /// The process runs.
    Started,
    /// The job ended with exit code 0.
    Succeeded,
}

/// One way to find out that a service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Probe {
    /// `READY=1` on the run's own socket.
    Notify,
    /// An answer with an expected status.
    Http {
        /// The path, with its query.
        path: String,
        /// The statuses that count.
        status: Vec<u16>,
        /// The index of the port.
        port: usize,
    },
    /// An accepted connection.
    Tcp {
        /// The index of the port.
        port: usize,
    },
    /// A line of either stream that matches.
    Log {
        /// A regular expression.
        pattern: String,
    },
    /// A command that exits with 0.
    Command {
        /// Program and arguments.
        command: Vec<Text>,
    },
}

/// When a service that ended by itself is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    No,
    /// When it did not end with exit code 0.
    OnFailure,
    /// Whenever it ended.
    Always,
}

/// How a service runs where it is exported to; `up` looks at none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deploy {
    /// How many copies run.
    pub replicas: u32,
    /// The memory that a copy may use, in bytes; none for no limit.
    pub memory_bytes: Option<u64>,
    /// The processors that a copy may use, in thousandths; none for no limit.
    pub cpu_millis: Option<u32>,
}

impl Default for Deploy {
    fn default() -> Self {
        Self { replicas: 1, memory_bytes: None, cpu_millis: None }
    }
}

/// How much is kept of what a service prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogLimits {
    /// A file that would grow beyond this is put aside.
    pub size_bytes: u64,
    /// How many that were put aside stay.
    pub files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { size_bytes: 32 << 20, files: 5 }
    }
}

/// A folder or file of this machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// The path in the container, absolute.
    pub inside: String,
    /// The path on this machine, absolute.
    pub outside: String,
}

/// How a service is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stop {
    /// The first signal, by name: `SIGTERM`.
    pub signal: String,
    /// After this it is killed.
    pub timeout: Duration,
}

/// What may stand in a service's place when it runs already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopt {
    /// A process of the same executable.
    SameBinary,
    /// Whatever passes the probes.
    Any,
    /// Nothing.
    Never,
}
