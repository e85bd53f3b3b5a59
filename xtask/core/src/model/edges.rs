//! Resolves the names of dependencies to services.
//!
//! It does not look for cycles: the plan does, once it knows which services take part.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Requirement;
use super::merge::Merged;
use crate::manifest::Declarations;
use crate::manifest::TextAt;
use crate::manifest::shape::DependsOn;
use crate::manifest::suggest::{list, nearest};
use crate::problem::{Code, Problem};
use crate::terms::{Condition, Kind, Name};

/// The edges of one service: those of `depends-on`, and those of `uses`.
pub(super) fn resolve(
    merged: &Merged,
    names: &BTreeMap<Name, Kind>,
    problems: &mut Vec<Problem>,
) -> (Vec<Requirement>, Vec<Requirement>) {
    let mut waits: Vec<Requirement> = Vec::new();
    for edge in &merged.settings.depends_on {
        let Some(kind) = known(merged, &edge.on, names, problems) else { continue };
        let condition = condition(edge, kind, problems);
        push(&mut waits, &edge.on, (condition, edge.restart), edge.table.clone());
    }
    let mut uses: Vec<Requirement> = Vec::new();
    for used in &merged.settings.uses {
        let found = known(merged, used, names, problems).is_some();
        if found && waits.iter().all(|edge| *edge.to.value != *used.value) {
            push(&mut uses, used, (Condition::Started, false), Vec::new());
        }
    }
    (waits, uses)
}

fn push(
    edges: &mut Vec<Requirement>,
    to: &TextAt,
    (condition, restart): (Condition, bool),
    table: Vec<String>,
) {
    if edges.iter().all(|edge| *edge.to.value != *to.value) {
        let to = to.with(Name::from(to.value.as_str()));
        edges.push(Requirement { to, condition, restart, table });
    }
}

/// The kind of the named service; reports an unknown name, and the service itself.
fn known(
    merged: &Merged,
    to: &TextAt,
    names: &BTreeMap<Name, Kind>,
    problems: &mut Vec<Problem>,
) -> Option<Kind> {
    if to.value == merged.name.value || to.value == "self" {
        problems.push(
            Problem::error(
                Code::SelfDependency,
                format!("`{}` depends on itself", merged.name.value),
            )
            .at(to.span.clone(), "")
            .hint(format!("remove `{}` here; its own address is `${{self.url}}`", to.value)),
        );
        return None;
    }
    let kind = names.get(to.value.as_str()).copied();
    if kind.is_none() {
        problems.push(unknown(to, names));
    }
    kind
}

/// The problem of a name that no service has, at the place of the name.
fn unknown(to: &TextAt, names: &BTreeMap<Name, Kind>) -> Problem {
    suggest(
        Problem::error(Code::UnknownService, format!("no service is called `{}`", to.value)),
        &to.value,
        names.keys(),
    )
    .at(to.span.clone(), "")
}

/// Adds the service names that the user may have meant.
pub(crate) fn suggest<'a>(
    problem: Problem,
    name: &str,
    names: impl Iterator<Item = &'a Name> + Clone,
) -> Problem {
    match nearest(name, names.clone().map(Name::as_str)) {
        Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
        None if names.clone().next().is_none() => problem
            .note("this workspace declares no services")
            .hint("declare one: `[package.metadata.service]` in a member's `Cargo.toml`"),
        None => problem
            .note(format!(
                "services are {}",
                list(names.map(Name::as_str).collect::<BTreeSet<_>>())
            ))
            .hint(format!("declare `{name}`, or remove it here")),
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
    problems.push(
        Problem::error(
            Code::WrongCondition,
            format!("this condition is never met: `{}` is {what}", edge.on.value),
        )
        .at(written.span.clone(), "")
        .hint(format!("write `\"{meant}\"`")),
    );
    fitting
}

/// Reports names in `default` that no service has.
pub(super) fn defaults(
    declarations: &Declarations,
    names: &BTreeMap<Name, Kind>,
    problems: &mut Vec<Problem>,
) {
    for name in declarations.default.iter().flatten() {
        if !names.contains_key(name.value.as_str()) {
            problems.push(unknown(name, names));
        }
    }
}
