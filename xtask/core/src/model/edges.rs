//! Resolves the names of dependencies to services.
//!
//! It does not look for cycles: the plan does, once it knows which services take part.

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Node, Requirement};
use crate::manifest::is_name;
use crate::manifest::shape::DependsOn;
use crate::manifest::{Declarations, TextAt};
use crate::problem::{Code, Problem};
use crate::terms::suggest::{list, nearest};
use crate::terms::{Condition, Kind, Name};

/// Sets the edges of one service: those of `depends-on`, and those of `uses`.
pub(super) fn resolve(node: &mut Node, kinds: &SortedMap<Name, Kind>, problems: &mut Vec<Problem>) {
    let mut waits: Vec<Requirement> = Vec::new();
    for edge in &node.settings.depends_on {
        let Some(kind) = known(node, &edge.on, kinds, problems) else { continue };
        let condition = condition(edge, kind, problems);
        if is_new(&waits, &edge.on) {
            let to = edge.on.clone().map(Name::from);
            let (restart, table) = (edge.restart, edge.table.clone());
            waits.push(Requirement { to, condition, restart, table });
        }
    }
    let mut uses: Vec<Requirement> = Vec::new();
    for used in &node.settings.uses {
        let found = known(node, used, kinds, problems).is_some();
        if found && is_new(&waits, used) && is_new(&uses, used) {
            let (to, condition) = (used.clone().map(Name::from), Condition::Started);
            uses.push(Requirement { to, condition, restart: false, table: Vec::new() });
        }
    }
    (node.depends_on, node.uses) = (waits, uses);
}

fn is_new(edges: &[Requirement], to: &TextAt) -> bool {
    edges.iter().all(|edge| *edge.to.value != *to.value)
}

/// The kind of the named service; reports an unknown name, and the service itself.
fn known(
    node: &Node,
    to: &TextAt,
    kinds: &SortedMap<Name, Kind>,
    problems: &mut Vec<Problem>,
) -> Option<Kind> {
    let name = to.value.as_str();
    if name == node.name.as_str() || name == "self" {
        let message = format!("`{}` depends on itself", node.name);
        let problem = Problem::error(Code::SelfDependency, message).at(to.span.clone(), "");
        let hint = format!("remove `{name}` here; its own address is `${{self.url}}`");
        problems.push(problem.hint(hint));
        return None;
    }
    let kind = kinds.get(name).copied();
    if kind.is_none() {
        problems.push(unknown(to, kinds));
    }
    kind
}

/// The problem of a name that no service has, at the place of the name.
fn unknown(to: &TextAt, kinds: &SortedMap<Name, Kind>) -> Problem {
    let message = no_service(&to.value);
    let problem = Problem::error(Code::UnknownService, message).at(to.span.clone(), "");
    suggest(problem, &to.value, kinds.keys())
}

/// That no service has this name.
pub(crate) fn no_service(name: &str) -> String {
    match name.trim() {
        "" => "the name of a service is empty".to_string(),
        _ => format!("no service is called `{name}`"),
    }
}

/// Adds the service names that the user may have meant.
pub(crate) fn suggest<'a>(
    problem: Problem,
    name: &str,
    names: impl Iterator<Item = &'a Name>,
) -> Problem {
    let names: SortedSet<&str> = names.map(Name::as_str).collect();
    match nearest(name, names.iter().copied()) {
        Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
        None if names.is_empty() => problem
            .note("this workspace declares no services")
            .hint("declare one: `[package.metadata.service]` in a member's `Cargo.toml`"),
        None => problem.note(format!("services are {}", list(names))).hint(match is_name(name) {
            true => format!("declare `{name}`, or remove it here"),
            false => "name one of them, or remove it here".to_string(),
        }),
    }
}

/// The condition of an edge: as written, else the one that fits the dependency's kind.
fn condition(edge: &DependsOn, kind: Kind, problems: &mut Vec<Problem>) -> Condition {
    let fitting = match kind {
        Kind::Service => Condition::Ready,
        Kind::Job => Condition::Succeeded,
    };
    let Some(written) = &edge.condition else { return fitting };
    let (what, meant) = match (kind, written.value) {
        (Kind::Service, Condition::Succeeded) => ("a service, which runs until stopped", "ready"),
        (Kind::Job, Condition::Ready) => ("a job, which ends and is never ready", "succeeded"),
        _ => return written.value,
    };
    let message = format!("this condition is never met: `{}` is {what}", edge.on.value);
    let problem = Problem::error(Code::WrongCondition, message).at(written.span.clone(), "");
    problems.push(problem.hint(format!("write `\"{meant}\"`")));
    fitting
}

/// Reports names in `default` that no service has.
pub(super) fn defaults(
    declarations: &Declarations,
    kinds: &SortedMap<Name, Kind>,
    problems: &mut Vec<Problem>,
) {
    let names = declarations.default.iter().flatten();
    let unknown_names = names.filter(|name| !kinds.contains_key(name.value.as_str()));
    problems.extend(unknown_names.map(|name| unknown(name, kinds)));
}
