//! Makes one service of the plan from its node.
//!
//! It does not decide which services take part, nor their order.

use crate::sorted::{SortedMap, SortedSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::endpoint::Endpoint;
use super::flags::Variable;
use super::make::Files;
use super::request::Isolation;
use super::scope::{Scope, Slot};
use super::{
    Dependency, Deploy, LogLimits, Program, Service, Setting, Source, Stop, Text, Use, Volume,
    environment, paths, probes,
};
use crate::manifest::TextAt;
use crate::manifest::at::{is_true, value};
use crate::model::{Requirement, Runs};
use crate::problem::Problem;
use crate::terms::{Adopt, Kind, Name, Placement, Restart, secret};

/// The default time from start to ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The default time of a job: migrations and imports are slower than starts.
const JOB_TIMEOUT: Duration = Duration::from_secs(600);
/// The default time until SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the other services and the command line contribute to one service.
pub(crate) struct Around<'a> {
    pub(crate) placement: Placement,
    /// The endpoints as this machine sees them.
    pub(crate) outside: &'a SortedMap<Name, Endpoint>,
    /// Edges that count as `uses` for this start.
    pub(crate) relaxed: &'a SortedSet<(Name, Name)>,
    /// Every `-e`.
    pub(crate) flags: &'a [Variable],
    /// Its arguments after `--`.
    pub(crate) args: &'a [String],
    pub(crate) files: Files<'a>,
}

/// The service, and the variables that the shell overrides.
pub(crate) fn make(
    scope: &Scope<'_>,
    around: Around<'_>,
    problems: &mut Vec<Problem>,
) -> (Service, Vec<String>) {
    let (node, settings) = (scope.node, &scope.node.settings);
    let mut address = around.outside.get(&node.name).cloned().unwrap_or_default();
    let inside = around.placement == Placement::Container;
    let external = matches!(node.program, Runs::External);
    let (program, args) = command(scope, around.args, problems);
    let (env, overridden) = if external {
        Default::default()
    } else {
        environment::variables(scope, around.flags, around.files, problems)
    };
    let cwd = settings.cwd.as_ref().map_or(String::new(), |cwd| scope.path(cwd, problems));
    let probes = probes::probes(scope, &address, problems);
    let health = probes::health(scope, &address, problems);
    let (uses, depends_on) = edges(scope, around.relaxed);
    let (restart, start_timeout) = match node.kind() {
        Kind::Service => (Restart::OnFailure, START_TIMEOUT),
        Kind::Job => (Restart::No, JOB_TIMEOUT),
    };
    let log = LogLimits::default();
    let service = Service {
        name: node.name.clone(),
        kind: node.kind(),
        once: is_true(&settings.once),
        declared: node.declared.place(),
        program,
        placement: around.placement,
        args,
        env,
        cwd: paths::join(&node.folder, &cwd),
        user: settings.user.as_ref().map(|name| name.value.clone()),
        manifest_dir: node.package.map(|_| node.folder.clone()),
        ports: core::mem::take(&mut address.ports),
        default_port: address.default,
        url: address.url,
        open: settings.open.as_ref().map(|path| path.value.clone()),
        fixed_port: is_true(&settings.fixed_port),
        socket_activation: is_true(&settings.socket_activation),
        depends_on,
        uses,
        probes,
        health,
        watchdog: value(&settings.watchdog),
        volumes: volumes(scope, around.placement, problems),
        self_probe: settings
            .self_probe
            .iter()
            .flat_map(|words| &words.value)
            .map(|word| scope.fill(word, Slot::SelfProbe, problems).text.to_string())
            .collect(),
        deploy: deploy(&settings.deploy),
        restart: value(&settings.restart).unwrap_or(restart),
        stop: Stop {
            signal: settings.stop.signal.as_ref().map_or("SIGTERM", |at| &at.value).to_string(),
            timeout: value(&settings.stop.timeout).unwrap_or(STOP_TIMEOUT),
        },
        start_timeout: value(&settings.start_timeout).unwrap_or(start_timeout),
        log: LogLimits {
            size_bytes: value(&settings.log.size_bytes).unwrap_or(log.size_bytes),
            files: value(&settings.log.files).unwrap_or(log.files),
        },
        adopt: if inside { Adopt::Never } else { adopt(scope, external) },
    };
    (service, overridden)
}

/// Paths of this machine are relative to the folder of the service. A program that is built
/// here finds the stack's data at the same path as a process does.
fn volumes(scope: &Scope<'_>, placement: Placement, problems: &mut Vec<Problem>) -> Vec<Volume> {
    let built = matches!(scope.node.program, Runs::Binary(_));
    let data = (built && placement == Placement::Container).then(|| Volume {
        inside: scope.request.data.clone(),
        outside: scope.request.data.clone(),
    });
    let volume = |(inside, outside): &(TextAt, TextAt)| Volume {
        inside: inside.value.clone(),
        outside: paths::join(&scope.node.folder, &scope.path(outside, problems)),
    };
    data.into_iter().chain(scope.node.settings.volumes.iter().map(volume)).collect()
}

