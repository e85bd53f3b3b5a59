//! Decodes one section: `[package.metadata.service]`, one of `services`, or an
//! overlay.
//!
//! It says what each key must look like. Whether keys fit together across sections
//! is the model's business.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::deploy;
use super::reader::Reader;
use super::settings::{DependsOn, Settings};
use super::shape;
use super::value::{Table, Value, ValueKind};
use crate::problem::{Code, Problem};
use crate::terms::{Adopt, Condition, Kind, Placement, Restart};

/// The keys that a section and its overlays have in common.
pub(crate) const KEYS: &[&str] = &[
    "bin",
    "command",
    "image",
    "external",
    "placement",
    "kind",
    "depends-on",
    "uses",
    "port",
    "ports",
    "url",
    "host",
    "socket-activation",
    "ready",
    "watchdog",
    "args",
    "env",
    "env-file",
    "volumes",
    "self-probe",
    "deploy",
    "cwd",
    "features",
    "no-default-features",
    "restart",
    "stop",
    "start-timeout",
    "log",
    "adopt",
];

/// Reads the keys of a section; `what` names the section in messages, and `more` are
/// keys that the caller reads itself. `path` is the keys that lead here.
pub(crate) fn settings(
    reader: &mut Reader<'_>,
    table: &Table,
    path: &[&str],
    what: &str,
    more: &[&str],
) -> Settings {
    let known: Vec<&str> = more.iter().chain(KEYS).copied().collect();
    reader.known_keys(table, &known, what);
    exclusive(reader, table);
    let mut out = Settings::default();
    for (key, value) in &table.entries {
        read(reader, &mut out, &key.name, value);
    }
    for edge in &mut out.depends_on {
        edge.table = path.iter().map(|key| (*key).to_string()).collect();
    }
    if out.ports.is_none() {
        out.ports = shape::ports(reader, table);
    }
    twice(reader, &out);
    out
}

/// Reads one key.
fn read(reader: &mut Reader<'_>, out: &mut Settings, key: &str, value: &Value) {
    match key {
        "bin" => out.bin = reader.string(key, value),
        "command" => out.command = shape::words(reader, key, value, "program"),
        "image" => out.image = reader.string(key, value),
        "external" => out.external = reader.boolean(key, value),
        "placement" => {
            // Where the others run is decided at each start.
            out.placement = reader.choice(key, value, &[("process", Placement::Process)]);
        }
        "kind" => {
            let kinds = [("service", Kind::Service), ("job", Kind::Job)];
            out.kind = reader.choice(key, value, &kinds);
        }
        "depends-on" => out.depends_on = depends_on(reader, value),
        "uses" => out.uses = reader.strings(key, value).map(|at| at.value).unwrap_or_default(),
        "url" => out.url = reader.string(key, value),
        "host" => out.host = reader.string(key, value),
        "socket-activation" => out.socket_activation = reader.boolean(key, value),
        "ready" => out.ready = shape::ready(reader, value),
        "watchdog" => out.watchdog = reader.wait(key, value, "10s"),
        "args" => out.args = reader.strings(key, value).map(|at| at.value),
        "env" => out.env = shape::env(reader, value),
        "env-file" => out.env_file = reader.string(key, value),
        "volumes" => out.volumes = shape::volumes(reader, value),
        "self-probe" => out.self_probe = shape::words(reader, key, value, "--probe"),
        "deploy" => out.deploy = deploy::deploy(reader, value),
        "cwd" => out.cwd = reader.string(key, value),
        "features" => out.features = reader.strings(key, value),
        "no-default-features" => out.no_default_features = reader.boolean(key, value),
        "restart" => {
            let policies = [
                ("no", Restart::No),
                ("on-failure", Restart::OnFailure),
                ("always", Restart::Always),
            ];
            out.restart = reader.choice(key, value, &policies);
        }
        "stop" => (out.stop_signal, out.stop_timeout) = shape::stop(reader, value),
        "log" => (out.log_size_bytes, out.log_files) = shape::log(reader, value),
        "start-timeout" => out.start_timeout = reader.wait(key, value, "30s"),
        "adopt" => {
            let kinds =
                [("same-binary", Adopt::SameBinary), ("any", Adopt::Any), ("never", Adopt::Never)];
            out.adopt = reader.choice(key, value, &kinds);
        }
        // `port` and `ports` are read together, and the rest is unknown or the caller's.
        _ => {}
    }
}

/// Notes keys of one section that exclude each other.
fn exclusive(reader: &mut Reader<'_>, table: &Table) {
    let programs = ["bin", "command", "image", "external"];
    let mut groups: Vec<[&str; 2]> = alloc::vec![["port", "ports"]];
    for (index, first) in programs.iter().enumerate() {
        groups.extend(programs[index + 1..].iter().map(|second| [*first, *second]));
    }
    let said =
        |name: &str| table.entry(name).filter(|(_, value)| value.kind != ValueKind::Boolean(false));
    for [first, second] in groups {
        if let (Some((a, _)), Some((b, _))) = (said(first), said(second)) {
            let problem = Problem::error(
                Code::BothForms,
                format!("`{first}` and `{second}` exclude each other"),
            )
            .at(reader.span(&b.bytes), "")
            .context(reader.span(&a.bytes), "")
            .hint(format!("keep one of them: remove `{second}`"));
            reader.problem(problem);
        }
    }
}

/// Notes services that one section both waits for and merely uses.
fn twice(reader: &mut Reader<'_>, settings: &Settings) {
    for used in &settings.uses {
        if let Some(waited) = settings.depends_on.iter().find(|d| d.on.value == used.value) {
            let problem = Problem::error(
                Code::BothForms,
                format!("`{}` stands in `depends-on` and in `uses`", used.value),
            )
            .at(used.span.clone(), "waits for nothing")
            .context(waited.on.span.clone(), "waits")
            .hint("remove one of them");
            reader.problem(problem);
        }
    }
}

/// `depends-on` as a list of names, or as a table of conditions.
fn depends_on(reader: &mut Reader<'_>, value: &Value) -> Vec<DependsOn> {
    match &value.kind {
        ValueKind::Array(items) => items
            .iter()
            .filter_map(|item| reader.string("depends-on", item))
            .map(|on| DependsOn { on, condition: None, restart: false, table: Vec::new() })
            .collect(),
        ValueKind::Table(table) => table
            .entries
            .iter()
            .map(|(key, value)| {
                let on = reader.key(key);
                edge(reader, on, value)
            })
            .collect(),
        other => {
            let hint = match other {
                ValueKind::String(name) => format!("write `depends-on = [\"{name}\"]`"),
                _ => "write `depends-on = [\"name\"]`".into(),
            };
            reader.wrong_type("depends-on", value, "a list of names or a table", &hint);
            Vec::new()
        }
    }
}

/// One entry of the table form: a condition, or a table of it and `restart`.
fn edge(reader: &mut Reader<'_>, on: super::at::Words, value: &Value) -> DependsOn {
    let conditions = [
        ("ready", Condition::Ready),
        ("started", Condition::Started),
        ("succeeded", Condition::Succeeded),
    ];
    let mut out = DependsOn { on, condition: None, restart: false, table: Vec::new() };
    if let ValueKind::Table(table) = &value.kind {
        reader.known_keys(table, &["condition", "restart"], "a dependency");
        if let Some(value) = table.get("condition") {
            out.condition = reader.choice("condition", value, &conditions);
        }
        if let Some(value) = table.get("restart") {
            out.restart = reader.boolean("restart", value).is_some_and(|at| at.value);
        }
    } else {
        out.condition = reader.choice(&out.on.value.clone(), value, &conditions);
    }
    out
}
