//! Decodes the values that need more than one call of the reader: dependencies, ports,
//! probes, variables, volumes.
//!
//! Defaults are not applied here: an absent value stays absent.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::declare::{Declared, Named};
use super::keys::{Health, Ready};
use super::reader::{Reader, is_name};
use super::value::{Table, Value, ValueKind};
use super::{At, TextAt};
use crate::problem::{Code, Problem};
use crate::terms::suggest::list;
use crate::terms::{Condition, variable_mistake};

/// One entry of `depends-on`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DependsOn {
    pub(crate) on: TextAt,
    /// What the dependent waits for, if set.
    pub(crate) condition: Option<At<Condition>>,
    /// Whether the dependent is restarted with it.
    pub(crate) restart: bool,
    /// The keys that lead to the table with this `depends-on`.
    pub(crate) table: Vec<String>,
}

/// One entry of `ports`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PortWanted {
    /// Its name, at the place of its key.
    pub(crate) name: TextAt,
    /// The number, or none for any (`0`).
    pub(crate) number: Option<u16>,
}

impl Named for DependsOn {
    fn name(&self) -> &String {
        &self.on.value
    }
}

/// `port = 5000`: one port called `http`.
pub(crate) fn port(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value,
) -> Option<At<Vec<PortWanted>>> {
    let number = port_number(reader, key, value);
    let name = reader.at(&value.bytes, "http".into());
    Some(reader.at(&value.bytes, alloc::vec![PortWanted { name, number }]))
}

/// `ports = { http = 3000, metrics = 3001 }`.
pub(crate) fn ports(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value,
) -> Option<At<Vec<PortWanted>>> {
    let table = reader.table(key, value)?;
    let mut wanted = Vec::new();
    for (name, value) in &table.entries {
        let name = reader.key(name);
        reader.name("a port", &name);
        let number = port_number(reader, &name.value, value);
        wanted.push(PortWanted { name, number });
    }
    Some(reader.at(&value.bytes, wanted))
}

/// A port number, none for any free port (`0`). After a mistake it is none too, so a
/// reference to the port is not reported as well.
fn port_number(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<u16> {
    let ValueKind::Integer(number) = value.kind else {
        return reader.wrong_type(key, value, "a port number", &format!("write `{key} = 5000`"));
    };
    match u16::try_from(number) {
        Ok(number) => Some(number).filter(|number| *number != 0),
        Err(_) => {
            let message = format!("`{number}` is not a port number");
            reader.bad_value(&value.bytes, message, "write a number from 1 to 65535, or 0 for any")
        }
    }
}

/// Text, or a list of texts.
pub(crate) fn text_or_texts(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value,
) -> Option<At<Vec<TextAt>>> {
    match &value.kind {
        ValueKind::Array(_) => reader.strings(key, value),
        _ => reader.string(key, value).map(|text| reader.at(&value.bytes, vec![text])),
    }
}

/// A list of texts. Neither it nor its first text may be empty.
pub(crate) fn nonempty(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value,
    example: &str,
) -> Option<At<Vec<TextAt>>> {
    let words = reader.strings(key, value)?;
    if words.value.first().is_none_or(|word| word.value.is_empty()) {
        let which = if words.value.is_empty() { "is empty" } else { "begins with an empty text" };
        let message = format!("`{key}` {which}");
        let hint = format!("write `{key} = [\"{example}\"]`, or remove `{key}`");
        return reader.bad_value(&value.bytes, message, &hint);
    }
    Some(words)
}

/// The name of an image. The engine would read a name that begins with `-` as an option.
pub(crate) fn image(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<TextAt> {
    let text = reader.string(key, value)?;
    let name = &text.value;
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '$');
    if !starts || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!("`{}` is not the name of an image", name.escape_debug());
        let hint = format!("write the name alone: `{key} = \"localhost/postgres:17\"`");
        reader.bad_value::<()>(&value.bytes, message, &hint);
    }
    Some(text)
}

/// The name of an account.
pub(crate) fn account(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<TextAt> {
    let text = reader.string(key, value)?;
    let name = &text.value;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':') {
        let message = format!("`{}` is not the name of an account", name.escape_debug());
        reader.bad_value::<()>(&value.bytes, message, &format!("write `{key} = \"postgres\"`"));
    }
    Some(text)
}

