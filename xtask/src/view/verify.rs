//! `verify-deps`: what services need of what they declare, as documented data and for
//! people.
//!
//! It shows what was tried; judging is done elsewhere.

use std::fmt::Write as _;

use serde::Serialize;
use xtask_core::terms::duration::measured;
use xtask_core::terms::{Name, Place};

use super::calls;
use super::log::excerpt;
use super::style::{BAD, BOLD, DIM, GOOD, RESET, WARN};
use super::table::{Cell, table};

/// What `verify-deps --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct VerifyJson {
    /// What the command ends with: 1 if a service did not get ready.
    pub(crate) exit_code: u8,
    /// Every service that was verified, dependencies first.
    pub(crate) services: Vec<Verified>,
}

/// A service alone with its declared closure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Verified {
    /// The service.
    pub(crate) service: Name,
    /// Where it is declared.
    pub(crate) declared: Place,
    /// Whether it and all that it declares got ready.
    pub(crate) ready: bool,
    /// From its start to ready, in milliseconds; null if it did not get ready.
    pub(crate) ready_ms: Option<u64>,
    /// What failed, where it did not get ready.
    pub(crate) failures: Vec<Failed>,
    /// What came of it without each thing that it depends on; empty if it did not get
    /// ready with all of them.
    pub(crate) dependencies: Vec<Tried>,
    /// Services that it had connections to and does not declare.
    pub(crate) undeclared: Vec<Name>,
}

/// A service that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failed {
    /// The service.
    pub(crate) service: Name,
    /// Why, one line.
    pub(crate) reason: String,
    /// The last lines that it printed, as `TIMESTAMP RUN STREAM text`.
    pub(crate) last_lines: Vec<String>,
}

/// A service without one of its dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Tried {
    /// The dependency.
    pub(crate) on: Name,
    /// Where it is declared.
    pub(crate) declared: Place,
    /// What came of it.
    pub(crate) verdict: Verdict,
    /// From its start to ready without the dependency, in milliseconds.
    pub(crate) ready_ms: Option<u64>,
    /// Why it did not get ready, or why it was not tried.
    pub(crate) reason: Option<String>,
}

/// Whether a dependency is needed to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Without it the service did not get ready.
    Needed,
    /// The service got ready without it: a candidate for `uses`.
    Unneeded,
    /// A try shows nothing, or something else failed in it.
    NotTried,
}

/// What was found, for people.
pub(crate) fn text(services: &[Verified]) -> String {
    let head = ["SERVICE", "ALONE", "DEPENDENCY", "WITHOUT IT"];
    let mut rows = vec![head.map(|name| Cell::styled(name, DIM)).to_vec()];
    for verified in services {
        let alone = match verified.ready_ms {
            Some(ms) => Cell::styled(format!("ready in {}", measured(ms)), GOOD),
            None => Cell::styled("not ready", BAD),
        };
        let mut first = vec![Cell::styled(&*verified.service, BOLD), alone];
        for tried in &verified.dependencies {
            first.extend([Cell::from(&*tried.on), without(tried)]);
            rows.push(std::mem::replace(&mut first, vec![Cell::default(), Cell::default()]));
        }
        if verified.dependencies.is_empty() {
            rows.push(first);
        }
    }
    let mut out = table(&rows);
    for (verified, tried) in candidates(services) {
        let (name, on) = (&verified.service, &tried.on);
        let text = format!("`{name}` gets ready without `{on}` ({})", tried.declared);
        let _ = writeln!(out, "{WARN}candidate{RESET}{BOLD}: {text}{RESET}");
        let hint = format!("in `uses`, `{name}` gets the address of `{on}` without waiting");
        let _ = writeln!(out, "  {BOLD}hint:{RESET} {hint}");
    }
    out
}

/// What is wrong, for people: services that did not get ready, and connections that are
/// not declared.
pub(crate) fn trouble(services: &[Verified]) -> String {
    let mut out = String::new();
    for verified in services {
        let name = &verified.service;
        if !verified.ready {
            let text = format!("`{name}` does not get ready with what it declares");
            let _ = writeln!(out, "{BAD}error{RESET}{BOLD}: {text}{RESET}");
            for Failed { service, reason, last_lines } in &verified.failures {
                let _ = writeln!(out, "  `{service}`: {reason}");
                out.push_str(&excerpt(last_lines));
            }
            let _ = writeln!(out, "  {DIM}declared at {}{RESET}", verified.declared);
            let hint = format!("add what `{name}` needs to its `depends-on`");
            let _ = writeln!(out, "  {BOLD}hint:{RESET} {hint}");
        }
        for to in &verified.undeclared {
            out.push_str(&calls::undeclared_call(name, to));
        }
    }
    out
}

fn candidates(services: &[Verified]) -> impl Iterator<Item = (&Verified, &Tried)> {
    let all = services
        .iter()
        .flat_map(|verified| verified.dependencies.iter().map(move |t| (verified, t)));
    all.filter(|(_, tried)| tried.verdict == Verdict::Unneeded)
}

fn without(tried: &Tried) -> Cell {
    let reason = tried.reason.as_deref().unwrap_or("no reason is known");
    match tried.verdict {
        Verdict::Needed => Cell::styled(format!("not ready: {reason}"), DIM),
        Verdict::Unneeded => {
            Cell::styled(format!("ready in {}", measured(tried.ready_ms.unwrap_or(0))), WARN)
        }
        Verdict::NotTried => Cell::styled(format!("not tried: {reason}"), DIM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn place() -> Place {
        Place { file: "web/Cargo.toml".to_string(), line: 7 }
    }

    fn web() -> Verified {
        let tried = |on: &str, verdict, ready_ms, reason: Option<&str>| Tried {
            on: on.into(),
            declared: place(),
            verdict,
            ready_ms,
            reason: reason.map(str::to_string),
        };
        Verified {
            service: "web".into(),
            declared: place(),
            ready: true,
            ready_ms: Some(12),
            failures: Vec::new(),
            dependencies: vec![
                tried("api", Verdict::Needed, None, Some("exited with status 1")),
                tried("mail", Verdict::Unneeded, Some(9), None),
            ],
            undeclared: vec!["db".into()],
        }
    }

    #[test]
    fn each_dependency_has_a_line_and_what_is_not_needed_is_a_candidate() {
        assert_eq!(
            plain(&text(&[web()])),
            "SERVICE  ALONE           DEPENDENCY  WITHOUT IT\n\
             web      ready in 12 ms  api         not ready: exited with status 1\n                         \
             mail        ready in 9 ms\n\
             candidate: `web` gets ready without `mail` (web/Cargo.toml:7)\n  \
             hint: in `uses`, `web` gets the address of `mail` without waiting\n"
        );
    }

    #[test]
    fn what_did_not_get_ready_is_told_with_its_last_lines() {
        let reason = "exited with status 1 before it was ready".to_string();
        let last_lines = vec!["t 1 e no database".to_string()];
        let failures = vec![Failed { service: "web".into(), reason, last_lines }];
        let broken = Verified { ready: false, ready_ms: None, failures, ..web() };
        assert_eq!(
            plain(&trouble(&[broken])),
            "error: `web` does not get ready with what it declares\n  \
             `web`: exited with status 1 before it was ready\n      | no database\n  \
             declared at web/Cargo.toml:7\n  \
             hint: add what `web` needs to its `depends-on`\n\
             warning: `web` has a connection to `db`, which it does not declare\n  \
             hint: add `db` to the `depends-on` or `uses` of `web`\n"
        );
    }
}
