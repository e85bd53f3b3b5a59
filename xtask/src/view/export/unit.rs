//! A unit: a planned service with all addresses filled in, in the form that every engine needs.
//!
//! Each container has its own ports, so a port without a fixed number gets any number.

use std::collections::BTreeMap;
use std::time::Duration;

use xtask_core::plan::{Deploy, Plan, Probe, Program, Service, Setting, Text, Volume};
use xtask_core::terms::{Condition, Kind, Name, Placement, Restart};

use super::{Difference, Images};

/// The program of a health check in an image that was not built here.
pub(super) const SHELL: &str = "/bin/sh";

/// The first number for ports without a fixed one.
const FIRST_PORT: u16 = 8080;
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// The name of its host, valid for every engine.
    pub(super) name: String,
    /// The service's name, if it differs.
    pub(super) alias: Option<String>,
    pub(super) kind: Kind,
    pub(super) image: String,
    pub(super) args: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    /// Variables with secrets.
    pub(super) secrets: Vec<Secret>,
    pub(super) ports: Vec<Port>,
    pub(super) volumes: Vec<Mount>,
    pub(super) depends_on: Vec<(String, Condition)>,
    /// HTTP readiness check from outside the container.
    pub(super) http: Option<(String, String)>,
    /// Name of a port that must accept connections to be ready.
    pub(super) tcp: Option<String>,
    /// Readiness command inside the container.
    pub(super) command: Vec<String>,
    pub(super) health: Option<Health>,
    pub(super) restart: Restart,
    pub(super) stop_signal: String,
    pub(super) stop_timeout: Duration,
    pub(super) start_timeout: Duration,
    pub(super) deploy: Deploy,
}

/// The checks of a running container.
#[derive(Clone, Debug)]
pub(super) struct Health {
    /// Path of the request and name of the port; without a path the port must accept connections.
    pub(super) path: Option<String>,
    pub(super) port: String,
    /// The check inside the container; empty if nothing in its image can make it.
    pub(super) command: Vec<String>,
    pub(super) every: Duration,
    /// Whether `up` restarts the unhealthy service.
    pub(super) restart: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Secret {
    pub(super) variable: String,
    /// Name of the engine's secret.
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) number: u16,
    /// Published number, if the metadata fixes one.
    pub(super) published: Option<u16>,
}
#[derive(Clone, Debug)]
pub(super) enum Mount {
    /// The stack's data.
    Data { inside: String, below: String },
    /// A path of the host.
    Machine { inside: String, outside: String },
}

impl Unit {
    /// Whether something inside its container can check it.
    pub(super) fn is_checked_inside(&self) -> bool {
        let health = self.health.as_ref().is_some_and(|health| !health.command.is_empty());
        health || !self.command.is_empty()
    }

    /// Whether it mounts the stack's data.
    pub(super) fn has_data(&self) -> bool {
        self.volumes.iter().any(|mount| matches!(mount, Mount::Data { .. }))
    }
}

/// The units of all services that can be exported, and the differences.
pub(super) fn units(plan: &Plan, images: &Images, differences: &mut Vec<Difference>) -> Vec<Unit> {
    let mut units = Vec::new();
    for service in &plan.services {
        match unit(plan, service, images) {
            Ok(unit) => units.push(unit),
            Err(what) => {
                let (service, what) = (service.name.to_string(), what.to_string());
                differences.push(Difference { service, what });
            }
        }
    }
    let lost = |on: &String| {
        differences.iter().any(|difference| Name::from(&*difference.service).host() == *on)
    };
    for unit in &mut units {
        unit.depends_on.retain(|(on, _)| !lost(on));
    }
    units
}

fn unit(plan: &Plan, service: &Service, images: &Images) -> Result<Unit, &'static str> {
    let (image, program) = match &service.program {
        Program::Artifact { .. } if service.placement == Placement::Process => {
            return Err("not exported: its metadata says `placement = \"process\"`; give it \
                        `image` in an overlay");
        }
        Program::Artifact { binary, .. } => {
            let image = images.references.get(&service.name).ok_or("it has no image")?;
            (image.clone(), Some(format!("{}/{binary}", images.program_folder)))
        }
        Program::Image { image, .. } => (image.clone(), None),
        Program::Command { .. } => {
            return Err("not exported: it is a command of this machine; give it `image` in an \
                        overlay");
        }
        Program::External => return Err("not exported: it is not managed"),
    };
    let text = |text: &Text| render(plan, text);
    let value = |setting: &Setting| text(&setting.value);
    if service.args.iter().any(|arg| arg.secret) {
        return Err("not exported: an argument of it is secret, and engines keep only variables \
                    apart; hand it over in `env`");
    }
    let args: Vec<String> = service.args.iter().map(value).collect();
    let (secret, open): (Vec<_>, Vec<_>) = service.env.iter().partition(|(_, s)| s.secret);
    let env: BTreeMap<String, String> =
        open.into_iter().map(|(name, setting)| (name.clone(), value(setting))).collect();
    let secrets: Vec<Secret> = secret
        .into_iter()
        .map(|(variable, setting)| Secret {
            // Names contain no dot, so two secrets never share a name.
            name: format!("{}.{variable}", service.name),
            variable: variable.clone(),
            value: value(setting),
        })
        .collect();
    let needs_data = args.iter().chain(env.values()).any(|words| names_path(words, &plan.data));
    let ports: Vec<Port> = (0..service.ports.len()).map(|index| port(service, index)).collect();
    let (http, tcp, command) = probes(service, &ports, program.as_deref(), &text);
    Ok(Unit {
        name: service.name.host(),
        alias: service.name.hosts().nth(1),
        kind: service.kind,
        image,
        args,
        env,
        secrets,
        volumes: service.volumes.iter().filter_map(|v| mount(plan, v, needs_data)).collect(),
        depends_on: service
            .depends_on
            .iter()
            .map(|edge| (edge.on.host(), edge.condition))
            .collect(),
        health: health(service, &ports, program.as_deref(), plan.base_image.is_some()),
        http,
        tcp,
        command,
        ports,
        restart: service.restart,
        stop_signal: service.stop.signal.clone(),
        stop_timeout: service.stop.timeout,
        start_timeout: service.start_timeout,
        deploy: service.deploy.clone(),
    })
}

