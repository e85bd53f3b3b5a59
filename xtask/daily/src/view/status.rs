//! The tables of `status` and at the end of `up`, from a snapshot.

use std::fmt::Write as _;
use std::time::Duration;

use xtask_core::snapshot::{Phase, Placement, RunSnapshot, ServiceSnapshot, Snapshot};
use xtask_core::terms::duration::{age, measured};
use xtask_core::terms::secret::shown_url;
use xtask_core::terms::{Kind, Name};

use super::style::{BAD, BOLD, BUSY, DIM, GOOD, RESET, WARN};
use super::table::{Cell, table};
use super::words::command_for;
use super::{calls, watch};

/// The table of a running stack, with its deadlocks.
pub(crate) fn status(snapshot: &Snapshot) -> String {
    let head =
        ["SERVICE", "PHASE", "ADDRESS", "PID", "UPTIME", "MEMORY", "READY IN", "RESTARTS", "NOTE"];
    let mut rows = vec![header(&head)];
    rows.extend(snapshot.services.iter().map(|service| {
        vec![
            Cell::styled(&*service.name, BOLD),
            Cell::styled(service.phase.as_str(), color(service.phase)),
            address(service).into(),
            service.pid.map(|pid| pid.to_string()).unwrap_or_default().into(),
            service.uptime_ms.map(|ms| age(Duration::from_millis(ms))).unwrap_or_default().into(),
            service.memory_bytes.map(mebibytes).unwrap_or_default().into(),
            service.ready_ms.map(measured).unwrap_or_default().into(),
            if service.restarts > 0 { service.restarts.to_string() } else { String::new() }.into(),
            Cell::styled(note(snapshot, service), DIM),
        ]
    }));
    let mut out = table(&rows);
    if let Some(flags) = &snapshot.kept_flags {
        let _ = writeln!(out, "kept flags: {flags} (`up --reset` forgets them)");
    }
    out.push_str(&outdated(snapshot));
    out.push_str(&calls::deadlocks(snapshot, None));
    out.push_str(&watch::status(snapshot.watch.as_ref(), &snapshot.stack));
    out
}

/// Names the services whose sources are newer than what runs, and the command that applies them.
fn outdated(snapshot: &Snapshot) -> String {
    let outdated = || snapshot.services.iter().filter(|service| service.newer_source.is_some());
    let mut out = String::new();
    for service in outdated() {
        let source = service.newer_source.as_deref().unwrap_or_default();
        let root = format!("{}/", snapshot.workspace);
        let shown = source.strip_prefix(&root).unwrap_or(source);
        let _ = writeln!(out, "{WARN}outdated{RESET}: `{shown}` is newer than {}", service.name);
    }
    let names: Vec<&str> = outdated().map(|service| service.name.as_str()).collect();
    if !names.is_empty() {
        let command = command_for(&snapshot.stack, &format!("restart {}", names.join(" ")));
        let _ = writeln!(out, "  {BOLD}hint:{RESET} {command} builds and starts the new code");
    }
    out
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// The table at the end of `up`. `kept` are the services that already ran.
pub(crate) fn summary(services: &[&ServiceSnapshot], kept: &[&Name]) -> String {
    let mut rows = vec![header(&["SERVICE", "ADDRESS", "READY"])];
    rows.extend(services.iter().map(|service| {
        vec![
            Cell::styled(&*service.name, BOLD),
            address(service).into(),
            Cell::styled(outcome(service, kept.contains(&&service.name)), color(service.phase)),
        ]
    }));
    table(&rows)
}

pub(crate) fn color(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting | Phase::Building | Phase::Starting => BUSY,
        Phase::Ready | Phase::Succeeded => GOOD,
        Phase::Backoff | Phase::Stopping => WARN,
        Phase::Stopped => DIM,
        Phase::Unhealthy | Phase::Failed => BAD,
    }
}

fn outcome(service: &ServiceSnapshot, kept: bool) -> String {
    let pid = service.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    match (service.phase, kept) {
        (Phase::Ready, _) if service.adopted => format!("adopted{pid}"),
        (Phase::Ready, true) => match &service.reason {
            // It runs with other settings than requested.
            Some(reason) => format!("{reason}{pid}"),
            None => format!("already running{pid}"),
        },
        (Phase::Succeeded, true) => "already done".to_string(),
        (Phase::Ready, false) => format!("in {}", measured(service.ready_ms.unwrap_or(0))),
        (Phase::Succeeded, false) => match (&service.reason, service.ready_ms) {
            // It was skipped.
            (Some(reason), _) => reason.clone(),
            (None, took) => format!("done in {}", measured(took.unwrap_or(0))),
        },
        (phase, _) => phase.as_str().to_string(),
    }
}

