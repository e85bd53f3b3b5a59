//! Rules between the keys of one service, and between the names of several.
//!
//! They are checked after merging, because an overlay may add the other half of a clash.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Model;
use super::merge::Merged;
use crate::manifest::At;
use crate::manifest::TextAt;
use crate::manifest::keys::Settings;
use crate::problem::{Code, Problem, Span};
use crate::terms::{Kind, Name, variable_prefix};

/// Checks the keys of one service against each other.
pub(super) fn check(merged: &Merged, problems: &mut Vec<Problem>) {
    let settings = &merged.settings;
    let activated = settings.socket_activation.as_ref().filter(|at| at.value).map(|at| &at.span);
    let external = settings.external.as_ref().filter(|at| at.value);
    if merged.kind() == Kind::Job && external.is_none() {
        let keys = [
            ("ready", settings.ready.as_ref().map(|at| &at.span)),
            ("watchdog", settings.watchdog.as_ref().map(|at| &at.span)),
            ("socket-activation", activated),
        ];
        let place = settings.kind.as_ref().map(|at| at.span.clone());
        for (key, span) in keys {
            if let Some(span) = span {
                problems.push(excluded(key, span, "a job", place.clone()));
            }
        }
    }
    if let Some(external) = external {
        let job = settings.kind.as_ref().filter(|at| at.value == Kind::Job);
        let probes = settings.ready.as_ref();
        let keys = [
            ("kind", job.map(|at| &at.span)),
            ("notify", probes.filter(|at| at.value.notify).map(|at| &at.span)),
            ("log", probes.and_then(|at| at.value.log.as_ref()).map(|log| &log.span)),
            ("socket-activation", activated),
            ("watchdog", settings.watchdog.as_ref().map(|at| &at.span)),
            ("env-file", settings.env_file.as_ref().map(|at| &at.span)),
            ("cwd", settings.cwd.as_ref().map(|at| &at.span)),
            ("env", settings.env.first().map(|(name, _)| &name.span)),
            ("args", settings.args.iter().flatten().next().map(|arg| &arg.span)),
        ];
        for (key, span) in keys {
            if let Some(span) = span {
                let what = "an external service";
                problems.push(excluded(key, span, what, Some(external.span.clone())));
            }
        }
        let ports = settings.ports();
        if probes.is_none() && ports.is_none_or(|ports| ports.value.is_empty()) {
            let message =
                format!("external service `{}` has no port and no probe", merged.name.value);
            problems.push(
                Problem::error(Code::MissingKey, message)
                    .at(external.span.clone(), "the tool only probes an external service")
                    .hint(
                        "add the `port` that it listens on, or `ready = { command = [\"...\"] }`",
                    ),
            );
        }
    }
    stop(settings, problems);
    image(merged, activated, problems);
    if let Some(span) = activated
        && settings.ports().is_none_or(|ports| ports.value.is_empty())
    {
        problems.push(
            Problem::error(Code::NoPort, "`socket-activation` needs a port")
                .at(span.clone(), "")
                .hint("add `port = 0`, or remove `socket-activation`"),
        );
    }
    host(settings.host.as_ref(), external.is_some(), problems);
    if let Some(ports) = settings.ports() {
        port_names(ports, problems);
    }
}

/// Reports a stop timeout of zero with a signal other than SIGKILL.
fn stop(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(timeout) = settings.stop.timeout.as_ref().filter(|at| at.value.is_zero()) else {
        return;
    };
    let signal = settings.stop.signal.as_ref().map_or("SIGTERM", |at| &at.value);
    if signal != "SIGKILL" {
        problems.push(
            Problem::error(
                Code::BadValue,
                format!("`timeout` must be greater than zero with `{signal}`"),
            )
            .at(timeout.span.clone(), "")
            .hint("write `timeout = \"10s\"`, or kill at once: `signal = \"SIGKILL\"`"),
        );
    }
}

/// Reports keys that have no effect on an image, whose program decides where it listens.
fn image(merged: &Merged, activated: Option<&Span>, problems: &mut Vec<Problem>) {
    let settings = &merged.settings;
    let Some(image) = &settings.image else { return };
    let keys = [
        ("placement", settings.placement.as_ref().map(|at| &at.span)),
        ("socket-activation", activated),
        ("cwd", settings.cwd.as_ref().map(|at| &at.span)),
        ("self-probe", settings.self_probe.as_ref().map(|at| &at.span)),
    ];
    for (key, span) in keys {
        if let Some(span) = span {
            let place = Some(image.span.clone());
            problems.push(excluded(key, span, "a service with an image", place));
        }
    }
    for port in settings.ports().into_iter().flat_map(|ports| &ports.value) {
        if port.number.is_none() {
            problems.push(
                Problem::error(Code::BadValue, "the port of an image needs a number")
                    .at(port.name.span.clone(), "")
                    .hint("write the number that it listens on in its container"),
            );
        }
    }
}

/// The problem of a key that does not fit the kind of service.
fn excluded(key: &str, span: &Span, what: &str, place: Option<Span>) -> Problem {
    let problem = Problem::error(Code::BothForms, format!("`{key}` has no effect on {what}"))
        .at(span.clone(), "")
        .hint(format!("remove `{key}`"));
    match place {
        Some(place) => problem.context(place, format!("makes it {what}")),
        None => problem,
    }
}

/// Reports a host that cannot be bound. The tool only calls an external service, so its host
/// may be a name.
fn host(host: Option<&TextAt>, external: bool, problems: &mut Vec<Problem>) {
    let Some(host) = host else { return };
    if host.value.parse::<IpAddr>().is_ok() || (external && !host.value.is_empty()) {
        return;
    }
    problems.push(
        Problem::error(Code::BadValue, format!("`{}` is not an IP address", host.value))
            .at(host.span.clone(), "")
            .hint("write `host = \"127.0.0.1\"` or `host = \"::1\"`"),
    );
}

/// Reports ports of one service whose names give one variable.
fn port_names(ports: &At<Vec<crate::manifest::shape::PortWanted>>, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<String, &TextAt> = BTreeMap::new();
    for port in &ports.value {
        let prefix = variable_prefix(&port.name.value);
        if let Some(first) = seen.get(&prefix) {
            problems.push(clash("ports", &prefix, first, &port.name));
        } else {
            seen.insert(prefix, &port.name);
        }
    }
}

/// Reports services whose names give one variable.
pub(super) fn variables(model: &Model, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<String, &super::Node> = BTreeMap::new();
    for node in &model.nodes {
        let prefix = node.name.variable_prefix();
        if let Some(first) = seen.get(&prefix) {
            // `merge` reports two services of one name.
            if first.name == node.name {
                continue;
            }
            let words = |name: &Name, at: &At<()>| at.with(String::from(name.as_str()));
            problems.push(clash(
                "services",
                &prefix,
                &words(&first.name, &first.declared),
                &words(&node.name, &node.declared),
            ));
        } else {
            seen.insert(prefix, node);
        }
    }
}

fn clash(what: &str, prefix: &str, first: &TextAt, second: &TextAt) -> Problem {
    Problem::error(
        Code::VariableClash,
        format!(
            "{what} `{}` and `{}` both set the variables `{prefix}_...`",
            first.value, second.value
        ),
    )
    .at(second.span.clone(), "")
    .context(first.span.clone(), "")
    .hint("rename one of them")
}
