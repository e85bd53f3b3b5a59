//! Decodes flags, once the services are known: `-e`, `--slow`, `--containers`, and arguments
//! after `--`.
//!
//! The problem of a flag has no place, because the flag is on the command line.

use crate::sorted::{SortedMap, SortedSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Faults;
use super::request::{Containers, Request};
use crate::model::{self, Model, Node, Runs};
use crate::problem::{Code, Problem};
use crate::terms::{Name, duration, secret, variable_mistake};

/// One `-e`.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    /// The service that receives it; none for all.
    service: Option<Name>,
    pub(crate) name: String,
    /// Its value, literal.
    pub(crate) value: String,
    /// The flag as typed, a secret masked.
    pub(crate) shown: String,
}

impl Variable {
    /// Whether every service receives it.
    pub(crate) fn is_for_all(&self) -> bool {
        self.service.is_none()
    }

    /// Whether this service receives it.
    pub(crate) fn is_for(&self, service: &Name) -> bool {
        self.service.as_ref().is_none_or(|name| name == service)
    }
}

/// Reads every `-e [service:]KEY=VALUE`.
pub(crate) fn variables(
    request: &Request,
    model: &Model,
    closure: &SortedSet<Name>,
    problems: &mut Vec<Problem>,
) -> Vec<Variable> {
    let mut out = Vec::new();
    let kept = request.kept.variables.iter().filter(|kept| is_for_present(kept, closure));
    for typed in kept.chain(&request.variables) {
        let mut fault = |message: String, hint: &str| {
            problems.push(Problem::error(Code::BadArgument, message).hint(hint));
        };
        let Some((key, value)) = typed.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let hint = "write `-e KEY=VALUE` or `-e SERVICE:KEY=VALUE`";
            fault(format!("`-e {typed}` sets no variable"), hint);
            continue;
        };
        let (service, name) = match key.split_once(':') {
            Some((service, name)) => (Some(service), name),
            None => (None, key),
        };
        if name.is_empty() || service == Some("") {
            let missing = if name.is_empty() { "variable" } else { "service" };
            fault(format!("`-e {key}=...` names no {missing}"), "write `-e SERVICE:KEY=VALUE`");
            continue;
        }
        if let Some((mistake, hint)) = variable_mistake(name) {
            fault(format!("`-e {key}=...`: `{name}` {mistake}"), hint);
            continue;
        }
        if let Some(service) = service
            && !named(service, &format!("-e {key}=..."), model, closure, problems)
        {
            continue;
        }
        let shown = if secret::variable(name, value) { secret::MASK } else { value };
        out.push(Variable {
            service: service.map(Name::from),
            name: name.to_string(),
            value: value.to_string(),
            shown: format!("-e {key}={shown}"),
        });
    }
    out
}

/// Whether the service that a kept `-e` names takes part.
fn is_for_present(variable: &str, closure: &SortedSet<Name>) -> bool {
    let key = variable.split_once('=').map_or(variable, |(key, _)| key);
    key.split_once(':').is_none_or(|(service, _)| closure.contains(service))
}

/// Reads every `--slow SERVICE=TIME`, and adds the order of starts.
pub(crate) fn faults(
    request: &Request,
    model: &Model,
    closure: &SortedSet<Name>,
    problems: &mut Vec<Problem>,
) -> Faults {
    let mut slow = SortedMap::new();
    for typed in &request.slow {
        let (service, time) = typed.split_once('=').unwrap_or((typed, ""));
        match duration::parse(time) {
            Ok(time) if named(service, &format!("--slow {typed}"), model, closure, problems) => {
                slow.insert(Name::from(service), time);
            }
            Ok(_) => {}
            Err(why) => {
                let message = format!("`--slow {typed}`: the time {why}");
                let hint = "write `--slow SERVICE=TIME`, with a time such as `2s` or `300ms`";
                problems.push(Problem::error(Code::BadArgument, message).hint(hint));
            }
        }
    }
    Faults { start_order: request.start_order, slow }
}

/// Whether the service that a flag names takes part.
fn named(
    service: &str,
    flag: &str,
    model: &Model,
    closure: &SortedSet<Name>,
    problems: &mut Vec<Problem>,
) -> bool {
    if closure.contains(service) {
        return true;
    }
    problems.push(if model.node(service).is_some() {
        let message = format!("`{flag}` names `{service}`, which this command does not start");
        let hint = format!("add `{service}` to the services, or remove the flag");
        Problem::error(Code::BadArgument, message).hint(hint)
    } else {
        unknown(service, &format!("in `{flag}`"), model)
    });
    false
}

/// The problem of an undeclared service on the command line.
pub(crate) fn unknown(service: &str, place: &str, model: &Model) -> Problem {
    let message = format!("{} ({place})", model::no_service(service));
    let problem = Problem::error(Code::UnknownService, message);
    model::suggest(problem, service, model.nodes.iter().map(|node| &node.name))
}

/// Reports services that `--containers` names and that cannot run in one.
pub(crate) fn containers(request: &Request, model: &Model, problems: &mut Vec<Problem>) {
    let Containers::Named(names) = &request.containers else { return };
    for name in names {
        let Some(node) = model.node(name) else {
            problems.push(unknown(name, "in `--containers`", model));
            continue;
        };
        let why = match node.program {
            Runs::Binary(_) if node.settings.placement.is_some() => {
                "its metadata sets `placement = \"process\"`"
            }
            Runs::Binary(_) | Runs::Image(_) | Runs::Unknown => continue,
            Runs::Command(_) => "it is a command",
            Runs::External => "it is external",
        };
        let message = format!("`{name}` cannot run in a container: {why}");
        let hint = format!("remove `{name}`, or give it `image = \"...\"` in an overlay");
        problems.push(Problem::error(Code::BadArgument, message).hint(hint));
    }
}

/// The service that gets the arguments after `--`, if there are any.
pub(crate) fn arguments_for<'a>(
    request: &Request,
    model: &'a Model,
    problems: &mut Vec<Problem>,
) -> Option<&'a Name> {
    if request.args.is_empty() {
        return None;
    }
    let mut fault = |message: String, hint: &str| {
        problems.push(Problem::error(Code::BadArgument, message).hint(hint));
        None
    };
    let hint = "name one service: `%xtask% up SERVICE -- ...`";
    let named = match &request.args_for {
        Some(name) => core::slice::from_ref(name),
        None => request.services.as_slice(),
    };
    match named {
        [name] => match model.node(name) {
            Some(Node { program: Runs::External, .. }) => fault(
                format!("`{name}` is external, so it takes no arguments"),
                "remove `--` and the arguments",
            ),
            Some(node) => Some(&node.name),
            // `select` reports the unknown service.
            None => None,
        },
        [] => fault("arguments after `--` need one service".to_string(), hint),
        several => {
            let count = several.len();
            fault(format!("arguments after `--` go to one service, not to {count}"), hint)
        }
    }
}
