//! Rules between the keys of one service, and between the names of several.
//!
//! They are checked after merging, because an overlay may add the other half of a clash.

use crate::sorted::SortedMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Model, Node};
use crate::manifest::TextAt;
use crate::manifest::at::{is_true, span};
use crate::manifest::keys::Settings;
use crate::manifest::shape::PortWanted;
use crate::problem::{Code, Problem, Span};
use crate::terms::{Kind, variable_prefix};

/// Checks the keys of one service against each other.
pub(super) fn check(node: &Node, problems: &mut Vec<Problem>) {
    let settings = &node.settings;
    let true_span = |key| span(key).filter(|_| is_true(key));
    let activated = true_span(&settings.socket_activation);
    let external = true_span(&settings.external);
    let job = span(&settings.kind).filter(|_| node.kind() == Kind::Job);
    let ports = settings.ports();
    let no_port = ports.is_none_or(|ports| ports.value.is_empty());
    if let Some(external) = external {
        let ready = settings.ready.as_ref();
        let keys = [
            ("kind", job),
            ("notify", ready.filter(|at| at.value.notify).map(|at| &at.span)),
            ("log", ready.and_then(|at| span(&at.value.log))),
            ("socket-activation", activated),
            ("watchdog", span(&settings.watchdog)),
            ("env-file", span(&settings.env_file)),
            ("cwd", span(&settings.cwd)),
            ("user", span(&settings.user)),
            ("watch", settings.watch.first().map(|pattern| &pattern.span)),
            ("env", settings.env.first().map(|(name, _)| &name.span)),
            ("health.restart", health_restart(settings)),
            ("args", settings.args.iter().flatten().next().map(|arg| &arg.span)),
        ];
        excluded("an external service", external, &keys, problems);
        if ready.is_none() && no_port {
            let message = format!("external service `{}` has no port and no probe", node.name);
            let problem = Problem::error(Code::MissingKey, message);
            let hint = "add the `port` that it listens on, or `ready = { command = [\"...\"] }`";
            let text = "the tool only probes an external service";
            problems.push(problem.at(external.clone(), text).hint(hint));
        }
    } else if let Some(job) = job {
        let keys = [
            ("ready", span(&settings.ready)),
            ("health", span(&settings.health)),
            ("watchdog", span(&settings.watchdog)),
            ("socket-activation", activated),
        ];
        excluded("a job", job, &keys, problems);
    }
    once(node, problems);
    user(settings, problems);
    stop(settings, problems);
    image(settings, activated, problems);
    if let Some(span) = activated.filter(|_| no_port) {
        let problem = Problem::error(Code::NoPort, "`socket-activation` needs a port");
        let hint = "add `port = 0`, or remove `socket-activation`";
        problems.push(problem.at(span.clone(), "").hint(hint));
    }
    if let Some(span) = span(&settings.open).filter(|_| no_port) {
        let problem = Problem::error(Code::NoPort, "`open` needs a port");
        let hint = "add the `port` that serves the page, or remove `open`";
        problems.push(problem.at(span.clone(), "").hint(hint));
    }
    fixed_port(node, problems);
    host(settings.host.as_ref(), external.is_some(), problems);
    let names = ports.into_iter().flat_map(|ports| &ports.value).map(|port| port.name.clone());
    clashes("ports", names, problems);
}

/// Reports keys that need a socket which another account cannot reach.
fn user(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(user) = &settings.user else { return };
    let ready = settings.ready.as_ref();
    let keys = [
        ("notify", ready.filter(|at| at.value.notify).map(|at| &at.span)),
        ("watchdog", span(&settings.watchdog)),
    ];
    excluded("a service of another account", &user.span, &keys, problems);
}

/// Reports `once` on anything but a job without a port. A job that is skipped binds no port, so
/// its dependents would have no address of it.
fn once(node: &Node, problems: &mut Vec<Problem>) {
    let settings = &node.settings;
    let Some(once) = span(&settings.once).filter(|_| is_true(&settings.once)) else { return };
    let ports = settings.ports().and_then(|ports| ports.value.first());
    match (node.kind(), ports) {
        (Kind::Service, _) => {
            let message = format!("`once` has no effect on service `{}`", node.name);
            let problem = Problem::error(Code::BothForms, message).at(once.clone(), "");
            problems.push(problem.hint("add `kind = \"job\"`, or remove `once`"));
        }
        (Kind::Job, Some(port)) => {
            let message = "a job with `once` has no port";
            let problem = Problem::error(Code::BothForms, message).at(port.name.span.clone(), "");
            let problem = problem.context(once.clone(), "skipped, it listens on no port");
            problems.push(problem.hint("remove the port, or `once`"));
        }
        (Kind::Job, None) => {}
    }
}

/// Reports a `fixed-port` without a number.
fn fixed_port(node: &Node, problems: &mut Vec<Problem>) {
    let settings = &node.settings;
    let fixed = span(&settings.fixed_port).filter(|_| is_true(&settings.fixed_port));
    let Some(fixed) = fixed else { return };
    let ports = settings.ports().map(|ports| ports.value.as_slice()).unwrap_or_default();
    let is_free = |port: &&PortWanted| port.number.is_none();
    let free = ports.iter().find(is_free).map(|port| &port.name.span);
    if ports.is_empty() || free.is_some() {
        let problem = Problem::error(Code::NoPort, "`fixed-port` needs a port with a number");
        let hint = "add the `port` on which the program listens, or remove `fixed-port`";
        problems.push(problem.at(free.unwrap_or(fixed).clone(), "").hint(hint));
    }
}