fn deploy(set: &crate::manifest::keys::Deploy) -> Deploy {
    Deploy {
        replicas: value(&set.replicas).unwrap_or(Deploy::default().replicas),
        memory_bytes: value(&set.memory_bytes),
        cpu_millis: value(&set.cpu_millis),
    }
}

/// An isolated stack adopts no process. An external service is always used as it is.
fn adopt(scope: &Scope<'_>, external: bool) -> Adopt {
    let default = if external { Adopt::Any } else { Adopt::SameBinary };
    match scope.request.isolation {
        Isolation::Isolated if !external => Adopt::Never,
        Isolation::Isolated | Isolation::Elsewhere | Isolation::Shared => {
            value(&scope.node.settings.adopt).unwrap_or(default)
        }
    }
}

/// The program and its arguments.
fn command(
    scope: &Scope<'_>,
    more: &[String],
    problems: &mut Vec<Problem>,
) -> (Program, Vec<Setting>) {
    let node = scope.node;
    let mut words: Vec<&TextAt> = Vec::new();
    let program = match &node.program {
        Runs::Binary(index) => {
            let package = node.package.map(|package| &scope.model.packages[package]);
            Program::Artifact {
                package_id: package.map(|p| p.id.clone()).unwrap_or_default(),
                package: package.map(|p| p.name.clone()).unwrap_or_default(),
                binary: package.map(|p| p.binaries[*index].name.clone()).unwrap_or_default(),
            }
        }
        Runs::Command(command) => {
            words.extend(&command[1..]);
            Program::Command { program: setting(scope, &command[0], None, problems) }
        }
        Runs::Image(image) => {
            let ports = node.settings.ports().into_iter().flat_map(|ports| &ports.value);
            // The model reports a port without a number.
            let ports = ports.map(|port| port.number.unwrap_or_default()).collect();
            Program::Image { image: scope.path(image, problems), ports }
        }
        // `Unknown` has been reported, so it never reaches a plan.
        Runs::External | Runs::Unknown => Program::External,
    };
    words.extend(node.settings.args.iter().flatten());
    let mut args: Vec<Setting> = Vec::new();
    for word in words {
        let argument = setting(scope, word, args.last(), problems);
        args.push(argument);
    }
    for typed in more {
        let source = Source::Flag { flag: "--".to_string() };
        let argument = argument(Text::from(typed.as_str()), source, args.last());
        args.push(argument);
    }
    (program, args)
}

fn setting(
    scope: &Scope<'_>,
    words: &TextAt,
    before: Option<&Setting>,
    problems: &mut Vec<Problem>,
) -> Setting {
    let value = scope.fill(words, Slot::Value, problems).text;
    let too_long = scope.too_long("this argument", value.to_string().len());
    problems.extend(too_long.map(|problem| problem.at(words.span.clone(), "")));
    let has_secret = scope.has_secret(&value.to_string());
    let argument = argument(value, Source::File { place: words.place() }, before);
    Setting { secret: argument.secret || has_secret, ..argument }
}

fn argument(value: Text, source: Source, before: Option<&Setting>) -> Setting {
    let before = before.map(|setting| setting.value.to_string());
    let secret = secret::argument(&value.to_string(), before.as_deref());
    Setting { value, source, secret, overrides: Vec::new(), declared: None }
}

/// The edges of `uses`, and those of `depends-on`.
fn edges(scope: &Scope<'_>, relaxed: &SortedSet<(Name, Name)>) -> (Vec<Use>, Vec<Dependency>) {
    let node = scope.node;
    let is_relaxed =
        |edge: &&Requirement| relaxed.contains(&(node.name.clone(), edge.to.value.clone()));
    let used = |edge: &Requirement, relaxed| Use {
        of: edge.to.value.clone(),
        declared: edge.to.place(),
        relaxed,
    };
    let mut uses: Vec<Use> = node.uses.iter().map(|edge| used(edge, false)).collect();
    uses.extend(node.depends_on.iter().filter(is_relaxed).map(|edge| used(edge, true)));
    let waits = node.depends_on.iter().filter(|edge| !is_relaxed(edge));
    let depends_on = waits
        .map(|edge| Dependency {
            on: edge.to.value.clone(),
            condition: edge.condition,
            restart: edge.restart,
            declared: edge.to.place(),
        })
        .collect();
    (uses, depends_on)
}