/// `env = { NAME = "value" }`.
pub(crate) fn env(reader: &mut Reader<'_>, key: &str, value: &Value) -> Vec<(TextAt, TextAt)> {
    pairs(reader, key, value, variable_mistake)
}

/// `volumes = { "/var/lib/x" = "${stack.data}/x" }`: the container path is the key, because
/// it must be unique.
pub(crate) fn volumes(reader: &mut Reader<'_>, key: &str, value: &Value) -> Vec<(TextAt, TextAt)> {
    let fits = |inside: &str| inside.starts_with('/') && !inside.contains([':', ',', '\0']);
    let hint = "write the container path first: `\"/var/lib/x\" = \"${stack.data}/x\"`";
    let mistake = |inside: &str| (!fits(inside)).then_some(("is not a path in a container", hint));
    pairs(reader, key, value, mistake)
}

/// A table of texts. The mistake of a key and its hint are reported.
fn pairs(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value,
    mistake: impl Fn(&str) -> Option<(&'static str, &'static str)>,
) -> Vec<(TextAt, TextAt)> {
    let mut out = Vec::new();
    for (key, value) in reader.table(key, value).into_iter().flat_map(|table| &table.entries) {
        if let Some((mistake, hint)) = mistake(&key.name) {
            let message = format!("`{}` {mistake}", key.name);
            reader.bad_value::<()>(&key.bytes, message, hint);
        } else if let Some(text) = reader.string(&key.name, value) {
            out.push((reader.key(key), text));
        }
    }
    out
}

