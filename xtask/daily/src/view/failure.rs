//! Why an `up` failed: the service, what its probes saw, the services that wait for it, a hint.
//!
//! The caller passes the causes from the logs. A service that failed only because of another one
//! is listed with that one.

use std::collections::VecDeque;
use std::fmt::Write;
use xtask_core::sorted::{SortedMap, SortedSet};

use xtask_core::plan::{Plan, Service};
use xtask_core::snapshot::{Failure, Phase, ServiceSnapshot};
use xtask_core::terms::Name;

use super::buffering;
use super::cause::Cause;
use super::style::{BAD, BOLD, DIM, RESET};
use super::words::{command_for, within};

/// The number of waiting dependents that are listed for a failed service.
const SHOWN_WAITING: usize = 8;

/// The reason of a service that ended as a job does.
const ENDED_WELL: &str = "exited with status 0";

/// Text about every service in `services` that failed. `causes` holds what the last run of each
/// printed.
pub(crate) fn failures(
    plan: &Plan,
    services: &[&ServiceSnapshot],
    causes: &SortedMap<Name, Cause>,
) -> String {
    let mut out = String::new();
    let dependents = waiting_dependents(plan, services);
    for service in services.iter().filter(|service| is_cause(service)) {
        let name = &service.name;
        let _ = writeln!(out, "{BAD}error{RESET}{BOLD}: `{name}` {}{RESET}", headline(service));
        match (&service.reason, service.failure) {
            // Cargo has printed the cause right above.
            (Some(_), Some(Failure::Build)) if !explains_build(service) => {}
            (Some(reason), _) => drop(writeln!(out, "  {}", within(reason))),
            (None, _) => {}
        }
        if let Some(place) = plan.service(name).map(|planned| &planned.declared) {
            let _ = writeln!(out, "  {DIM}declared at {place}{RESET}");
        }
        // Usually the reason contains it already.
        let reported = |seen: &&String| service.reason.as_ref().is_some_and(|r| r.contains(*seen));
        let other: Vec<&str> =
            service.seen.iter().filter(|seen| !reported(seen)).map(String::as_str).collect();
        if !other.is_empty() && service.failure == Some(Failure::Timeout) {
            let _ = writeln!(out, "  last seen: {}", within(&other.join("; ")));
        }
        let waiting = held_up_by(&dependents, name);
        for waiting in waiting.iter().take(SHOWN_WAITING) {
            let _ = writeln!(out, "  `{waiting}` is waiting on it");
        }
        if waiting.len() > SHOWN_WAITING {
            let _ = writeln!(out, "  and {} more", waiting.len() - SHOWN_WAITING);
        }
        match causes.get(name) {
            Some(cause) if !cause.records.is_empty() => {
                let _ = writeln!(out, "  its last lines:");
                out.push_str(&cause.text());
            }
            Some(_) => drop(writeln!(out, "  it printed nothing")),
            None => {}
        }
        let held_back = buffering_hint(plan, service, causes.get(name));
        if let Some(hint) = held_back.or_else(|| hint(plan, service)) {
            let _ = writeln!(out, "  {BOLD}hint:{RESET} {}", within(&hint));
        }
    }
    out
}

/// Whether the reason of a failed build contains more than that it failed.
fn explains_build(service: &ServiceSnapshot) -> bool {
    service.reason.as_ref().is_some_and(|reason| !reason.contains("could not be built"))
}

/// Whether a service failed for a cause of its own.
pub fn is_cause(service: &ServiceSnapshot) -> bool {
    service.failure.is_some_and(|failure| failure != Failure::Dependency)
        || (service.phase == Phase::Failed && service.failure.is_none())
        || service.phase == Phase::Unhealthy
        || is_taken_down(service)
}

/// Whether a service is in the state that `up` requested.
pub fn is_well(service: &ServiceSnapshot) -> bool {
    // A wanted service that is stopped has exited by itself with success.
    matches!(service.phase, Phase::Ready | Phase::Succeeded)
        || service.phase == Phase::Stopped && service.wanted
}

/// Whether another command took it down during the bring-up.
fn is_taken_down(service: &ServiceSnapshot) -> bool {
    service.phase == Phase::Stopped && !service.wanted
}

