//! `explain`: every setting of one service with its value and source, and its state in the
//! running stack.
//!
//! The plan decides the settings; this module shows them.

use std::fmt::Write as _;

use serde::Serialize;
use xtask_core::calls::Deadlock;
use xtask_core::plan::{Dependency, Plan, Port, Service, Setting, Source, Use};
use xtask_core::snapshot::{ServiceSnapshot, Snapshot};
use xtask_core::terms::duration::spell;
use xtask_core::terms::{Name, Restart};

use super::calls;
use super::service_json::ServiceJson;
use super::setting::{Values, source};
use super::words;

/// The first part of a sentence about a run that an edit has not reached.
const OTHERWISE: &str = "it runs with other settings than the manifests";

/// A service as `explain --json` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExplainJson {
    /// The values of its run, or those of the manifests if it does not run.
    #[serde(flatten)]
    shown: ServiceJson,
    /// The service as the manifests declare it now, null if its run has the same values.
    manifests: Option<ServiceJson>,
    /// The other services that start together with it.
    together: Vec<Name>,
    /// Its state in the running stack, null if none runs.
    state: Option<ServiceSnapshot>,
    /// The start-up deadlock that it is part of, null if none.
    deadlock: Option<Deadlock>,
}

/// One service as JSON data, `None` if the plan does not contain it.
pub(crate) fn json(
    plan: &Plan,
    service: &str,
    running: Option<&Snapshot>,
    run: Option<&Service>,
) -> Option<ExplainJson> {
    let values = Values { plan, running };
    let state = running.and_then(|snapshot| snapshot.service(service)).cloned();
    let deadlocks = running.map(|snapshot| snapshot.deadlocks.as_slice()).unwrap_or_default();
    let deadlock = deadlocks.iter().find(|deadlock| deadlock.concerns(service)).cloned();
    let service = plan.service(service)?;
    let together = together(plan, &service.name).into_iter().cloned().collect();
    let declared = ServiceJson::new(&values, service);
    let differs = run.is_some_and(|run| differs(plan, service, running, run));
    let shown = run.map(|run| {
        let plan = with_run(plan, run);
        ServiceJson::new(&Values { plan: &plan, running }, run)
    });
    let manifests = differs.then(|| declared.clone());
    let shown = shown.unwrap_or(declared);
    Some(ExplainJson { shown, manifests, together, state, deadlock })
}

/// The other members of the service's ring.
fn together<'a>(plan: &'a Plan, service: &Name) -> Vec<&'a Name> {
    let ring = plan.rings().into_iter().find(|ring| ring.contains(&service)).unwrap_or_default();
    ring.into_iter().filter(|member| *member != service).collect()
}

/// One service as text, `None` if the plan does not contain it. Shows the values of its `run`, if
/// it has one, and marks those that differ from the plan.
pub(crate) fn render(
    plan: &Plan,
    service: &str,
    running: Option<&Snapshot>,
    run: Option<&Service>,
) -> Option<String> {
    let service = plan.service(service)?;
    let values = Values { plan, running };
    let kind = words::kind(service.kind);
    let mut out = format!("{} ({kind}), declared at {}\n", service.name, service.declared);
    if let Some(snapshot) = running
        && let Some(state) = snapshot.service(&service.name)
    {
        out.push_str(&state_text(snapshot, state));
    }
    let mut sections = sections_of(&values, service);
    if let Some(run) = run {
        let shown_plan = with_run(plan, run);
        let shown = sections_of(&Values { plan: &shown_plan, running }, run);
        sections = shown.into_iter().zip(sections).map(|(run, now)| run.compared(now)).collect();
        if sections.iter().any(Section::differs) {
            let restart = words::command_for(&plan.stack, &format!("restart {}", service.name));
            let _ = writeln!(out, "{OTHERWISE}; {restart} applies them");
        }
    }
    for section in sections {
        section.append(&mut out);
    }
    Some(out)
}
/// The plan with the service as its run was started.
fn with_run(plan: &Plan, run: &Service) -> Plan {
    let mut plan = plan.clone();
    let services = plan.services.iter_mut().filter(|service| service.name == run.name);
    services.for_each(|service| service.clone_from(run));
    plan
}

/// Whether a run has other values than the plan.
fn differs(plan: &Plan, service: &Service, running: Option<&Snapshot>, run: &Service) -> bool {
    let now = sections_of(&Values { plan, running }, service);
    let plan = with_run(plan, run);
    let then = sections_of(&Values { plan: &plan, running }, run);
    then.into_iter().zip(now).any(|(then, now)| then.compared(now).differs())
}

/// Rows of one kind, with an aligned second column.
struct Section {
    title: &'static str,
    rows: Vec<Row>,
}

struct Row {
    /// What identifies it among the rows of another time.
    key: String,
    left: String,
    right: String,
    /// What a difference is decided by, without what the shell sets.
    declared: String,
    /// Whether the shell sets its value.
    by_shell: bool,
    differs: bool,
}

impl Row {
    fn new(key: impl ToString, left: String, right: impl ToString) -> Self {
        let (key, right) = (key.to_string(), right.to_string());
        Self { key, declared: left.clone(), left, right, by_shell: false, differs: false }
    }

