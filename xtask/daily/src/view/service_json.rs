//! A service of the plan as `--dry-run --json` and `explain --json` show it.
//!
//! Names and meanings are stable here. The plan itself has no stable format: it is exchanged only
//! between client and supervisor of one version.

use std::time::Duration;
use xtask_core::sorted::SortedMap;

use serde::Serialize;
use xtask_core::plan::{
    Dependency, Deploy, Port, Probe, Program, Replacement, Service, Use, Volume,
};
use xtask_core::terms::{Adopt, Condition, Kind, Name, Placement, Restart};

use super::setting::{SettingJson, Values};

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
    args: Vec<SettingJson>,
    /// The variables that the plan sets, by name; the rest is the caller's environment.
    env: SortedMap<String, SettingJson>,
    /// The working folder, absolute.
    cwd: String,
    ports: Vec<PortJson>,
    /// Its default address, null without one; `?` stands for a port chosen at the start.
    url: Option<String>,
    /// The path of its page for a browser; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<String>,
    /// Whether the program listens on its declared ports whatever `PORT` is.
    fixed_port: bool,
    /// Whether the tool binds the ports and the service inherits the sockets.
    socket_activation: bool,
    /// `handover`: a new run is ready before the old one stops. `queue`: the old run stops first,
    /// and callers wait. `stop`: callers are refused. Null without callers.
    replacement: Option<Replacement>,
    depends_on: Vec<DependencyJson>,
    /// Services whose address it gets without waiting.
    uses: Vec<UseJson>,
    /// All of these must pass; an empty list means ready when started.
    probes: Vec<ProbeJson>,
    /// How it is checked while it is ready, null without checks.
    health: Option<HealthJson>,
    /// The longest interval between two `WATCHDOG=1`, in milliseconds.
    watchdog_ms: Option<u128>,
    /// Paths of this machine that its container mounts.
    volumes: Vec<Volume>,
    /// Arguments that make its program check its own health.
    self_probe: Vec<String>,
    #[serde(with = "DeployJson")]
    deploy: Deploy,
    /// `no`, `on-failure` or `always`.
    restart: Restart,
    stop_signal: String,
    /// Time from the stop signal to SIGKILL, in milliseconds.
    stop_timeout_ms: u128,
    /// The longest time from start to ready, in milliseconds.
    start_timeout_ms: u128,
    /// Size at which its log is rotated, in bytes.
    log_size_bytes: u64,
    log_files: u32,
    /// `same-binary`, `any` or `never`.
    adopt: Adopt,
    /// The account of its process; null for the caller's.
    user: Option<String>,
    /// Whether a job that succeeded is done until its data folder is deleted.
    once: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
enum ProgramJson {
    Binary { package: String, binary: String },
    Command { program: SettingJson },
    External,
    Image { image: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PortJson {
    name: String,
    /// The address to bind and to call.
    host: String,
    /// The number, null for any free one.
    number: Option<u16>,
    declared: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DependencyJson {
    service: Name,
    /// `ready`, `started` or `succeeded`.
    condition: Condition,
    /// Whether the dependent is restarted when the dependency is.
    restart: bool,
    declared: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct UseJson {
    service: Name,
    /// Whether `--cycles relax` turned a `depends-on` into this `uses`.
    relaxed: bool,
    declared: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(remote = "Deploy")]
struct DeployJson {
    replicas: u32,
    memory_bytes: Option<u64>,
    /// CPU limit of a copy, in thousandths of a processor.
    cpu_millis: Option<u32>,
}

/// `status` contains all statuses that mean ready, `pattern` is a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
enum ProbeJson {
    Notify,
    Http { path: String, status: Vec<u16>, port: Option<String> },
    Tcp { port: Option<String> },
    Log { pattern: String },
    Command { command: Vec<String> },
}

/// The checks of a ready service: what is asked, and how often in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct HealthJson {
    probe: ProbeJson,
    every_ms: u128,
    /// Whether an unhealthy service is restarted.
    restart: bool,
}

impl ServiceJson {
    pub(crate) fn new(values: &Values<'_>, service: &Service) -> Self {
        let ms = |duration: Duration| duration.as_millis();
        let env = service.env.iter();
        let port = |port: &Port| PortJson {
            name: port.name.clone(),
            host: port.host.clone(),
            number: port.number,
            declared: port.declared.to_string(),
        };
        let dependency = |edge: &Dependency| DependencyJson {
            service: edge.on.clone(),
            condition: edge.condition,
            restart: edge.restart,
            declared: edge.declared.to_string(),
        };
        let used = |edge: &Use| UseJson {
            service: edge.of.clone(),
            relaxed: edge.relaxed,
            declared: edge.declared.to_string(),
        };
        Self {
            name: service.name.clone(),
            kind: service.kind,
            declared: service.declared.to_string(),
            program: program(values, &service.program),
            placement: service.placement,
            args: service.args.iter().map(|arg| SettingJson::new(values, arg)).collect(),
            env: env.map(|(name, s)| (name.clone(), SettingJson::new(values, s))).collect(),
            cwd: service.cwd.clone(),
            ports: service.ports.iter().map(port).collect(),
            url: service.url.as_ref().map(|url| values.text(url)),
            open: service.open.clone(),
            fixed_port: service.fixed_port,
            socket_activation: service.socket_activation,
            replacement: service.replacement(),
            depends_on: service.depends_on.iter().map(dependency).collect(),
            uses: service.uses.iter().map(used).collect(),
            probes: service.probes.iter().map(|p| probe(values, service, p)).collect(),
            health: service.health.as_ref().map(|health| HealthJson {
                probe: probe(values, service, &health.probe),
                every_ms: ms(health.every),
                restart: health.restart,
            }),
            watchdog_ms: service.watchdog.map(ms),
            volumes: service.volumes.clone(),
            self_probe: service.self_probe.clone(),
            deploy: service.deploy.clone(),
            restart: service.restart,
            stop_signal: service.stop.signal.clone(),
            stop_timeout_ms: ms(service.stop.timeout),
            start_timeout_ms: ms(service.start_timeout),
            log_size_bytes: service.log.size_bytes,
            log_files: service.log.files,
            adopt: service.adopt,
            user: service.user.clone(),
            once: service.once,
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
