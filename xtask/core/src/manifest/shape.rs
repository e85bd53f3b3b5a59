//! Decodes the keys that are more than one value: ports, probes, commands, variables,
//! volumes, stop, log.
//!
//! Defaults are not applied here: what is absent stays absent.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::at::{At, Words};
use super::reader::Reader;
use super::settings::{PortWanted, Ready};
use super::suggest::list;
use super::value::{Table, Value, ValueKind};
use crate::problem::{Code, Problem};

/// More files than anybody looks through.
const MOST_LOG_FILES: u32 = 1000;

/// The signals that a service may be stopped with.
const SIGNALS: &[(&str, ())] = &[
    ("SIGTERM", ()),
    ("SIGINT", ()),
    ("SIGQUIT", ()),
    ("SIGHUP", ()),
    ("SIGUSR1", ()),
    ("SIGUSR2", ()),
    ("SIGKILL", ()),
];

/// `port = 5000`, or `ports = { http = 3000, metrics = 3001 }`.
pub(crate) fn ports(reader: &mut Reader<'_>, table: &Table) -> Option<At<Vec<PortWanted>>> {
    if let Some((key, value)) = table.entry("ports") {
        let ports = reader.table("ports", value)?;
        let mut wanted = Vec::new();
        for (name, value) in &ports.entries {
            let name = reader.key(name);
            reader.name("a port", &name);
            let number = port_number(reader, &name.value, value);
            wanted.push(PortWanted { name, number });
        }
        return Some(reader.at(&key.bytes, wanted));
    }
    let (key, value) = table.entry("port")?;
    let number = port_number(reader, "port", value);
    let name = reader.at(&key.bytes, "http".into());
    Some(reader.at(&value.bytes, alloc::vec![PortWanted { name, number }]))
}

/// A port's number, none for any (`0`). After a mistake it is any too, so that what
/// names the port is no further mistake.
fn port_number(reader: &mut Reader<'_>, key: &str, value: &Value) -> Option<u16> {
    let ValueKind::Integer(number) = value.kind else {
        reader.wrong_type(key, value, "a port's number", &format!("write `{key} = 5000`"));
        return None;
    };
    match u16::try_from(number) {
        Ok(0) => None,
        Ok(number) => Some(number),
        Err(_) => {
            let message = format!("`{number}` is not a port's number");
            reader.bad_value(&value.bytes, message, "write a number from 1 to 65535, or 0 for any");
            None
        }
    }
}

/// A list of texts that must not be empty: program and arguments, arguments alone, or names.
pub(crate) fn words(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value,
    example: &str,
) -> Option<At<Vec<Words>>> {
    let words = reader.strings(key, value)?;
    if words.value.is_empty() {
        let message = format!("`{key}` is empty");
        let hint = format!("write `{key} = [\"{example}\"]`, or remove `{key}`");
        reader.bad_value(&value.bytes, message, &hint);
        return None;
    }
    Some(words)
}

/// `env = { NAME = "value" }`.
pub(crate) fn env(reader: &mut Reader<'_>, value: &Value) -> Vec<(Words, Words)> {
    let Some(table) = reader.table("env", value) else { return Vec::new() };
    let mut out = Vec::new();
    for (key, value) in &table.entries {
        if key.name.is_empty() || key.name.contains(['=', '\0']) {
            let message = format!("`{}` cannot be the name of a variable", key.name);
            reader.bad_value(&key.bytes, message, "write letters, digits and `_`");
            continue;
        }
        let name = reader.key(key);
        if let Some(words) = reader.string(&key.name, value) {
            out.push((name, words));
        }
    }
    out
}

/// `volumes = { "/var/lib/x" = "${stack.data}/x" }`: the path in the container first, as
/// that is what must be said once only.
pub(crate) fn volumes(reader: &mut Reader<'_>, value: &Value) -> Vec<(Words, Words)> {
    let Some(table) = reader.table("volumes", value) else { return Vec::new() };
    let mut out = Vec::new();
    for (key, value) in &table.entries {
        let inside = reader.key(key);
        if !inside.value.starts_with('/') || inside.value.contains([':', ',', '\0']) {
            let message = format!("`{}` is not a path in a container", key.name);
            let hint = "write the path first: `\"/var/lib/x\" = \"${stack.data}/x\"`";
            reader.bad_value(&key.bytes, message, hint);
            continue;
        }
        if let Some(outside) = reader.string(&key.name, value) {
            out.push((inside, outside));
        }
    }
    out
}

