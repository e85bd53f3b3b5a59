//! `explain`: every setting of one service with its value and source, and its state in the
//! running stack.
//!
//! The plan decides the settings; this module shows them.

use std::fmt::Write as _;

use serde::Serialize;
use xtask_core::calls::Deadlock;
use xtask_core::plan::{Dependency, Plan, Port, Service, Setting, Use};
use xtask_core::snapshot::{ServiceSnapshot, Snapshot};
use xtask_core::terms::duration::spell;
use xtask_core::terms::{Name, Restart};

use super::calls;
use super::service_json::ServiceJson;
use super::setting::{Values, source};
use super::words;

/// A service as `explain --json` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExplainJson {
    #[serde(flatten)]
    plan: ServiceJson,
    /// The other services that start together with it.
    together: Vec<Name>,
    /// Its state in the running stack, null if none runs.
    state: Option<ServiceSnapshot>,
    /// The start-up deadlock that it is part of, null if none.
    deadlock: Option<Deadlock>,
}

/// One service as JSON data, `None` if the plan does not contain it.
pub(crate) fn json(plan: &Plan, service: &str, running: Option<&Snapshot>) -> Option<ExplainJson> {
    let values = Values { plan, running };
    let state = running.and_then(|snapshot| snapshot.service(service)).cloned();
    let deadlocks = running.map(|snapshot| snapshot.deadlocks.as_slice()).unwrap_or_default();
    let deadlock = deadlocks.iter().find(|deadlock| deadlock.concerns(service)).cloned();
    let service = plan.service(service)?;
    let together = together(plan, &service.name).into_iter().cloned().collect();
    Some(ExplainJson { plan: ServiceJson::new(&values, service), together, state, deadlock })
}

/// The other members of the service's ring.
fn together<'a>(plan: &'a Plan, service: &Name) -> Vec<&'a Name> {
    let ring = plan.rings().into_iter().find(|ring| ring.contains(&service)).unwrap_or_default();
    ring.into_iter().filter(|member| *member != service).collect()
}

/// One service as text, `None` if the plan does not contain it.
pub(crate) fn render(plan: &Plan, service: &str, running: Option<&Snapshot>) -> Option<String> {
    let service = plan.service(service)?;
    let values = Values { plan, running };
    let kind = words::kind(service.kind);
    let mut out = format!("{} ({kind}), declared at {}\n", service.name, service.declared);
    if let Some(snapshot) = running
        && let Some(state) = snapshot.service(&service.name)
    {
        out.push_str(&state_text(snapshot, state));
    }
    let argument = |arg: &Setting| (words::quoted(&values.setting(arg)), origin(arg));
    let variable =
        |(name, set): (&String, &Setting)| (format!("{name}={}", values.setting(set)), origin(set));
    let port = |(index, port): (usize, &Port)| {
        let number = values.port(&service.name, index);
        let number = number.map_or("any free one".to_string(), |number| number.to_string());
        (format!("{}: {number} on {}", port.name, port.host), port.declared.to_string())
    };
    let dependency = |edge: &Dependency| (words::dependency(edge), edge.declared.to_string());
    let used = |edge: &Use| {
        let relaxed = if edge.relaxed { " (a `depends-on`, relaxed)" } else { "" };
        (format!("{}{relaxed}", edge.of), edge.declared.to_string())
    };
    section(&mut out, "", general(&values, service));
    section(&mut out, "arguments\n", service.args.iter().map(argument).collect());
    section(&mut out, "variables\n", service.env.iter().map(variable).collect());
    section(&mut out, "ports\n", service.ports.iter().enumerate().map(port).collect());
    section(&mut out, "waits for\n", service.depends_on.iter().map(dependency).collect());
    section(&mut out, "uses\n", service.uses.iter().map(used).collect());
    Some(out)
}

type Row = (String, String);

/// Appends the rows with an aligned second column, and nothing if there are none.
fn section(out: &mut String, title: &str, rows: Vec<Row>) {
    if rows.is_empty() {
        return;
    }
    out.extend(["\n", title]);
    let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0).min(60);
    for (left, right) in rows {
        let _ = writeln!(out, "  {}", format!("{left:<width$}  {right}").trim_end());
    }
}

fn general(values: &Values<'_>, service: &Service) -> Vec<Row> {
    let restart = match service.restart {
        Restart::No => "never",
        Restart::OnFailure => "when it fails",
        Restart::Always => "whenever it ends",
    };
    let mut rows = vec![
        ("runs", words::command(values, service)),
        ("in", service.cwd.clone()),
        ("ready when", words::ready(values, service)),
        ("at most", format!("{} after its start", spell(service.start_timeout))),
        ("restarted", restart.to_string()),
        ("stopped by", words::stop(service)),
    ];
    if let Some(url) = &service.url {
        rows.insert(2, ("address", values.text(url)));
    }
    if service.socket_activation {
        rows.push(("sockets", "bound by the tool, inherited by the service".to_string()));
    }
    if let Some(watchdog) = service.watchdog {
        rows.push(("watchdog", format!("every {}", spell(watchdog))));
    }
    let together = together(values.plan, &service.name);
    if !together.is_empty() {
        let together = words::list(together.into_iter().map(ToString::to_string));
        rows.push(("starts with", together));
    }
    rows.into_iter().map(|(left, right)| (left.to_string(), right)).collect()
}

/// The source of a setting and the sources that it overrides.
fn origin(setting: &Setting) -> String {
    let over = words::list(setting.overrides.iter().map(source));
    match over.is_empty() {
        true => source(&setting.source),
        false => format!("{} (instead of {over})", source(&setting.source)),
    }
}
fn state_text(snapshot: &Snapshot, state: &ServiceSnapshot) -> String {
    let mut out = format!("it is {}", state.phase.as_str());
    if let Some(pid) = state.pid {
        let _ = write!(out, " as process {pid}");
    }
    if let Some(reason) = &state.reason {
        let _ = write!(out, ": {reason}");
    }
    out.push('\n');
    if !state.waiting_on.is_empty() {
        let _ = writeln!(out, "it waits for {}", words::list(state.waiting_on.iter().cloned()));
    }
    for seen in &state.seen {
        let _ = writeln!(out, "last seen: {seen}");
    }
    if let Some(status) = &state.status {
        let _ = writeln!(out, "its status: {status}");
    }
    if let Some(callers) = calls::callers(state) {
        let _ = writeln!(out, "{callers}");
    }
    if let Some(blocked) = calls::blocked(snapshot, state) {
        let _ = writeln!(out, "it is {blocked}");
    }
    out.push_str(&calls::deadlocks(snapshot, Some(&state.name)));
    out
}
