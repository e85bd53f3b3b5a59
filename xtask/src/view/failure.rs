//! Why an `up` failed: which service, what was seen, who waits on it, the way out.
//!
//! Pure: the caller brings the last lines of the logs. Services that failed only
//! because of another one are named with that one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use xtask_client::snapshot::{Failure, Phase, ServiceSnapshot};
use xtask_core::plan::Plan;
use xtask_core::terms::Name;

use super::log::excerpt;
use super::style::{BAD, BOLD, DIM, RESET};
use super::words::command_for;

/// Of those that wait for a service that failed, so many are named.
const SHOWN_WAITING: usize = 8;

/// The words about everything in `services` that failed. `logs` holds the last lines
/// of each failed service's last run.
pub(crate) fn failures(
    plan: &Plan,
    services: &[&ServiceSnapshot],
    logs: &BTreeMap<Name, Vec<String>>,
) -> String {
    let mut out = String::new();
    let held_up = HeldUp::new(plan, services);
    for service in services.iter().filter(|service| is_cause(service)) {
        let name = &service.name;
        let _ = writeln!(out, "{BAD}error{RESET}{BOLD}: `{name}` {}{RESET}", headline(service));
        match (&service.reason, service.failure) {
            // Cargo has said why, right above.
            (Some(_), Some(Failure::Build)) if !has_words(service) => {}
            (Some(reason), _) => drop(writeln!(out, "  {reason}")),
            (None, _) => {}
        }
        if let Some(place) = plan.service(name).map(|planned| &planned.declared) {
            let _ = writeln!(out, "  {DIM}declared at {place}{RESET}");
        }
        // Usually the reason has said it already.
        let said = |seen: &&String| service.reason.as_ref().is_some_and(|r| r.contains(*seen));
        let unsaid: Vec<&str> =
            service.seen.iter().filter(|seen| !said(seen)).map(String::as_str).collect();
        if !unsaid.is_empty() && service.failure == Some(Failure::Timeout) {
            let _ = writeln!(out, "  last seen: {}", unsaid.join("; "));
        }
        let waiting = held_up.by(name);
        for waiting in waiting.iter().take(SHOWN_WAITING) {
            let _ = writeln!(out, "  `{waiting}` is waiting on it");
        }
        if waiting.len() > SHOWN_WAITING {
            let _ = writeln!(out, "  and {} more", waiting.len() - SHOWN_WAITING);
        }
        if let Some(lines) = logs.get(name).filter(|lines| !lines.is_empty()) {
            let _ = writeln!(out, "  its last lines:");
            out.push_str(&excerpt(lines));
        } else if logs.contains_key(name) {
            let _ = writeln!(out, "  it printed nothing");
        }
        if let Some(hint) = hint(service, &plan.stack) {
            let _ = writeln!(out, "  {BOLD}hint:{RESET} {hint}");
        }
    }
    out
}

/// Whether the reason of a failed build says more than that it failed.
fn has_words(service: &ServiceSnapshot) -> bool {
    service.reason.as_ref().is_some_and(|reason| !reason.contains("could not be built"))
}

/// Whether a service failed, and not only because of another one.
pub(crate) fn is_cause(service: &ServiceSnapshot) -> bool {
    service.phase == Phase::Failed && service.failure != Some(Failure::Dependency)
        || is_taken_down(service)
}

/// Whether a service is as it was wanted.
pub(crate) fn is_well(service: &ServiceSnapshot) -> bool {
    match service.phase {
        Phase::Ready | Phase::Succeeded => true,
        // One that is wanted and stopped has ended by itself, well, and is not started again.
        Phase::Stopped => service.wanted,
        Phase::Waiting
        | Phase::Building
        | Phase::Starting
        | Phase::Backoff
        | Phase::Stopping
        | Phase::Failed => false,
    }
}

/// Whether somebody took it down while it was brought up.
fn is_taken_down(service: &ServiceSnapshot) -> bool {
    service.phase == Phase::Stopped && !service.wanted
}

/// Whether a failed service had a process, so that its log says something about it.
pub(crate) fn has_log(service: &ServiceSnapshot) -> bool {
    match service.failure {
        Some(Failure::Start | Failure::Timeout | Failure::Died) => service.run > 0,
        Some(Failure::Build | Failure::Port | Failure::Unadopted | Failure::Dependency) | None => {
            false
        }
    }
}

fn headline(service: &ServiceSnapshot) -> &'static str {
    if is_taken_down(service) {
        return "was taken down meanwhile";
    }
    match service.failure {
        Some(Failure::Build) => "could not be built",
        Some(Failure::Port) => "cannot have its port",
        Some(Failure::Unadopted) => "runs already, and not as it is wanted",
        Some(Failure::Start) => "did not start",
        Some(Failure::Timeout) => "did not get ready in time",
        Some(Failure::Died) => "ended by itself",
        Some(Failure::Dependency) | None => "failed",
    }
}

fn hint(service: &ServiceSnapshot, stack: &str) -> Option<String> {
    let name = &service.name;
    let command = |words: &str| command_for(stack, words);
    match service.failure {
        Some(Failure::Port) => {
            Some(format!("{}, or stop that program", command("up --ports auto")))
        }
        Some(Failure::Unadopted) => {
            Some(format!("{} stops that process, and starts ours", command("up --replace")))
        }
        Some(Failure::Timeout) => {
            let explain = command(&format!("explain {name}"));
            Some(format!("{explain} shows how readiness is found out"))
        }
        Some(Failure::Start | Failure::Died) => {
            Some(format!("{} shows all that it printed", command(&format!("logs {name}"))))
        }
        Some(Failure::Build | Failure::Dependency) | None => None,
    }
}