    /// Its value: in most rows the first column without its key.
    fn value(&self) -> String {
        let value = match self.left == self.key {
            true => &self.right,
            false => self.left.strip_prefix(&format!("{}=", self.key)).unwrap_or(&self.left),
        };
        format!("`{value}`")
    }
}

impl Section {
    /// The rows of a run, marked where those of `now` differ.
    fn compared(self, now: Self) -> Self {
        let mut now = now.rows;
        let mut rows = Vec::new();
        for mut row in self.rows {
            let same_key = now.iter().position(|other| other.key == row.key);
            match same_key.map(|place| now.remove(place)) {
                Some(other) if other.declared == row.declared => {
                    // An edit may have moved the line.
                    if !row.by_shell && !other.by_shell {
                        row.right = other.right;
                    }
                }
                Some(other) => {
                    let now = match other.value() == row.value() {
                        true => "another value".to_owned(),
                        false => other.value(),
                    };
                    row.right = format!("{}; now {now}", row.right);
                    row.differs = true;
                }
                None => {
                    row.right += "; not in the manifests";
                    row.differs = true;
                }
            }
            rows.push(row);
        }
        rows.extend(now.into_iter().map(|row| {
            let right = format!("{}; not in the running process", row.right);
            Row { right, differs: true, ..row }
        }));
        Self { rows, ..self }
    }

    fn differs(&self) -> bool {
        self.rows.iter().any(|row| row.differs)
    }

    /// Appends the rows, and nothing if there are none.
    fn append(self, out: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        out.extend(["\n", self.title]);
        let widths = self.rows.iter().map(|row| row.left.chars().count());
        let width = widths.max().unwrap_or(0).min(60);
        for Row { left, right, .. } in self.rows {
            let row = words::within(&format!("{left:<width$}  {right}"));
            let _ = writeln!(out, "  {}", row.trim_end());
        }
    }
}

fn sections_of(values: &Values<'_>, service: &Service) -> Vec<Section> {
    let argument = |(index, arg): (usize, &Setting)| Row {
        declared: values.unmasked(arg.declared()),
        ..Row::new(index, words::quoted(&values.setting(arg)), origin(arg))
    };
    let variable = |(name, set): (&String, &Setting)| Row {
        declared: values.unmasked(set.declared()),
        by_shell: set.source == Source::Shell,
        ..Row::new(name, format!("{name}={}", values.setting(set)), origin(set))
    };
    let port = |(index, port): (usize, &Port)| {
        let number = values.port(&service.name, index);
        let number = number.map_or("any free one".to_string(), |number| number.to_string());
        let left = format!("{}: {number} on {}", port.name, port.host);
        let declared = format!("{:?} on {}", port.number, port.host);
        Row { declared, ..Row::new(&port.name, left, &port.declared) }
    };
    let dependency =
        |edge: &Dependency| Row::new(&edge.on, words::dependency(edge), &edge.declared);
    let used = |edge: &Use| {
        let relaxed = if edge.relaxed { " (a `depends-on`, relaxed)" } else { "" };
        Row::new(&edge.of, format!("{}{relaxed}", edge.of), &edge.declared)
    };
    let section = |title, rows| Section { title, rows };
    vec![
        section("", general(values, service)),
        section("arguments\n", service.args.iter().enumerate().map(argument).collect()),
        section("variables\n", service.env.iter().map(variable).collect()),
        section("ports\n", service.ports.iter().enumerate().map(port).collect()),
        section("waits for\n", service.depends_on.iter().map(dependency).collect()),
        section("uses\n", service.uses.iter().map(used).collect()),
    ]
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
    if let Some(user) = &service.user {
        rows.push(("account", user.clone()));
    }
    if service.once {
        rows.push(("done", "once for each data folder; `restart` runs it again".to_string()));
    }
    if service.fixed_port {
        rows.push(("ports", "the same in every stack".to_string()));
    }
    if service.socket_activation {
        rows.push(("sockets", "bound by the tool, inherited by the service".to_string()));
    }
    if let Some(replaced) = words::replacement(service) {
        rows.push(("replaced", replaced));
    }
    if let Some(health) = words::health(values, service) {
        rows.push(("healthy when", health));
    }
    if let Some(watchdog) = service.watchdog {
        rows.push(("watchdog", format!("every {}", spell(watchdog))));
    }
    let together = together(values.plan, &service.name);
    if !together.is_empty() {
        let together = words::list(together.into_iter().map(ToString::to_string));
        rows.push(("starts with", together));
    }
    let row = |(left, right): (&str, String)| Row {
        declared: right.clone(),
        ..Row::new(left, left.to_string(), right)
    };
    rows.into_iter().map(row).collect()
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
        let _ = write!(out, ": {}", words::within(reason));
    }
    out.push('\n');
    if !state.waiting_on.is_empty() {
        let _ = writeln!(out, "it waits for {}", words::list(state.waiting_on.iter().cloned()));
    }
    if let Some(beside) = super::status::beside(state) {
        let _ = writeln!(out, "beside it {beside}");
    }
    for seen in &state.seen {
        let _ = writeln!(out, "last seen: {}", words::within(seen));
    }
    if let Some(status) = &state.status {
        let _ = writeln!(out, "its status: {}", words::within(status));
    }
    for line in calls::listeners(state) {
        let _ = writeln!(out, "{line}");
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