fn render(plan: &Plan, text: &Text) -> String {
    let number =
        |name: &Name, index: usize| plan.service(name).map(|service| port(service, index).number);
    // Every named service is part of the plan.
    text.render(number).unwrap_or_default()
}

fn port(service: &Service, index: usize) -> Port {
    let declared = &service.ports[index];
    let own = match &service.program {
        Program::Image { ports, .. } => ports.get(index).copied(),
        Program::Artifact { .. } | Program::Command { .. } | Program::External => declared.number,
    };
    // Ports without a fixed number get the first numbers that no other port of the service uses.
    let chosen = || {
        let taken = |number: &u16| service.ports.iter().any(|port| port.number == Some(*number));
        let before = service.ports[..index].iter().filter(|port| port.number.is_none()).count();
        (FIRST_PORT..).filter(|number| !taken(number)).nth(before)
    };
    Port {
        name: declared.name.clone(),
        number: own.or_else(chosen).unwrap_or(FIRST_PORT),
        published: declared.number,
    }
}

/// Whether `text` contains the path or one below it.
fn names_path(text: &str, path: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    text.match_indices(path).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + path.len()..].starts_with(is_part)
    })
}

/// The stack's data is one volume, mounted only by services whose settings name it.
fn mount(plan: &Plan, volume: &Volume, needs_data: bool) -> Option<Mount> {
    let Volume { inside, outside } = volume.clone();
    match outside.strip_prefix(&plan.data) {
        Some("") if inside == plan.data && !needs_data => None,
        Some(below) if below.is_empty() || below.starts_with('/') => {
            Some(Mount::Data { inside, below: below.trim_start_matches('/').to_owned() })
        }
        Some(_) | None => Some(Mount::Machine { inside, outside }),
    }
}

type Probes = (Option<(String, String)>, Option<String>, Vec<String>);

/// The readiness checks that an engine can make: HTTP or TCP from outside, a command inside. Notify
/// sockets and log lines work only with this tool.
fn probes(
    service: &Service,
    ports: &[Port],
    program: Option<&str>,
    text: &impl Fn(&Text) -> String,
) -> Probes {
    let (mut http, mut tcp, mut command) = (None, None, Vec::new());
    for probe in &service.probes {
        match probe {
            Probe::Http { path, status, port } => {
                if is_accepted(status) {
                    http = Some((path.clone(), ports[*port].name.clone()));
                } else {
                    tcp = Some(ports[*port].name.clone());
                }
            }
            Probe::Tcp { port } => tcp = Some(ports[*port].name.clone()),
            Probe::Command { command: words } => command = words.iter().map(text).collect(),
            Probe::Notify | Probe::Log { .. } => {}
        }
    }
    if let Some(program) = program
        && !service.self_probe.is_empty()
    {
        let own = std::iter::once(program.to_owned());
        command = own.chain(service.self_probe.iter().cloned()).collect();
    }
    (http, tcp, command)
}

/// Whether engines accept one of these statuses, or the default.
fn is_accepted(statuses: &[u16]) -> bool {
    statuses.is_empty() || statuses.iter().any(|status| (200..400).contains(status))
}

/// The checks that an engine makes while a container runs.
fn health(
    service: &Service,
    ports: &[Port],
    program: Option<&str>,
    has_base_image: bool,
) -> Option<Health> {
    let health = service.health.as_ref()?;
    let Probe::Http { path, status, port } = &health.probe else { return None };
    let port = ports.get(*port)?;
    let own = program.filter(|_| !service.self_probe.is_empty());
    let command = match own {
        Some(program) => {
            let ready = service.probes.iter().find_map(|probe| match probe {
                Probe::Http { path, .. } => Some(path),
                _ => None,
            });
            // The program asks itself for the path of its checks instead of that of `ready`.
            let is_path = |word: &String| match ready {
                Some(ready) => word == ready,
                None => word.starts_with('/'),
            };
            let word = |word: &String| if is_path(word) { path.clone() } else { word.clone() };
            let words = service.self_probe.iter().map(word);
            std::iter::once(program.to_owned()).chain(words).collect()
        }
        // An empty image has no shell.
        None if program.is_some() && !has_base_image => Vec::new(),
        None => {
            let url = format!("http://127.0.0.1:{}{path}", port.number).replace('\'', "%27");
            let asks = format!("wget -q -O /dev/null '{url}' || curl -fsS -o /dev/null '{url}'");
            vec![SHELL.to_owned(), "-c".to_owned(), asks]
        }
    };
    Some(Health {
        path: is_accepted(status).then(|| path.clone()),
        port: port.name.clone(),
        command,
        every: health.every,
        restart: health.restart,
    })
}