/// The snapshot without the passwords of addresses.
pub fn masked(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    for url in snapshot.services.iter_mut().filter_map(|service| service.url.as_mut()) {
        *url = shown_url(url);
    }
    snapshot
}

fn address(service: &ServiceSnapshot) -> String {
    match (&service.url, service.kind) {
        (Some(url), _) => shown_url(url),
        (None, Kind::Job) => "(job)".to_string(),
        (None, Kind::Service) => String::new(),
    }
}

fn note(snapshot: &Snapshot, service: &ServiceSnapshot) -> String {
    let mut notes = Vec::new();
    if let Some(reason) = &service.reason {
        notes.push(reason.clone());
    } else if !service.waiting_on.is_empty() {
        notes.push(format!("waiting on {}", service.waiting_on.join(", ")));
    } else if let Some(status) = &service.status {
        notes.push(status.clone());
    }
    notes.extend(beside(service));
    if service.placement == Placement::Container {
        notes.push("in a container".to_string());
    }
    if let Some(trouble) = &service.log_trouble {
        notes.push(format!("lines are missing from its log: {trouble}"));
    }
    notes.extend(calls::listeners(service));
    notes.extend(calls::callers(service));
    notes.extend(calls::blocked(snapshot, service));
    notes.join("; ")
}

/// The run beside the run of a service: a candidate that starts, or a run that stops.
pub(crate) fn beside(service: &ServiceSnapshot) -> Option<String> {
    let process =
        |run: &RunSnapshot| run.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let candidate = service.candidate.as_ref().filter(|run| run.phase != Phase::Failed);
    let starting = candidate.map(|run| format!("run {} starts{}", run.run, process(run)));
    let stopping = service.stopping.as_ref();
    starting.or_else(|| stopping.map(|run| format!("run {} stops{}", run.run, process(run))))
}

fn header(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| Cell::styled(*name, DIM)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{service, snapshot};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn status_shows_phase_address_and_reason() {
        let mut web = service("web", Phase::Waiting);
        web.waiting_on = vec!["api (starting)".to_string()];
        let mut api = service("api", Phase::Ready);
        api.url = Some("http://127.0.0.1:80".to_string());
        api.ready_ms = Some(1234);
        api.pid = Some(42);
        assert_eq!(
            plain(&status(&snapshot(vec![api, web]))),
            "SERVICE  PHASE    ADDRESS              PID  READY IN  NOTE\n\
             api      ready    http://127.0.0.1:80  42   1.2 s\n\
             web      waiting                                      waiting on api (starting)\n"
        );
    }

    #[test]
    fn status_names_the_command_for_newer_sources() {
        let mut api = service("api", Phase::Ready);
        api.newer_source = Some("/shop/api/src/main.rs".to_string());
        (api.uptime_ms, api.memory_bytes) = (Some(200_000), Some(12_900_000));
        let mut stack = snapshot(vec![api]);
        stack.kept_flags = Some("--ports auto".to_string());
        assert_eq!(
            plain(&status(&stack)),
            "SERVICE  PHASE  UPTIME  MEMORY\n\
             api      ready  3 min   12.3 MiB\n\
             kept flags: --ports auto (`up --reset` forgets them)\n\
             outdated: `api/src/main.rs` is newer than api\n  \
             hint: `%xtask% restart api` builds and starts the new code\n"
        );
    }

    #[test]
    fn status_shows_the_run_beside_the_serving_one() {
        let mut api = service("api", Phase::Ready);
        let run =
            |run, phase| RunSnapshot { run, phase, pid: Some(9), reason: None, failure: None };
        api.candidate = Some(run(2, Phase::Starting));
        assert_eq!(beside(&api).as_deref(), Some("run 2 starts (pid 9)"));
        (api.candidate, api.stopping) = (None, Some(run(1, Phase::Stopping)));
        assert!(plain(&status(&snapshot(vec![api]))).contains("run 1 stops (pid 9)"));
    }

    #[test]
    fn summary_marks_services_that_already_ran() {
        let mut old = service("old", Phase::Ready);
        old.pid = Some(7);
        let mut new = service("new", Phase::Ready);
        new.ready_ms = Some(9);
        let text = plain(&summary(&[&old, &new], &[&"old".into()]));
        assert!(text.contains("old      already running (pid 7)"), "{text}");
        assert!(text.contains("new      in 9 ms"), "{text}");
        old.adopted = true;
        for kept in [&[][..], &[&"old".into()]] {
            let text = plain(&summary(&[&old], kept));
            assert!(text.contains("old      adopted (pid 7)"), "{text}");
        }
    }
}