/// Whether a failed service had a process, so that its log can explain the failure.
pub fn has_log(service: &ServiceSnapshot) -> bool {
    let ran = matches!(service.failure, Some(Failure::Start | Failure::Timeout | Failure::Died));
    ran && service.started && failed_run(service) > 0
}

/// The run that failed: the candidate, if one failed while the previous run continues.
pub(crate) fn failed_run(service: &ServiceSnapshot) -> u64 {
    let candidate = service.candidate.as_ref().filter(|run| run.phase == Phase::Failed);
    candidate.map_or(service.run, |candidate| candidate.run)
}

fn headline(service: &ServiceSnapshot) -> &'static str {
    if is_taken_down(service) {
        return "was taken down by another command";
    }
    if service.phase == Phase::Unhealthy {
        return "is unhealthy";
    }
    if service.phase != Phase::Failed && service.candidate.is_some() {
        return "has a new run that failed, and keeps its previous run";
    }
    if service.phase != Phase::Failed {
        return "did not get its new ports, and keeps running as before";
    }
    match service.failure {
        Some(Failure::Build) => "could not be built",
        Some(Failure::Port | Failure::Sibling) => "did not get its port",
        Some(Failure::Unadopted) => "already runs with other settings",
        Some(Failure::Start) => "did not start",
        Some(Failure::Timeout) => "was not ready in time",
        Some(Failure::Died) => "ended by itself",
        Some(Failure::Dependency) | None => "failed",
    }
}

fn buffering_hint(plan: &Plan, service: &ServiceSnapshot, cause: Option<&Cause>) -> Option<String> {
    let reason = service.reason.as_ref().filter(|_| service.failure == Some(Failure::Timeout))?;
    buffering::hint(plan.service(&service.name)?, reason, &cause?.records)
}

fn hint(plan: &Plan, service: &ServiceSnapshot) -> Option<String> {
    let name = &service.name;
    if service.phase == Phase::Unhealthy {
        return Some(command_for(&plan.stack, &format!("restart {name}")) + " starts a new run");
    }
    let planned = plan.service(name);
    let (words, what) = match service.failure? {
        Failure::Port if planned.is_some_and(Service::keeps_its_port) => {
            return Some(format!(
                "stop that program: `{name}` cannot listen on another port, so only one stack at a \
                 time can run it"
            ));
        }
        Failure::Port => ("up --ports auto".to_owned(), ", or stop that program"),
        Failure::Timeout if !service.listens_elsewhere.is_empty() => {
            return Some(format!(
                "let the program listen on `PORT`, pass `${{self.port}}` to it, or declare the port \
                 on which it listens, with `fixed-port = true`, at {}",
                planned.map_or_else(String::new, |planned| planned.declared.to_string())
            ));
        }
        Failure::Unadopted => {
            ("up --replace".to_owned(), " stops that process and starts the service")
        }
        Failure::Timeout => (format!("explain {name}"), " shows its probes and what they saw"),
        Failure::Start if service.reason.as_ref().is_some_and(|why| why.contains(ENDED_WELL)) => {
            return Some(format!(
                "a service runs in the foreground: if `{name}` goes into the background, turn that \
                 off; if it is meant to end, set `kind = \"job\"`"
            ));
        }
        // The reason contains the way out.
        Failure::Start if !service.started => return None,
        Failure::Start | Failure::Died => (format!("logs {name}"), " shows all its output"),
        Failure::Build | Failure::Sibling | Failure::Dependency => return None,
    };
    Some(command_for(&plan.stack, &words) + what)
}

/// For each service its waiting dependents, in order of the plan.
type Dependents<'a> = SortedMap<&'a Name, Vec<&'a Name>>;

fn waiting_dependents<'a>(plan: &'a Plan, services: &[&ServiceSnapshot]) -> Dependents<'a> {
    let held_up: SortedSet<&Name> =
        services.iter().filter(|s| is_held_up(s)).map(|service| &service.name).collect();
    let mut dependents = Dependents::new();
    for planned in plan.services.iter().filter(|planned| held_up.contains(&planned.name)) {
        for edge in &planned.depends_on {
            dependents.entry(&edge.on).or_default().push(&planned.name);
        }
    }
    dependents
}

