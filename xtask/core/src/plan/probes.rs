//! The probes that find out whether a service is ready, and whether it stays healthy.
//!
//! It chooses the probes; the tool performs them.

use alloc::vec::Vec;
use core::time::Duration;

use super::endpoint::Endpoint;
use super::scope::{Scope, Slot};
use super::{Health, Probe};
use crate::manifest::at::{is_true, span, value};
use crate::manifest::keys::Ready;
use crate::manifest::{At, TextAt};
use crate::problem::{Problem, Span};
use crate::terms::Kind;

/// The default time between two health checks.
const HEALTH_EVERY: Duration = Duration::from_secs(10);

/// The probes of one service; none means ready when started.
pub(crate) fn probes(
    scope: &Scope<'_>,
    address: &Endpoint,
    problems: &mut Vec<Problem>,
) -> Vec<Probe> {
    let settings = &scope.node.settings;
    let declared = settings.ready.as_ref().map(|ready| declared(scope, address, ready, problems));
    if scope.node.kind() == Kind::Job {
        return Vec::new();
    }
    if let Some(declared) = declared {
        return declared;
    }
    if is_true(&settings.socket_activation) {
        return alloc::vec![Probe::Notify];
    }
    match address.default {
        Some(port) => alloc::vec![Probe::Tcp { port }],
        // Several ports and no default: the service is ready when all of them answer.
        None => (0..address.ports.len()).map(|port| Probe::Tcp { port }).collect(),
    }
}

/// The probes of `ready`.
fn declared(
    scope: &Scope<'_>,
    address: &Endpoint,
    ready: &At<Ready>,
    problems: &mut Vec<Problem>,
) -> Vec<Probe> {
    let mut out = Vec::new();
    let probe = &ready.value;
    if probe.notify {
        out.push(Probe::Notify);
    }
    if probe.http.is_some() || probe.tcp {
        let place = span(&probe.http).unwrap_or(&ready.span);
        if let Some(port) = port(scope, address, probe.port.as_ref(), place, problems) {
            if let Some(path) = &probe.http {
                let (path, status) = (path.value.clone(), probe.status.clone());
                out.push(Probe::Http { path, status, port });
            }
            if probe.tcp {
                out.push(Probe::Tcp { port });
            }
        }
    }
    if let Some(log) = &probe.log {
        out.push(Probe::Log { pattern: log.value.clone() });
    }
    if let Some(command) = &probe.command {
        let fill = |words| scope.fill(words, Slot::Value, problems).text;
        out.push(Probe::Command { command: command.iter().map(fill).collect() });
    }
    out
}

/// The health checks of one service, if it has any.
pub(crate) fn health(
    scope: &Scope<'_>,
    address: &Endpoint,
    problems: &mut Vec<Problem>,
) -> Option<Health> {
    let health = &scope.node.settings.health.as_ref()?.value;
    let path = health.http.as_ref()?;
    let port = port(scope, address, health.port.as_ref(), &path.span, problems)?;
    Some(Health {
        probe: Probe::Http { path: path.value.clone(), status: health.status.clone(), port },
        every: value(&health.every).unwrap_or(HEALTH_EVERY),
        restart: is_true(&health.restart),
    })
}

/// The port that is probed.
fn port(
    scope: &Scope<'_>,
    address: &Endpoint,
    port: Option<&TextAt>,
    place: &Span,
    problems: &mut Vec<Problem>,
) -> Option<usize> {
    let name = port.map(|port| port.value.as_str());
    let place = port.map_or(place, |port| &port.span);
    let found = address.find(&scope.node.name, name);
    found
        .map_err(|problem| problems.push(problem.at(place.clone(), "this probe needs a port")))
        .ok()
}