/// `ready = { ... }`.
pub(crate) fn ready(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<At<Ready>> {
    let table = reader.table(key, value)?;
    let known = Ready::names();
    reader.known_keys(table, &known, "`ready`");
    let out = Ready::read_all(reader, table);
    needs(reader, table, "status", &["http"]);
    needs(reader, table, "port", &["http", "tcp"]);
    let probes = ["http", "tcp", "log", "notify", "command"];
    let set = |key: &&str| table.get(key).is_some_and(|v| v.kind != ValueKind::Boolean(false));
    if !table.entries.iter().any(|(key, _)| !known.contains(&key.name.as_str()))
        && !["status", "port"].iter().chain(&probes).any(set)
    {
        let problem = Problem::error(Code::MissingKey, "`ready` names no probe")
            .at(reader.span(&value.bytes), "")
            .note(format!("probes are {}", list(probes)))
            .hint("name one of them, or remove `ready`");
        reader.problem(problem);
        return None;
    }
    Some(reader.at(&value.bytes, out))
}

/// `health = { http = "/healthz", ... }`.
pub(crate) fn health(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<At<Health>> {
    let table = reader.table(key, value)?;
    reader.known_keys(table, &Health::names(), "`health`");
    let out = Health::read_all(reader, table);
    if table.get("http").is_none() {
        let problem = Problem::error(Code::MissingKey, "`health` has no `http`")
            .at(reader.span(&value.bytes), "")
            .hint("add the path that is asked: `http = \"/healthz\"`");
        reader.problem(problem);
        return None;
    }
    Some(reader.at(&value.bytes, out))
}

/// The path of an `http` probe.
pub(crate) fn path(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<TextAt> {
    absolute_path(reader, key, value, "http")
}

/// The path of a page.
pub(crate) fn page(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<TextAt> {
    absolute_path(reader, key, value, "open")
}

fn absolute_path(reader: &mut Reader<'_>, key: &str, value: &Value, name: &str) -> Option<TextAt> {
    let path = reader.string(key, value)?;
    if path.value.starts_with('/') && !path.value.contains(is_unsendable) {
        return Some(path);
    }
    let message = format!("`{}` is not a path", path.value);
    let hint = format!("write `{name} = \"/{}\"`", sendable(path.value.trim_start_matches('/')));
    reader.bad_value(&value.bytes, message, &hint)
}

/// Whether a character ends or breaks the first line of a request.
fn is_unsendable(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// The path with its blanks encoded, and without control characters.
fn sendable(path: &str) -> String {
    path.trim()
        .chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .replace(char::is_whitespace, "%20")
}

/// The expected statuses, as a list or as one number.
pub(crate) fn statuses(reader: &mut Reader<'_>, key: &str, value: &Value) -> Vec<u16> {
    let items = match &value.kind {
        ValueKind::Array(items) => items.as_slice(),
        _ => core::slice::from_ref(value),
    };
    let mut status = |item: &Value| {
        let ValueKind::Integer(number) = item.kind else {
            return reader.wrong_type(key, item, "a list of numbers", "write `status = [200]`");
        };
        let status = u16::try_from(number).ok().filter(|status| (100..=599).contains(status));
        status.or_else(|| {
            let message = format!("`{number}` is not an HTTP status");
            reader.bad_value(&item.bytes, message, "write a number from 100 to 599")
        })
    };
    items.iter().filter_map(&mut status).collect()
}

/// Reports a key that has no effect without one of others.
fn needs(reader: &mut Reader<'_>, table: &Table, key: &str, others: &[&str]) {
    let Some((place, _)) = table.entry(key) else { return };
    if others.iter().any(|other| table.get(other).is_some()) {
        return;
    }
    let message = format!("`{key}` has no effect without `{}`", others.join("` or `"));
    let hint = format!("add `{}`", if others[0] == "http" { "http = \"/\"" } else { others[0] });
    reader.report::<()>(Code::MissingKey, &place.bytes, message, &hint);
}

/// `true`; absent and `false` are the same.
pub(crate) fn is_true(reader: &mut Reader<'_>, key: &str, value: &Value) -> bool {
    reader.boolean(key, value).is_some_and(|at| at.value)
}

/// `depends-on` as a list of names, or as a table of conditions.
pub(crate) fn depends_on(reader: &mut Reader<'_>, key: &str, value: &Value) -> Vec<DependsOn> {
    match &value.kind {
        ValueKind::Array(items) => {
            items.iter().filter_map(|item| reader.string(key, item)).map(plain_edge).collect()
        }
        ValueKind::Table(table) => {
            table.entries.iter().map(|(key, value)| edge(reader, reader.key(key), value)).collect()
        }
        other => {
            let hint = match other {
                ValueKind::String(name) if is_name(name) => {
                    format!("write `depends-on = [\"{name}\"]`")
                }
                _ => "write `depends-on = [\"name\"]`".into(),
            };
            reader.wrong_type(key, value, "a list of names or a table", &hint).unwrap_or_default()
        }
    }
}

fn plain_edge(on: TextAt) -> DependsOn {
    DependsOn { on, condition: None, restart: false, table: Vec::new() }
}

/// One entry of the table form: a condition, or a table of it and `restart`.
fn edge(reader: &mut Reader<'_>, on: TextAt, value: &Value) -> DependsOn {
    let conditions = [
        ("ready", Condition::Ready),
        ("started", Condition::Started),
        ("succeeded", Condition::Succeeded),
    ];
    let mut out = plain_edge(on);
    if let ValueKind::Table(table) = &value.kind {
        reader.known_keys(table, &["condition", "restart"], "a dependency");
        if let Some(value) = table.get("condition") {
            out.condition = reader.choice("condition", value, &conditions);
        }
        if let Some(value) = table.get("restart") {
            out.restart = is_true(reader, "restart", value);
        }
    } else {
        out.condition = reader.choice(&out.on.value.clone(), value, &conditions);
    }
    out
}

/// Processors in thousandths.
pub(crate) fn cpus(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<At<u32>> {
    let hint = "write `cpus = 0.5`";
    let number = match value.kind {
        ValueKind::Integer(number) => number as f64,
        ValueKind::Float(number) => number,
        _ => return reader.wrong_type(key, value, "a number", hint),
    };
    if !(0.001..=1_000.0).contains(&number) {
        let message = format!("`cpus` must be 0.001 to 1000, not {number}");
        return reader.bad_value(&value.bytes, message, hint);
    }
    let millis = (number * 1_000.0) as u32;
    Some(reader.at(&value.bytes, millis))
}
