//! A service of the plan as `--dry-run --json` and `explain --json` show it.
//!
//! Names and meanings are stable here. The plan itself has no stable format: it is exchanged only
//! between client and supervisor of one version.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use xtask_core::plan::{Deploy, Probe, Program, Service};
use xtask_core::terms::{Adopt, Condition, Kind, Name, Placement, Restart};

use super::setting::{SettingJson, Values, place};

/// One service or job with all its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ServiceJson {
    /// Its name, unique in the stack.
    name: Name,
    /// `service` or `job`.
    kind: Kind,
    /// `FILE:LINE` of its declaration, relative to the workspace root.
    declared: String,
    program: ProgramJson,
    /// `process` or `container`.
    placement: Placement,
    /// Its arguments, in order.
    args: Vec<SettingJson>,
    /// The variables that the plan sets, by name; the rest is the caller's environment.
    env: BTreeMap<String, SettingJson>,
    /// The working folder, absolute.
    cwd: String,
    /// Its ports, in order of declaration.
    ports: Vec<PortJson>,
    /// Its default address, null without one; `?` stands for a port chosen at the start.
    url: Option<String>,
    /// Whether the tool binds the ports and the service inherits the sockets.
    socket_activation: bool,
    /// Dependencies that it waits for.
    depends_on: Vec<DependencyJson>,
    /// Services whose address it gets without waiting.
    uses: Vec<UseJson>,
    /// All of these must pass; an empty list means ready when started.
    probes: Vec<ProbeJson>,
    /// The longest interval between two `WATCHDOG=1`, in milliseconds.
    watchdog_ms: Option<u128>,
    /// Paths of this machine that its container mounts.
    volumes: Vec<VolumeJson>,
    /// Arguments that make its program check its own health.
    self_probe: Vec<String>,
    /// Settings for engines that run on several machines.
    deploy: DeployJson,
    /// `no`, `on-failure` or `always`.
    restart: Restart,
    /// The signal that stops it.
    stop_signal: String,
    /// Time from the stop signal to SIGKILL, in milliseconds.
    stop_timeout_ms: u128,
    /// The longest time from start to ready, in milliseconds.
    start_timeout_ms: u128,
    /// Size at which its log is rotated, in bytes.
    log_size_bytes: u64,
    /// Number of rotated logs that are kept.
    log_files: u32,
    /// `same-binary`, `any` or `never`.
    adopt: Adopt,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
enum ProgramJson {
    /// A binary of the workspace.
    Binary {
        /// The package's name.
        package: String,
        /// The binary's name.
        binary: String,
    },
    Command {
        /// A path, or a name that is looked up in `PATH`.
        program: SettingJson,
    },
    /// Not started by the tool, only probed.
    External,
    /// A container image.
    Image {
        /// Reference of the image.
        image: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PortJson {
    name: String,
    /// The address to bind and to call.
    host: String,
    /// The number, null for any free one.
    number: Option<u16>,
    /// `FILE:LINE`.
    declared: String,
}

/// A dependency that the service waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DependencyJson {
    service: Name,
    /// `ready`, `started` or `succeeded`.
    condition: Condition,
    /// Whether the dependent is restarted when the dependency is.
    restart: bool,
    /// `FILE:LINE`.
    declared: String,
}

/// A service whose address the service gets without waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct UseJson {
    /// The used service.
    service: Name,
    /// Whether `--cycles relax` turned a `depends-on` into this `uses`.
    relaxed: bool,
    /// `FILE:LINE`.
    declared: String,
}

/// Settings for engines that run on several machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DeployJson {
    /// Number of copies.
    replicas: u32,
    /// Memory limit of a copy, in bytes.
    memory_bytes: Option<u64>,
    /// CPU limit of a copy, in thousandths of a processor.
    cpu_millis: Option<u32>,
}

/// A path of this machine that a container mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct VolumeJson {
    /// The path in the container.
    inside: String,
    /// The path on this machine.
    outside: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