/// `stop = { signal = "SIGTERM", timeout = "10s" }`.
pub(crate) fn stop(
    reader: &mut Reader<'_>,
    value: &Value,
) -> (Option<Words>, Option<At<Duration>>) {
    let Some(table) = reader.table("stop", value) else { return (None, None) };
    reader.known_keys(table, &["signal", "timeout"], "`stop`");
    let signal = table.get("signal").and_then(|value| {
        reader.choice("signal", value, SIGNALS)?;
        reader.string("signal", value)
    });
    let timeout = table.get("timeout").and_then(|value| reader.duration("timeout", value));
    (signal, timeout)
}

/// `log = { size = "32M", files = 5 }`.
pub(crate) fn log(reader: &mut Reader<'_>, value: &Value) -> (Option<At<u64>>, Option<At<u32>>) {
    let Some(table) = reader.table("log", value) else { return (None, None) };
    reader.known_keys(table, &["size", "files"], "`log`");
    let size = table.get("size").and_then(|value| reader.size("size", value, "32M"));
    let files = table.get("files");
    (size, files.and_then(|value| reader.count("files", value, 0..=MOST_LOG_FILES, 5)))
}

/// `ready = { ... }`.
pub(crate) fn ready(reader: &mut Reader<'_>, value: &Value) -> Option<At<Ready>> {
    let table = reader.table("ready", value)?;
    let known = ["http", "status", "port", "tcp", "log", "notify", "command"];
    reader.known_keys(table, &known, "`ready`");
    let mut out = Ready::default();
    for (key, value) in &table.entries {
        let name = key.name.as_str();
        match name {
            "http" => out.http = path(reader, value),
            "status" => out.status = statuses(reader, value),
            "port" => out.port = reader.string(name, value),
            "tcp" => out.tcp = reader.boolean(name, value).is_some_and(|at| at.value),
            "log" => out.log = reader.string(name, value),
            "notify" => out.notify = reader.boolean(name, value).is_some_and(|at| at.value),
            "command" => out.command = words(reader, name, value, "program").map(|at| at.value),
            _ => {}
        }
    }
    needs(reader, table, "status", &["http"]);
    needs(reader, table, "port", &["http", "tcp"]);
    let probes = ["http", "tcp", "log", "notify", "command"];
    let says = |key: &&str| table.get(key).is_some_and(|v| v.kind != ValueKind::Boolean(false));
    if !table.entries.iter().any(|(key, _)| !known.contains(&key.name.as_str()))
        && !["status", "port"].iter().chain(&probes).any(says)
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

/// The path of an `http` probe.
fn path(reader: &mut Reader<'_>, value: &Value) -> Option<Words> {
    let path = reader.string("http", value)?;
    if path.value.starts_with('/') && !path.value.contains([' ', '\r', '\n']) {
        return Some(path);
    }
    let message = format!("`{}` is not a path", path.value);
    let hint = format!("write `http = \"/{}\"`", path.value.trim_start_matches('/').trim());
    reader.bad_value(&value.bytes, message, &hint);
    None
}

/// The statuses that count, as a list or as one number.
fn statuses(reader: &mut Reader<'_>, value: &Value) -> Vec<u16> {
    let items = match &value.kind {
        ValueKind::Array(items) => items.as_slice(),
        _ => core::slice::from_ref(value),
    };
    let mut out = Vec::new();
    for item in items {
        let ValueKind::Integer(number) = item.kind else {
            reader.wrong_type("status", item, "a list of numbers", "write `status = [200]`");
            continue;
        };
        match u16::try_from(number) {
            Ok(status @ 100..=599) => out.push(status),
            _ => {
                let message = format!("`{number}` is not a status of HTTP");
                reader.bad_value(&item.bytes, message, "write a number from 100 to 599");
            }
        }
    }
    out
}

/// Notes a key that means nothing without one of others.
fn needs(reader: &mut Reader<'_>, table: &Table, key: &str, others: &[&str]) {
    let Some((place, _)) = table.entry(key) else { return };
    if others.iter().any(|other| table.get(other).is_some()) {
        return;
    }
    let problem = Problem::error(
        Code::MissingKey,
        format!("`{key}` means nothing without `{}`", others.join("` or `")),
    )
    .at(reader.span(&place.bytes), "")
    .hint(format!("add `{}`", if others[0] == "http" { "http = \"/\"" } else { others[0] }));
    reader.problem(problem);
}