/// The place of `restart = true` in `health`.
fn health_restart(settings: &Settings) -> Option<&Span> {
    let restart = settings.health.as_ref().map(|health| &health.value.restart)?;
    span(restart).filter(|_| is_true(restart))
}

/// Reports a stop timeout of zero with a signal other than SIGKILL.
fn stop(settings: &Settings, problems: &mut Vec<Problem>) {
    let timeout = settings.stop.timeout.as_ref().filter(|at| at.value.is_zero());
    let signal = settings.stop.signal.as_ref().map_or("SIGTERM", |at| &at.value);
    if let Some(timeout) = timeout.filter(|_| signal != "SIGKILL") {
        let message = format!("`timeout` must be greater than zero with `{signal}`");
        let hint = "write `timeout = \"10s\"`, or kill at once: `signal = \"SIGKILL\"`";
        let problem = Problem::error(Code::BadValue, message).at(timeout.span.clone(), "");
        problems.push(problem.hint(hint));
    }
}

/// Reports keys that have no effect on an image, whose program decides where it listens.
fn image(settings: &Settings, activated: Option<&Span>, problems: &mut Vec<Problem>) {
    let Some(image) = &settings.image else { return };
    let keys = [
        ("placement", span(&settings.placement)),
        ("socket-activation", activated),
        ("cwd", span(&settings.cwd)),
        ("user", span(&settings.user)),
        ("self-probe", span(&settings.self_probe)),
    ];
    excluded("a service with an image", &image.span, &keys, problems);
    let ports = settings.ports().into_iter().flat_map(|ports| &ports.value);
    for port in ports.filter(|port| port.number.is_none()) {
        let problem = Problem::error(Code::BadValue, "the port of an image needs a number");
        let hint = "write the number that it listens on in its container";
        problems.push(problem.at(port.name.span.clone(), "").hint(hint));
    }
}

/// Reports keys that do not fit the kind of service; `place` makes the service that kind.
fn excluded(what: &str, place: &Span, keys: &[(&str, Option<&Span>)], problems: &mut Vec<Problem>) {
    let reported = no_effect(Code::BothForms, what, keys);
    let makes_it = format!("makes it {what}");
    problems.extend(reported.map(|problem| problem.context(place.clone(), makes_it.clone())));
}

/// The problems of those keys that are set and have no effect on `what`.
pub(super) fn no_effect(
    code: Code,
    what: &str,
    keys: &[(&str, Option<&Span>)],
) -> impl Iterator<Item = Problem> {
    keys.iter().filter_map(move |(key, span)| {
        let message = format!("`{key}` has no effect on {what}");
        let problem = Problem::error(code, message).at((*span)?.clone(), "");
        Some(problem.hint(format!("remove `{key}`")))
    })
}

/// Reports a host that cannot be bound. The tool only calls an external service, so its host
/// may be a name.
fn host(host: Option<&TextAt>, external: bool, problems: &mut Vec<Problem>) {
    let Some(host) = host else { return };
    if host.value.parse::<IpAddr>().is_ok() || (external && !host.value.is_empty()) {
        return;
    }
    let message = format!("`{}` is not an IP address", host.value);
    let problem = Problem::error(Code::BadValue, message).at(host.span.clone(), "");
    problems.push(problem.hint("write `host = \"127.0.0.1\"` or `host = \"::1\"`"));
}

/// Reports services whose names give one variable, or one host name.
pub(super) fn names(model: &Model, problems: &mut Vec<Problem>) {
    let names = model.nodes.iter().map(|node| node.declared.with(node.name.to_string()));
    clashes("services", names, problems);
    let mut seen: SortedMap<String, &Node> = SortedMap::new();
    for node in &model.nodes {
        let host = node.name.host();
        match seen.get(&host) {
            Some(first) if first.name.variable_prefix() != node.name.variable_prefix() => {
                let both = format!("services `{}` and `{}`", first.name, node.name);
                let problem = Problem::error(
                    Code::DuplicateName,
                    format!("{both} have the same host name, `{host}`"),
                );
                let (place, other) = (node.declared.span.clone(), first.declared.span.clone());
                let problem = problem.at(place, "").context(other, "");
                problems.push(problem.hint("rename one of them"));
            }
            Some(_) => {}
            None => {
                seen.insert(host, node);
            }
        }
    }
}

/// Reports names that give one variable.
fn clashes(what: &str, names: impl Iterator<Item = TextAt>, problems: &mut Vec<Problem>) {
    let mut seen: SortedMap<String, TextAt> = SortedMap::new();
    for name in names {
        let prefix = variable_prefix(&name.value);
        match seen.get(&prefix) {
            // `merge` reports two services of one name.
            Some(first) if first.value == name.value => {}
            Some(first) => {
                let both = format!("{what} `{}` and `{}`", first.value, name.value);
                let message = format!("{both} both set the variables `{prefix}_...`");
                let problem = Problem::error(Code::VariableClash, message);
                let problem = problem.at(name.span.clone(), "").context(first.span.clone(), "");
                problems.push(problem.hint("rename one of them"));
            }
            None => {
                seen.insert(prefix, name);
            }
        }
    }
}