/// The services of a plan that are not up because they wait.
struct HeldUp<'a> {
    /// Those that wait for a service, in order of the plan.
    dependents: BTreeMap<&'a Name, Vec<&'a Name>>,
}

impl<'a> HeldUp<'a> {
    fn new(plan: &'a Plan, services: &[&ServiceSnapshot]) -> Self {
        let held_up: BTreeSet<&Name> =
            services.iter().filter(|s| is_held_up(s)).map(|service| &service.name).collect();
        let mut dependents: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for planned in plan.services.iter().filter(|planned| held_up.contains(&planned.name)) {
            for edge in &planned.depends_on {
                dependents.entry(&edge.on).or_default().push(&planned.name);
            }
        }
        Self { dependents }
    }

    /// Those that wait for `name`, directly or not: the nearest first.
    fn by(&self, name: &Name) -> Vec<&'a Name> {
        let next = |name: &Name| self.dependents.get(name).into_iter().flatten().copied();
        let mut found: Vec<&Name> = Vec::new();
        let mut seen: BTreeSet<&Name> = BTreeSet::new();
        let mut queue: VecDeque<&Name> = next(name).collect();
        while let Some(waiting) = queue.pop_front() {
            if seen.insert(waiting) {
                found.push(waiting);
                queue.extend(next(waiting));
            }
        }
        found
    }
}

fn is_held_up(service: &ServiceSnapshot) -> bool {
    match service.phase {
        Phase::Waiting | Phase::Building => true,
        Phase::Failed => service.failure == Some(Failure::Dependency),
        Phase::Starting
        | Phase::Ready
        | Phase::Backoff
        | Phase::Stopping
        | Phase::Stopped
        | Phase::Succeeded => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{plan, service};

    fn failed(name: &str, failure: Failure, reason: &str) -> ServiceSnapshot {
        let mut service = service(name, Phase::Failed);
        service.failure = Some(failure);
        service.reason = Some(reason.to_string());
        service
    }

    #[test]
    fn a_failure_names_the_cause_who_waits_and_the_last_lines() {
        let plan = plan(&[("db", &[]), ("api", &["db"]), ("web", &["api"])]);
        let db = failed("db", Failure::Start, "it ended with exit code 1");
        let api = failed("api", Failure::Dependency, "`db` failed");
        let web = service("web", Phase::Waiting);
        let logs = BTreeMap::from([("db".into(), vec!["t 1 e no disk".to_string()])]);
        let text =
            anstream::adapter::strip_str(&failures(&plan, &[&db, &api, &web], &logs)).to_string();
        assert_eq!(
            text,
            "error: `db` did not start\n  it ended with exit code 1\n  declared at Cargo.toml:1\n  \
             `api` is waiting on it\n  `web` is waiting on it\n  its last lines:\n      \
             | no disk\n  hint: `cargo xtask logs db` shows all that it printed\n"
        );
    }

    #[test]
    fn of_many_that_wait_some_are_named_and_all_are_counted() {
        let names: Vec<String> = (10..40).map(|number| format!("s{number}")).collect();
        let chain: Vec<[&str; 1]> =
            std::iter::once("db").chain(names.iter().map(String::as_str)).map(|on| [on]).collect();
        let mut edges: Vec<(&str, &[&str])> = vec![("db", &[])];
        edges.extend(names.iter().zip(&chain).map(|(name, on)| (name.as_str(), on.as_slice())));
        let plan = plan(&edges);
        let mut states = vec![failed("db", Failure::Start, "it ended with exit code 1")];
        states.extend(names.iter().map(|name| service(name, Phase::Waiting)));
        let text = failures(&plan, &states.iter().collect::<Vec<_>>(), &BTreeMap::new());
        assert!(text.contains("`s17` is waiting on it") && !text.contains("`s18`"), "{text}");
        assert!(text.contains("  and 22 more\n"), "{text}");
    }

    #[test]
    fn a_hint_is_about_the_stack_that_failed() {
        let mut plan = plan(&[("db", &[])]);
        plan.stack = "e2e-7".to_string();
        let db = failed("db", Failure::Start, "it ended with exit code 1");
        let text = failures(&plan, &[&db], &BTreeMap::new());
        assert!(text.contains("`cargo xtask logs db --stack e2e-7`"), "{text}");
    }

    #[test]
    fn a_failed_build_is_left_to_cargo_to_explain() {
        let plan = plan(&[("db", &[])]);
        let db = failed("db", Failure::Build, "its program could not be built");
        let text = failures(&plan, &[&db], &BTreeMap::new());
        assert!(!text.contains("its program"), "{text}");
        let db = failed("db", Failure::Build, "there is no `/t/db`");
        let text = failures(&plan, &[&db], &BTreeMap::new());
        assert!(text.contains("there is no `/t/db`"), "{text}");
    }

    #[test]
    fn a_held_port_has_the_command_that_gets_around_it() {
        let plan = plan(&[("db", &[])]);
        let db = failed("db", Failure::Port, "port 5 is held by `python3` (pid 7)");
        let text = failures(&plan, &[&db], &BTreeMap::new());
        assert!(text.contains("port 5 is held by `python3` (pid 7)"), "{text}");
        assert!(text.contains("cargo xtask up --ports auto"), "{text}");
    }
}