enum ProbeJson {
    /// `READY=1` from the service.
    Notify,
    /// An answer with an expected status.
    Http {
        path: String,
        /// Statuses that mean ready.
        status: Vec<u16>,
        /// The name of the port.
        port: Option<String>,
    },
    /// An accepted connection.
    Tcp {
        /// The name of the port.
        port: Option<String>,
    },
    /// A line that matches.
    Log {
        /// A regular expression.
        pattern: String,
    },
    /// A command that exits with 0.
    Command {
        /// Program and arguments.
        command: Vec<String>,
    },
}

impl ServiceJson {
    pub(crate) fn new(values: &Values<'_>, service: &Service) -> Self {
        let ms = |duration: Duration| duration.as_millis();
        let env = service.env.iter();
        Self {
            name: service.name.clone(),
            kind: service.kind,
            declared: place(&service.declared),
            program: program(values, &service.program),
            placement: service.placement,
            args: service.args.iter().map(|arg| SettingJson::new(values, arg)).collect(),
            env: env.map(|(name, s)| (name.clone(), SettingJson::new(values, s))).collect(),
            cwd: service.cwd.clone(),
            ports: ports(service),
            url: service.url.as_ref().map(|url| values.text(url)),
            socket_activation: service.socket_activation,
            depends_on: dependencies(service),
            uses: uses(service),
            probes: service.probes.iter().map(|p| probe(values, service, p)).collect(),
            watchdog_ms: service.watchdog.map(ms),
            volumes: volumes(service),
            self_probe: service.self_probe.clone(),
            deploy: deploy(service),
            restart: service.restart,
            stop_signal: service.stop.signal.clone(),
            stop_timeout_ms: ms(service.stop.timeout),
            start_timeout_ms: ms(service.start_timeout),
            log_size_bytes: service.log.size_bytes,
            log_files: service.log.files,
            adopt: service.adopt,
        }
    }
}

fn program(values: &Values<'_>, program: &Program) -> ProgramJson {
    match program {
        Program::Artifact { package, binary, .. } => {
            ProgramJson::Binary { package: package.clone(), binary: binary.clone() }
        }
        Program::Command { program } => {
            ProgramJson::Command { program: SettingJson::new(values, program) }
        }
        Program::External => ProgramJson::External,
        Program::Image { image, .. } => ProgramJson::Image { image: image.clone() },
    }
}

fn ports(service: &Service) -> Vec<PortJson> {
    let json = |port: &xtask_core::plan::Port| PortJson {
        name: port.name.clone(),
        host: port.host.clone(),
        number: port.number,
        declared: place(&port.declared),
    };
    service.ports.iter().map(json).collect()
}

fn dependencies(service: &Service) -> Vec<DependencyJson> {
    let json = |edge: &xtask_core::plan::Dependency| DependencyJson {
        service: edge.on.clone(),
        condition: edge.condition,
        restart: edge.restart,
        declared: place(&edge.declared),
    };
    service.depends_on.iter().map(json).collect()
}

fn uses(service: &Service) -> Vec<UseJson> {
    let json = |edge: &xtask_core::plan::Use| UseJson {
        service: edge.of.clone(),
        relaxed: edge.relaxed,
        declared: place(&edge.declared),
    };
    service.uses.iter().map(json).collect()
}

fn deploy(service: &Service) -> DeployJson {
    let Deploy { replicas, memory_bytes, cpu_millis } = service.deploy;
    DeployJson { replicas, memory_bytes, cpu_millis }
}

fn volumes(service: &Service) -> Vec<VolumeJson> {
    let json = |volume: &xtask_core::plan::Volume| VolumeJson {
        inside: volume.inside.clone(),
        outside: volume.outside.clone(),
    };
    service.volumes.iter().map(json).collect()
}

fn probe(values: &Values<'_>, service: &Service, probe: &Probe) -> ProbeJson {
    let name = |port: usize| service.ports.get(port).map(|port| port.name.clone());
    match probe {
        Probe::Notify => ProbeJson::Notify,
        Probe::Http { path, status, port } => {
            ProbeJson::Http { path: path.clone(), status: status.clone(), port: name(*port) }
        }
        Probe::Tcp { port } => ProbeJson::Tcp { port: name(*port) },
        Probe::Log { pattern } => ProbeJson::Log { pattern: pattern.clone() },
        Probe::Command { command } => {
            ProbeJson::Command { command: command.iter().map(|word| values.text(word)).collect() }
        }
    }
}