/// All services that wait for `name`, directly or indirectly, nearest first.
fn held_up_by<'a>(dependents: &Dependents<'a>, name: &Name) -> Vec<&'a Name> {
    let next = |name: &Name| dependents.get(name).into_iter().flatten().copied();
    let mut found: Vec<&Name> = Vec::new();
    let mut seen: SortedSet<&Name> = SortedSet::new();
    let mut queue: VecDeque<&Name> = next(name).collect();
    while let Some(waiting) = queue.pop_front() {
        if seen.insert(waiting) {
            found.push(waiting);
            queue.extend(next(waiting));
        }
    }
    found
}

fn is_held_up(service: &ServiceSnapshot) -> bool {
    matches!(service.phase, Phase::Waiting | Phase::Building)
        || service.phase == Phase::Failed && service.failure == Some(Failure::Dependency)
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
    fn failure_names_cause_dependents_and_last_lines() {
        let plan = plan(&[("db", &[]), ("api", &["db"]), ("web", &["api"])]);
        let db = failed("db", Failure::Start, "it ended with exit code 1");
        let api = failed("api", Failure::Dependency, "`db` failed");
        let web = service("web", Phase::Waiting);
        let records = vec!["t 1 e no disk".to_string()];
        let logs = SortedMap::from([("db".into(), Cause { records, hint: None })]);
        let text =
            anstream::adapter::strip_str(&failures(&plan, &[&db, &api, &web], &logs)).to_string();
        assert_eq!(
            text,
            "error: `db` did not start\n  it ended with exit code 1\n  declared at Cargo.toml:1\n  \
             `api` is waiting on it\n  `web` is waiting on it\n  its last lines:\n      \
             | no disk\n  hint: `%xtask% logs db` shows all its output\n"
        );
    }

    #[test]
    fn many_waiting_dependents_are_counted() {
        let names: Vec<String> = (10..40).map(|number| format!("s{number}")).collect();
        let chain: Vec<[&str; 1]> =
            std::iter::once("db").chain(names.iter().map(String::as_str)).map(|on| [on]).collect();
        let mut edges: Vec<(&str, &[&str])> = vec![("db", &[])];
        edges.extend(names.iter().zip(&chain).map(|(name, on)| (name.as_str(), on.as_slice())));
        let plan = plan(&edges);
        let mut states = vec![failed("db", Failure::Start, "it ended with exit code 1")];
        states.extend(names.iter().map(|name| service(name, Phase::Waiting)));
        let text = failures(&plan, &states.iter().collect::<Vec<_>>(), &SortedMap::new());
        assert!(text.contains("`s17` is waiting on it") && !text.contains("`s18`"), "{text}");
        assert!(text.contains("  and 22 more\n"), "{text}");
    }

    #[test]
    fn hint_names_the_failed_stack() {
        let mut plan = plan(&[("db", &[])]);
        plan.stack = "e2e-7".to_string();
        let db = failed("db", Failure::Start, "it ended with exit code 1");
        let text = failures(&plan, &[&db], &SortedMap::new());
        assert!(text.contains("`%xtask% logs db --stack e2e-7`"), "{text}");
    }

    #[test]
    fn early_success_hints_at_the_foreground() {
        let plan = plan(&[("db", &[])]);
        let mut db = failed("db", Failure::Start, "exited with status 0 before it was ready");
        db.started = true;
        let text = failures(&plan, &[&db], &SortedMap::new());
        assert!(text.contains("runs in the foreground"), "{text}");
    }

    #[test]
    fn failed_build_does_not_repeat_cargo() {
        let plan = plan(&[("db", &[])]);
        let db = failed("db", Failure::Build, "its program could not be built");
        let text = failures(&plan, &[&db], &SortedMap::new());
        assert!(!text.contains("its program"), "{text}");
        let db = failed("db", Failure::Build, "there is no `/t/db`");
        let text = failures(&plan, &[&db], &SortedMap::new());
        assert!(text.contains("there is no `/t/db`"), "{text}");
    }

    #[test]
    fn held_port_hints_at_automatic_ports() {
        let plan = plan(&[("db", &[])]);
        let db = failed("db", Failure::Port, "port 5 is held by `python3` (pid 7)");
        let text = failures(&plan, &[&db], &SortedMap::new());
        assert!(text.contains("port 5 is held by `python3` (pid 7)"), "{text}");
        assert!(text.contains("%xtask% up --ports auto"), "{text}");
    }
}
