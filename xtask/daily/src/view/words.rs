//! Parts of a service as text, shared by the views. The texts are not stable.

use xtask_control::paths::DEFAULT_STACK;
use xtask_core::plan::{Dependency, Probe, Program, Replacement, Service};
use xtask_core::terms::duration::spell;
use xtask_core::terms::secret::MASK;
use xtask_core::terms::words::shell_word;
use xtask_core::terms::{Condition, Kind, Placement};

use super::setting::Values;
/// A text from elsewhere as part of a line. Its further lines are indented, so that none of them
/// looks like a line of the tool.
pub fn within(text: &str) -> String {
    text.replace('\n', "\n      ")
}

pub fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// `service` or `job`.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => "service",
        Kind::Job => "job",
    }
}

/// A command of this tool for `stack`, as a user types it.
pub fn command_for(stack: &str, words: &str) -> String {
    match stack {
        DEFAULT_STACK => format!("`%xtask% {words}`"),
        stack => format!("`%xtask% {words} --stack {stack}`"),
    }
}

pub(crate) fn command(values: &Values<'_>, service: &Service) -> String {
    let mut words = vec![match &service.program {
        Program::Artifact { package, binary, .. } if package == binary => {
            format!("binary `{binary}`")
        }
        Program::Artifact { package, binary, .. } => {
            format!("binary `{binary}` of package `{package}`")
        }
        Program::Command { program } => values.setting(program),
        Program::External => "nothing: external".to_string(),
        Program::Image { image, .. } => format!("image `{image}`"),
    }];
    if let (Program::Artifact { .. }, Placement::Container) = (&service.program, service.placement)
    {
        words.push("in a container".to_string());
    }
    words.extend(service.args.iter().map(|arg| quoted(&values.setting(arg))));
    words.join(" ")
}

/// Quotes a word for a shell if needed. A masked value stays readable as a mask.
pub fn quoted(word: &str) -> String {
    if word == MASK { word.to_string() } else { shell_word(word).into_owned() }
}

pub fn dependency(edge: &Dependency) -> String {
    let condition = match edge.condition {
        Condition::Ready => "",
        Condition::Started => " (started)",
        Condition::Succeeded => " (succeeded)",
    };
    let restart = if edge.restart { ", restarted with it" } else { "" };
    format!("{}{condition}{restart}", edge.on)
}

/// How a new run replaces the present one, and what a handover lacks.
#[must_use]
pub fn replacement(service: &Service) -> Option<String> {
    Some(match service.replacement()? {
        Replacement::Handover => "by a new run that is ready before the old one stops".to_owned(),
        Replacement::Queue => format!(
            "after the old run stopped; callers wait; a handover needs {}",
            lacks(service).join(" and ")
        ),
        Replacement::Stop => format!(
            "after the old run stopped; callers cannot connect meanwhile; a handover needs {}",
            lacks(service).join(" and ")
        ),
    })
}

/// What a service lacks to be handed over.
fn lacks(service: &Service) -> Vec<&'static str> {
    let lacks = [
        (!service.socket_activation, "`socket-activation`"),
        (!service.probes.contains(&Probe::Notify), "a `notify` probe"),
        (service.placement == Placement::Container, "a process instead of a container"),
    ];
    lacks.into_iter().filter(|(lacks, _)| *lacks).map(|(_, what)| what).collect()
}

/// The condition under which a service is ready.
pub(crate) fn ready(values: &Values<'_>, service: &Service) -> String {
    if service.probes.is_empty() {
        return match service.kind {
            Kind::Service => "started".to_string(),
            Kind::Job => "ended with exit code 0".to_string(),
        };
    }
    let all = service.probes.iter().map(|p| probe(values, service, p));
    all.collect::<Vec<_>>().join(" and ")
}

pub(crate) fn probe(values: &Values<'_>, service: &Service, probe: &Probe) -> String {
    let on = |port: usize| match service.ports.get(port) {
        Some(port) if service.ports.len() > 1 => format!(" on port `{}`", port.name),
        _ => String::new(),
    };
    match probe {
        Probe::Notify => "it sends READY=1 (sd_notify)".to_string(),
        Probe::Http { path, status, port } => {
            let status = match status.as_slice() {
                [] => "2xx".to_string(),
                listed => list(listed.iter().map(ToString::to_string)),
            };
            format!("GET {path} answers {status}{}", on(*port))
        }
        Probe::Tcp { port } => format!("it accepts connections{}", on(*port)),
        Probe::Log { pattern } => format!("it prints a line like /{pattern}/"),
        Probe::Command { command } => {
            let words: Vec<String> = command.iter().map(|w| quoted(&values.text(w))).collect();
            format!("`{}` succeeds", words.join(" "))
        }
    }
}

/// The health checks of a service, if it has any.
pub(crate) fn health(values: &Values<'_>, service: &Service) -> Option<String> {
    let health = service.health.as_ref()?;
    let restart = if health.restart { "; restarted when unhealthy" } else { "" };
    let asked = probe(values, service, &health.probe);
    Some(format!("{asked}, every {}{restart}", spell(health.every)))
}

pub fn stop(service: &Service) -> String {
    format!("{}, and killed after {}", service.stop.signal, spell(service.stop.timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_quoted_for_a_shell() {
        assert_eq!(quoted("shop::shelves"), "shop::shelves");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("*.log"), "'*.log'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
