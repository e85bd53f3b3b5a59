//! Parts of a service in words, for the views that show them to people.
//!
//! Data for programs is made elsewhere; nothing here is stable.

use xtask_client::paths::DEFAULT_STACK;
use xtask_core::plan::{Dependency, Probe, Program, Service};
use xtask_core::terms::duration::spell;
use xtask_core::terms::secret::MASK;
use xtask_core::terms::{Condition, Kind, Placement};

use super::setting::Values;

/// Words with commas between them.
pub(crate) fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// A command of this tool about that stack, as somebody would type it.
pub(crate) fn command_for(stack: &str, words: &str) -> String {
    match stack {
        DEFAULT_STACK => format!("`cargo xtask {words}`"),
        stack => format!("`cargo xtask {words} --stack {stack}`"),
    }
}

/// Program and arguments.
pub(crate) fn command(values: &Values<'_>, service: &Service) -> String {
    let mut words = vec![match &service.program {
        Program::Artifact { package, binary, .. } if package == binary => {
            format!("binary `{binary}`")
        }
        Program::Artifact { package, binary, .. } => {
            format!("binary `{binary}` of package `{package}`")
        }
        Program::Command { program } => values.setting(program),
        Program::External => "nothing: it is not managed".to_string(),
        Program::Image { image, .. } => format!("image `{image}`"),
    }];
    if let (Program::Artifact { .. }, Placement::Container) = (&service.program, service.placement)
    {
        words.push("in a container".to_string());
    }
    words.extend(service.args.iter().map(|arg| quoted(&values.setting(arg))));
    words.join(" ")
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=:/.,@%+".contains(c);
    // What is masked is no word of a shell.
    if word == MASK || !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// An edge that waits.
pub(crate) fn dependency(edge: &Dependency) -> String {
    let condition = match edge.condition {
        Condition::Ready => "",
        Condition::Started => " (started)",
        Condition::Succeeded => " (succeeded)",
    };
    let restart = if edge.restart { ", restarted with it" } else { "" };
    format!("{}{condition}{restart}", edge.on)
}

/// When a service is ready.
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

/// A probe.
pub(crate) fn probe(values: &Values<'_>, service: &Service, probe: &Probe) -> String {
    let on = |port: usize| match service.ports.get(port) {
        Some(port) if service.ports.len() > 1 => format!(" on port `{}`", port.name),
        _ => String::new(),
    };
    match probe {
        Probe::Notify => "it says so (sd_notify)".to_string(),
        Probe::Http { path, status, port } => {
            let status = list(status.iter().map(ToString::to_string));
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

/// How a service is stopped.
pub(crate) fn stop(service: &Service) -> String {
    format!("{}, and killed after {}", service.stop.signal, spell(service.stop.timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell_are_quoted_where_it_would_change_them() {
        assert_eq!(quoted("shop::shelves"), "shop::shelves");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("*.log"), "'*.log'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
