//! What a plan holds about one service: its program, settings, ports, edges and probes.
//!
//! Types only. [`assemble`](super::assemble) makes them from the metadata.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Text;
use crate::terms::{Adopt, Condition, Kind, Name, Place, Placement, Restart};

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
