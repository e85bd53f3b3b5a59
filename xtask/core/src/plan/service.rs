//! What a plan holds about one service: its program, settings, ports, edges and probes.
//!
//! Types only. [`assemble`](super::assemble) makes them from the metadata.

use crate::sorted::SortedMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Piece, Text};
use crate::terms::{Adopt, Condition, Kind, Name, Place, Placement, Restart};

/// Whether a field has its default. It is then left out, which shortens the plan that a supervisor
/// reads before anything runs.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One service or job of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Service {
    /// Its name, unique in the plan.
    pub name: Name,
    /// Service or job.
    pub kind: Kind,
    /// Whether a job that succeeded is done until its data folder is deleted.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub once: bool,
    /// Where it is declared.
    pub declared: Place,
    /// The program that it runs.
    pub program: Program,
    /// Process or container.
    #[serde(default, skip_serializing_if = "is_default")]
    pub placement: Placement,
    /// Arguments, in order.
    pub args: Vec<Setting>,
    /// Variables that the plan sets, by name.
    pub env: SortedMap<String, Setting>,
    /// The working folder, absolute.
    pub cwd: String,
    /// The account of its process; the caller's without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The package's folder, absolute: its `CARGO_MANIFEST_DIR`. None outside packages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_dir: Option<String>,
    /// Its ports, in order of declaration; may be empty.
    pub ports: Vec<Port>,
    /// The index into `ports` of the default port, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_port: Option<usize>,
    /// Its default address, if it has a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Text>,
    /// The path of its page for a browser, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
    /// Whether the program listens on its declared ports whatever `PORT` is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fixed_port: bool,
    /// Whether the tool binds the ports and the service inherits the sockets.
    pub socket_activation: bool,
    /// The edges that wait.
    pub depends_on: Vec<Dependency>,
    /// The edges that only pass an address.
    pub uses: Vec<Use>,
    /// All of them must pass; empty means ready when started.
    pub probes: Vec<Probe>,
    /// How it is checked while it is ready; none without checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The longest time between two `WATCHDOG=1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Duration>,
    /// Folders of this machine in its container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The arguments with which its program probes itself, for the health check of an image
    /// without a shell; empty if it cannot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub self_probe: Vec<String>,
    /// Copies and limits for `export`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deploy: Deploy,
    /// When it is started again.
    pub restart: Restart,
    /// How it is stopped.
    pub stop: Stop,
    /// How long it may take from start to ready.
    pub start_timeout: Duration,
    /// How much of its output is kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log: LogLimits,
    /// Which running process may replace a run of the tool.
    pub adopt: Adopt,
}

/// How a run is replaced by a new one, with an edit or `restart`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replacement {
    /// The new run is ready on the inherited sockets before the old one stops.
    Handover,
    /// The old run stops first. Callers wait on the inherited sockets for the new one.
    Queue,
    /// The old run stops first. Callers are refused until the new one listens.
    Stop,
}

impl Service {
    /// The services that it depends on or uses.
    pub fn edges(&self) -> impl Iterator<Item = &Name> {
        let depends_on = self.depends_on.iter().map(|edge| &edge.on);
        depends_on.chain(self.uses.iter().map(|used| &used.of))
    }

    /// The names of the ports whose sockets its program inherits.
    #[must_use]
    pub fn inherited_sockets(&self) -> Vec<String> {
        let ports = self.ports.iter().filter(|_| self.socket_activation);
        ports.map(|port| port.name.clone()).collect()
    }

    /// How its present run is replaced by a new one; none for a job, and without a port of its own.
    #[must_use]
    pub fn replacement(&self) -> Option<Replacement> {
        let has_callers = self.kind == Kind::Service
            && !self.ports.is_empty()
            && !matches!(self.program, Program::External);
        has_callers.then(|| {
            let is_process = self.placement == Placement::Process;
            match (self.socket_activation, self.probes.contains(&Probe::Notify)) {
                (true, true) if is_process => Replacement::Handover,
                (true, _) => Replacement::Queue,
                (false, _) => Replacement::Stop,
            }
        })
    }

    /// Whether it cannot follow another port: `fixed-port` is set, or the number of one of its
    /// ports is plain text in its arguments or variables.
    #[must_use]
    pub fn keeps_its_port(&self) -> bool {
        let numbers = || self.ports.iter().filter_map(|port| port.number);
        let is_number = |word: &str| numbers().any(|number| word.parse() == Ok(number));
        let spells_one = |setting: &Setting| {
            setting.value.pieces.iter().any(|piece| match piece {
                Piece::Literal(text) => {
                    text.split(|byte: char| !byte.is_ascii_digit()).any(is_number)
                }
                Piece::Port { .. } => false,
            })
        };
        self.fixed_port || self.args.iter().chain(self.env.values()).any(spells_one)
    }
}

/// The program of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Program {
    /// A binary of the workspace; cargo's artifact message contains its path.
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
    /// Never started, only probed.
    External,
    /// A container image.
    Image {
        /// The image's reference.
        image: String,
        /// The ports inside the container, in the order of the service's ports. They do not
        /// follow the stack's.
        ports: Vec<u16>,
    },
}

/// A value, and its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Setting {
    /// The value of the setting.
    pub value: Text,
    /// The winning source.
    pub source: Source,
    /// Whether all output masks it.
    pub secret: bool,
    /// The sources that lost, highest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Source>,
    /// The declared value of a variable that the shell may override. A run gets the value of the
    /// context that it starts in, which may differ from `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Text>,
}

impl Setting {
    /// The value that the metadata and `-e` declare, whatever the shell sets.
    #[must_use]
    pub fn declared(&self) -> &Text {
        self.declared.as_ref().unwrap_or(&self.value)
    }

    /// Applies the variable of a context, if the shell may override this one.
    pub fn resolve(&mut self, shell: Option<&str>) {
        let Some(declared) = &self.declared else { return };
        if self.source == Source::Shell && !self.overrides.is_empty() {
            self.source = self.overrides.remove(0);
        }
        self.value = declared.clone();
        if let Some(shell) = shell.filter(|shell| declared.to_string() != **shell) {
            self.value = Text::from(shell);
            self.overrides.insert(0, core::mem::replace(&mut self.source, Source::Shell));
        }
    }
}

/// The source of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum Source {
    /// A manifest, or an env-file.
    File {
        /// File and line.
        place: Place,
    },
    /// The caller's environment.
    Shell,
    /// A flag of the command line, as typed.
    Flag {
        /// For example `-e api:RUST_LOG=debug`.
        flag: String,
    },
    /// The tool: the address of a declared dependency, or the service's own.
    Injected,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Port {
    /// Its name; `http` for the one of `port = N`.
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
    /// The service that is depended on.
    pub on: Name,
    /// What the dependent waits for.
    pub condition: Condition,
    /// Whether the dependent restarts when the dependency does.
    pub restart: bool,
    /// Where it is declared.
    pub declared: Place,
}

/// An edge that waits for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Use {
    /// The service whose address is passed.
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
        /// The expected statuses; any 2xx if there are none.
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

/// How a service is checked while it is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// The time between two checks.
    pub every: Duration,
    /// Whether an unhealthy service is restarted.
    pub restart: bool,
}

/// Copies and limits for `export`. `up` ignores them.
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

/// How much of a service's output is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogLimits {
    /// A file is rotated before it exceeds this.
    pub size_bytes: u64,
    /// The number of rotated files that are kept.
    pub files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { size_bytes: 32 << 20, files: 5 }
    }
}

/// A folder or file of this machine in a container.
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
    /// The time until SIGKILL.
    pub timeout: Duration,
}
