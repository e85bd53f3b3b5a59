//! Makes one service of the plan from its node: everything about it decided.
//!
//! Which services there are and in which order is not its business.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::address::Address;
use super::flags::Variable;
use super::request::Isolation;
use super::scope::{Scope, Use};
use super::{
    Dependency, Deploy, LogLimits, Program, Service, Setting, Source, Stop, Text, Use as Uses,
    Volume, environment, paths, probes,
};
use crate::manifest::TextAt;
use crate::model::{Edge, Runs};
use crate::problem::Problem;
use crate::terms::{Adopt, Kind, Name, Placement, Restart, secret};

/// How long a service may take to get ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a job may take to end: migrations and imports are slower than starts.
const JOB_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a service may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the other services and the command line say of one service.
pub(crate) struct Around<'a> {
    /// Where it runs.
    pub(crate) placement: Placement,
    /// The addresses as this machine sees them, wherever the service runs.
    pub(crate) outside: &'a BTreeMap<Name, Address>,
    /// Edges that count as `uses` this time.
    pub(crate) relaxed: &'a BTreeSet<(Name, Name)>,
    /// Every `-e`.
    pub(crate) flags: &'a [Variable],
    /// Arguments after `--` that are for it.
    pub(crate) args: &'a [String],
    /// Reads a file.
    pub(crate) files: &'a dyn Fn(&str) -> Result<String, String>,
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
    let (uses, depends_on) = edges(scope, around.relaxed);
    let job = node.kind == Kind::Job;
    let service = Service {
        name: node.name.clone(),
        kind: node.kind,
        declared: node.declared.place(),
        program,
        placement: around.placement,
        args,
        env,
        cwd: paths::join(&node.folder, &cwd),
        manifest_dir: node.package.map(|_| node.folder.clone()),
        ports: core::mem::take(&mut address.ports),
        default_port: address.default,
        url: address.url,
        socket_activation: settings.socket_activation.as_ref().is_some_and(|at| at.value),
        depends_on,
        uses,
        probes,
        watchdog: settings.watchdog.as_ref().map(|at| at.value),
        volumes: volumes(scope, around.placement, problems),
        self_probe: settings
            .self_probe
            .iter()
            .flat_map(|words| &words.value)
            .map(|word| scope.fill(word, Use::SelfProbe, problems).text.to_string())
            .collect(),
        deploy: deploy(&settings.deploy),
        restart: value(
            settings.restart.as_ref(),
            if job { Restart::No } else { Restart::OnFailure },
        ),
        stop: Stop {
            signal: settings.stop.signal.as_ref().map_or("SIGTERM", |at| &at.value).to_string(),
            timeout: value(settings.stop.timeout.as_ref(), STOP_TIMEOUT),
        },
        start_timeout: value(
            settings.start_timeout.as_ref(),
            if job { JOB_TIMEOUT } else { START_TIMEOUT },
        ),
        log: LogLimits {
            size_bytes: value(settings.log.size_bytes.as_ref(), LogLimits::default().size_bytes),
            files: value(settings.log.files.as_ref(), LogLimits::default().files),
        },
        adopt: if inside { Adopt::Never } else { adopt(scope, external) },
    };
    (service, overridden)
}

/// Paths of this machine are relative to the folder of the service, like all others. A
/// program that is built here finds the stack's data where it finds it as a process.
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

fn deploy(said: &crate::manifest::keys::Deploy) -> Deploy {
    Deploy {
        replicas: value(said.replicas.as_ref(), Deploy::default().replicas),
        memory_bytes: said.memory_bytes.as_ref().map(|at| at.value),
        cpu_millis: said.cpu_millis.as_ref().map(|at| at.value),
    }
}

/// A stack that is apart from everything takes nobody in; what is not managed is
/// nobody's but its own.
fn adopt(scope: &Scope<'_>, external: bool) -> Adopt {
    let default = if external { Adopt::Any } else { Adopt::SameBinary };
    match scope.request.isolation {
        Isolation::Isolated if !external => Adopt::Never,
        Isolation::Isolated | Isolation::Elsewhere | Isolation::Shared => {
            value(scope.node.settings.adopt.as_ref(), default)
        }
    }
}

fn value<T: Copy>(said: Option<&crate::manifest::At<T>>, default: T) -> T {
    said.map_or(default, |at| at.value)
}

/// What is run, with which arguments.
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
            // One without a number is told among the keys that do not fit.
            let ports = ports.map(|port| port.number.unwrap_or_default()).collect();
            Program::Image { image: scope.path(image, problems), ports }
        }
        // For `Unknown` there is an error already, so that this is never in a plan.
        Runs::External | Runs::Unknown => Program::External,
    };
    words.extend(node.settings.args.iter().flatten());
    let mut args: Vec<Setting> = Vec::new();
    for word in words {
        let before = args.last().map(|setting| setting.value.to_string());
        args.push(setting(scope, word, before.as_deref(), problems));
    }
    for arg in more {
        let before = args.last().map(|setting| setting.value.to_string());
        args.push(Setting {
            value: Text::from(arg.as_str()),
            source: Source::Flag { flag: "--".to_string() },
            secret: secret::argument(arg, before.as_deref()),
            overrides: Vec::new(),
        });
    }
    (program, args)
}

fn setting(
    scope: &Scope<'_>,
    words: &TextAt,
    before: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Setting {
    let value = scope.fill(words, Use::Value, problems).text;
    let secret = secret::argument(&value.to_string(), before);
    Setting { value, source: Source::File { place: words.place() }, secret, overrides: Vec::new() }
}

/// The edges that only use, and those that wait.
fn edges(scope: &Scope<'_>, relaxed: &BTreeSet<(Name, Name)>) -> (Vec<Uses>, Vec<Dependency>) {
    let node = scope.node;
    let is_relaxed = |edge: &&Edge| relaxed.contains(&(node.name.clone(), edge.to.value.clone()));
    let used = |edge: &Edge, relaxed| Uses {
        of: edge.to.value.clone(),
        declared: edge.to.place(),
        relaxed,
    };
    let mut uses: Vec<Uses> = node.uses.iter().map(|edge| used(edge, false)).collect();
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
