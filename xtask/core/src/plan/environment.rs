//! The variables of one service, and which source wins.
//!
//! Low to high: injected addresses, the workspace's `env`, the service's, its env-file,
//! the caller's shell, `-e` for all, `-e` for this service. The shell wins in the default
//! stack only, and never over an address of the stack. Variables that no other source sets
//! are ignored.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::flags::Variable;
use super::make::Files;
use super::request::Isolation;
use super::scope::{Scope, Slot};
use super::{Setting, Source, Text, envfile};
use crate::manifest::At;
use crate::manifest::TextAt;
use crate::problem::{Code, Problem, Span};
use crate::terms::{Name, Place, secret, variable_prefix};

/// A value of a variable, with its source.
enum Given<'a> {
    /// The tool: an address of the stack.
    Injected(Text),
    /// A manifest: a template.
    Template(&'a TextAt),
    /// An env-file: literal.
    Literal(String, Place),
    /// `-e`: literal.
    Flag(&'a Variable),
}

impl Given<'_> {
    fn source(&self) -> Source {
        match self {
            Given::Injected(_) => Source::Injected,
            Given::Template(words) => Source::File { place: words.place() },
            Given::Literal(_, place) => Source::File { place: place.clone() },
            Given::Flag(variable) => Source::Flag { flag: variable.shown.clone() },
        }
    }
}

/// The variables of one service, and the names among them that the shell overrides.
pub(crate) fn variables(
    scope: &Scope<'_>,
    flags: &[Variable],
    files: Files<'_>,
    problems: &mut Vec<Problem>,
) -> (BTreeMap<String, Setting>, Vec<String>) {
    let node = scope.node;
    let mut given: BTreeMap<String, Vec<Given<'_>>> = BTreeMap::new();
    for (name, text) in injected(scope, problems) {
        given.entry(name).or_default().push(Given::Injected(text));
    }
    for (name, value) in scope.declarations.env.iter().chain(&node.settings.env) {
        given.entry(name.value.clone()).or_default().push(Given::Template(value));
    }
    if let Some(file) = &node.settings.env_file {
        for (line, place) in env_file(scope, file, files, problems) {
            let literal = Given::Literal(line.value, place);
            given.entry(line.name).or_default().push(literal);
        }
    }
    let for_it = flags.iter().filter(|flag| flag.is_for(&node.name));
    // `-e SERVICE:KEY=VALUE` wins over `-e KEY=VALUE` at any position of the command line.
    let (for_all, for_it): (Vec<_>, Vec<_>) = for_it.partition(|flag| flag.is_for_all());
    for flag in for_all.into_iter().chain(for_it) {
        given.entry(flag.name.clone()).or_default().push(Given::Flag(flag));
    }
    let mut overridden = Vec::new();
    let settings = given
        .into_iter()
        .map(|(name, given)| {
            let (setting, by_shell) = decide(scope, &name, &given, problems);
            if by_shell {
                overridden.push(name.clone());
            }
            (name, setting)
        })
        .collect();
    (settings, overridden)
}

