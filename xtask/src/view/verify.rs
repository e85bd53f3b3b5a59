//! `verify-deps`: which declared dependencies services need, as text and as documented JSON.

use std::fmt::Write as _;

use serde::Serialize;
use xtask_core::terms::duration::measured;
use xtask_core::terms::{Name, Place};

use xtask::view::calls;
use xtask::view::log::excerpt;
use xtask::view::style::{BAD, BOLD, DIM, GOOD, RESET, WARN};
use xtask::view::table::{Cell, table};
use xtask::view::words::within;

/// What `verify-deps --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct VerifyJson {
    /// Exit code: 1 if a service did not become ready.
    pub(crate) exit_code: u8,
    /// Every verified service, dependencies first.
    pub(crate) services: Vec<Verified>,
}

/// The result for one service with only its declared dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Verified {
    pub(crate) service: Name,
    pub(crate) declared: Place,
    /// Whether the service and its dependencies became ready.
    pub(crate) ready: bool,
    /// Milliseconds from its start to ready; null if it did not become ready.
    pub(crate) ready_ms: Option<u64>,
    /// The failed services, if it did not become ready.
    pub(crate) failures: Vec<Failed>,
    /// The result without each dependency; empty if it did not become ready with all of them.
    pub(crate) dependencies: Vec<Tried>,
    /// Undeclared services to which it had connections.
    pub(crate) undeclared: Vec<Name>,
}

impl Verified {
    /// Whether a service could not be started, so that the trial shows nothing about dependencies.
    fn is_untried(&self) -> bool {
        self.failures.iter().any(|failed| !failed.started)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failed {
    pub(crate) service: Name,
    pub(crate) reason: String,
    /// Whether it started; false if its program is missing or its image cannot be pulled.
    pub(crate) started: bool,
    /// The last lines of its log, as `TIMESTAMP RUN STREAM text`.
    pub(crate) last_lines: Vec<String>,
}

/// The result for a service without one of its dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Tried {
    pub(crate) on: Name,
    pub(crate) declared: Place,
    pub(crate) verdict: Verdict,
    /// Milliseconds from its start to ready without the dependency.
    pub(crate) ready_ms: Option<u64>,
    /// Why it did not become ready, or was not tried.
    pub(crate) reason: Option<String>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Without it the service did not become ready.
    Needed,
    /// The service became ready without it: a candidate for `uses`.
    Unneeded,
    /// Not tried, because a try cannot show it, or the try failed for another cause.
    NotTried,
}

/// The results as a table, with candidates for `uses`.
pub(crate) fn text(services: &[Verified]) -> String {
    let head = ["SERVICE", "ALONE", "DEPENDENCY", "WITHOUT IT"];
    let mut rows = vec![head.map(|name| Cell::styled(name, DIM)).to_vec()];
    for verified in services {
        let alone = match verified.ready_ms {
            Some(ms) => Cell::styled(format!("ready in {}", measured(ms)), GOOD),
            None if verified.is_untried() => Cell::styled("not tried", BAD),
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
    let all = services.iter().flat_map(|one| one.dependencies.iter().map(|t| (&one.service, t)));
    for (name, tried) in all.filter(|(_, tried)| tried.verdict == Verdict::Unneeded) {
        let on = &tried.on;
        let text = format!("`{name}` becomes ready without `{on}` ({})", tried.declared);
        let _ = writeln!(out, "{WARN}candidate{RESET}{BOLD}: {text}{RESET}");
        let hint = format!("in `uses`, `{name}` gets the address of `{on}` without waiting");
        let _ = writeln!(out, "  {BOLD}hint:{RESET} {hint}");
    }
    out
}

/// Errors as text: services that did not become ready, and undeclared connections.
pub(crate) fn trouble(services: &[Verified]) -> String {
    let mut out = String::new();
    for verified in services {
        let name = &verified.service;
        if !verified.ready {
            let text = match verified.is_untried() {
                true => format!("`{name}` cannot be tried"),
                false => format!("`{name}` does not become ready with its declared dependencies"),
            };
            let _ = writeln!(out, "{BAD}error{RESET}{BOLD}: {text}{RESET}");
            for Failed { service, reason, last_lines, .. } in &verified.failures {
                let _ = writeln!(out, "  `{service}`: {}", within(reason));
                out.push_str(&excerpt(last_lines));
            }
            let _ = writeln!(out, "  {DIM}declared at {}{RESET}", verified.declared);
            if !verified.is_untried() {
                let hint = format!("add what `{name}` needs to its `depends-on`");
                let _ = writeln!(out, "  {BOLD}hint:{RESET} {hint}");
            }
        }
        for to in &verified.undeclared {
            out.push_str(&calls::undeclared_call(name, to));
        }
    }
    out
}

fn without(tried: &Tried) -> Cell {
    let reason = tried.reason.as_deref().unwrap_or("unknown reason");
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
    fn unneeded_dependency_is_a_candidate() {
        assert_eq!(
            plain(&text(&[web()])),
            "SERVICE  ALONE           DEPENDENCY  WITHOUT IT\n\
             web      ready in 12 ms  api         not ready: exited with status 1\n                         \
             mail        ready in 9 ms\n\
             candidate: `web` becomes ready without `mail` (web/Cargo.toml:7)\n  \
             hint: in `uses`, `web` gets the address of `mail` without waiting\n"
        );
    }

    #[test]
    fn unready_service_is_shown_with_its_last_lines() {
        let reason = "exited with status 1 before it was ready".to_string();
        let last_lines = vec!["t 1 e no database".to_string()];
        let failures = vec![Failed { service: "web".into(), reason, started: true, last_lines }];
        let broken = Verified { ready: false, ready_ms: None, failures, ..web() };
        assert_eq!(
            plain(&trouble(&[broken])),
            "error: `web` does not become ready with its declared dependencies\n  \
             `web`: exited with status 1 before it was ready\n      | no database\n  \
             declared at web/Cargo.toml:7\n  \
             hint: add what `web` needs to its `depends-on`\n\
             warning: `web` has a connection to `db`, which it does not declare\n  \
             hint: add `db` to the `depends-on` or `uses` of `web`\n"
        );
    }

    #[test]
    fn service_that_cannot_start_gets_no_hint_about_dependencies() {
        let reason = "no program `serve-db`".to_string();
        let failed =
            Failed { service: "db".into(), reason, started: false, last_lines: Vec::new() };
        let untried = Verified { ready: false, ready_ms: None, failures: vec![failed], ..web() };
        let untried = Verified { dependencies: Vec::new(), undeclared: Vec::new(), ..untried };
        let services = [untried];
        assert_eq!(
            plain(&trouble(&services)),
            "error: `web` cannot be tried\n  `db`: no program `serve-db`\n  \
             declared at web/Cargo.toml:7\n"
        );
        assert!(plain(&text(&services)).contains("web      not tried"), "{}", text(&services));
    }
}