/// The value that wins, and whether it is the shell's.
fn decide(
    scope: &Scope<'_>,
    name: &str,
    given: &[Given<'_>],
    problems: &mut Vec<Problem>,
) -> (Setting, bool) {
    let mut overrides: Vec<Source> = given.iter().rev().map(Given::source).collect();
    // The template of the metadata is checked even if another source wins.
    let mut found = Vec::new();
    let template = given.iter().rev().find_map(|given| match given {
        Given::Template(words) => Some(scope.fill(words, Slot::Value, &mut found)),
        _ => None,
    });
    let (mut value, mut address) = match given.last() {
        Some(Given::Injected(text)) => (text.clone(), true),
        Some(Given::Template(_)) => {
            let filled = template.unwrap_or_default();
            (filled.text, filled.address)
        }
        Some(Given::Literal(text, _)) => (Text::from(text.as_str()), false),
        Some(Given::Flag(flag)) => (Text::from(flag.value.as_str()), true),
        None => (Text::default(), true),
    };
    address |= given.iter().any(|given| matches!(given, Given::Injected(_)));
    let shell = scope.request.shell.get(name).filter(|shell| {
        scope.request.isolation == Isolation::Shared && !address && value.to_string() != **shell
    });
    let by_shell = shell.is_some();
    if by_shell || !matches!(given.last(), Some(Given::Template(_))) {
        found.retain(|problem| problem.code != Code::UnsetVariable);
    }
    problems.append(&mut found);
    let source = match shell {
        Some(shell) => {
            value = Text::from(shell.as_str());
            Source::Shell
        }
        None if overrides.is_empty() => Source::Injected,
        None => overrides.remove(0),
    };
    let secret = secret::variable(name, &value.to_string());
    (Setting { value, source, secret, overrides }, by_shell)
}

/// The addresses that a service receives: those of its dependencies and its own.
fn injected(scope: &Scope<'_>, problems: &mut Vec<Problem>) -> BTreeMap<String, Text> {
    let mut out = BTreeMap::new();
    let mut by: BTreeMap<String, &At<Name>> = BTreeMap::new();
    let mut clashing: Vec<(&Name, &Name)> = Vec::new();
    let node = scope.node;
    let own = node.declared.with(node.name.clone());
    for edge in core::iter::once(&own).chain(node.edges().map(|edge| &edge.to)) {
        for (name, text) in variables_about(scope, edge) {
            // The model reports two ports of one service.
            if let Some(first) = by.get(&name).filter(|first| first.value != edge.value)
                && !clashing.contains(&(&first.value, &edge.value))
            {
                problems.push(clash(&name, first, edge));
                clashing.push((&first.value, &edge.value));
            }
            by.insert(name.clone(), edge);
            out.insert(name, text);
        }
    }
    out
}

/// The variables about one service, in the environment of another or of itself.
fn variables_about(scope: &Scope<'_>, of: &At<Name>) -> Vec<(String, Text)> {
    let Some(address) = scope.addresses.get(&of.value) else { return Vec::new() };
    let itself = of.value == scope.node.name;
    let prefix = if itself { String::new() } else { format!("{}_", of.value.variable_prefix()) };
    let port = |index| {
        let mut text = Text::default();
        text.push_port(of.value.clone(), index);
        text
    };
    let mut out = Vec::new();
    if let (Some(url), false) = (&address.url, itself) {
        out.push((format!("{prefix}URL"), url.clone()));
    }
    if !address.ports.is_empty() {
        let host = if itself { &address.bind_host } else { &address.call_host };
        out.push((format!("{prefix}HOST"), Text::from(host.as_str())));
    }
    if let Some(index) = address.default {
        out.push((format!("{prefix}PORT"), port(index)));
    }
    if address.ports.len() > 1 {
        for (index, declared) in address.ports.iter().enumerate() {
            let name = variable_prefix(&declared.name);
            out.push((format!("{prefix}{name}_PORT"), port(index)));
            if !itself {
                out.push((format!("{prefix}{name}_URL"), address.port_url(&of.value, index)));
            }
        }
    }
    out
}

fn clash(variable: &str, first: &At<Name>, second: &At<Name>) -> Problem {
    let what = |name: &Name| format!("`{name}` sets `{variable}`");
    Problem::error(
        Code::VariableClash,
        format!("`{}` and `{}` both set the variable `{variable}`", first.value, second.value),
    )
    .at(second.span.clone(), what(&second.value))
    .context(first.span.clone(), what(&first.value))
    .hint("rename one of the services, or one of the ports")
}

/// The lines of a service's env-file.
fn env_file(
    scope: &Scope<'_>,
    file: &TextAt,
    files: Files<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<(envfile::Assignment, Place)> {
    let mut found = Vec::new();
    let path = super::paths::join(&scope.node.folder, &scope.path(file, &mut found));
    if !found.is_empty() {
        problems.append(&mut found);
        return Vec::new();
    }
    let text = match files(&path) {
        Ok(text) => text,
        Err(error) => {
            problems.push(
                Problem::error(Code::EnvFile, format!("failed to read `{}`: {error}", file.value))
                    .at(file.span.clone(), "")
                    .hint(format!("create `{}`, or remove `env-file`", file.value)),
            );
            return Vec::new();
        }
    };
    let shown = super::paths::relative(&scope.declarations.root, &path);
    let (lines, bad) = envfile::parse(&text);
    for bad in bad {
        let span = Span { file: shown.clone(), bytes: bad.bytes };
        let message = format!("line {} of `{shown}` is not `KEY=VALUE`", bad.number);
        problems.push(
            Problem::error(Code::EnvFile, message)
                .at(span, bad.why)
                .hint("write `KEY=VALUE`, or begin the line with `#`"),
        );
    }
    let place = |line: &envfile::Assignment| Place { file: shown.clone(), line: line.number };
    lines.into_iter().map(|line| (place(&line), line)).map(|(place, line)| (line, place)).collect()
}
