//! Progress of `up` and `down`: one line for each step, in cargo's manner.
//!
//! A step is a change from one state of a service to the next.

use std::path::Path;

use xtask_core::calls::Deadlock;
use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::terms::duration::measured;
use xtask_core::terms::secret::shown_url;
use xtask_core::terms::{Kind, Name};

use super::calls;
use super::style::{BAD, BUSY, GOOD, WARN};
use super::words::{command_for, list};

/// A progress line: colour, verb, text.
pub type ProgressLine = (&'static str, &'static str, String);

/// The line about a service whose state changed from `before` to `now`, if it is worth one.
pub(crate) fn step(
    before: Option<&ServiceSnapshot>,
    now: &ServiceSnapshot,
) -> Option<ProgressLine> {
    if before.is_some_and(|before| (before.phase, before.run) == (now.phase, now.run)) {
        return None;
    }
    let name = &now.name;
    let because = now.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let took = now.ready_ms.map(|ms| format!(" in {}", measured(ms))).unwrap_or_default();
    let at = now.url.as_ref().map(|url| format!(" at {}", shown_url(url))).unwrap_or_default();
    Some(match now.phase {
        Phase::Waiting | Phase::Building => return None,
        Phase::Starting => (BUSY, "Starting", name.to_string()),
        Phase::Ready if now.adopted => {
            let pid = now.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
            (GOOD, "Adopted", format!("{name}{at}{pid}: not started by this stack"))
        }
        Phase::Ready if before.is_some_and(|b| (b.phase, b.run) == (Phase::Unhealthy, now.run)) => {
            (GOOD, "Healthy", name.to_string())
        }
        Phase::Unhealthy => (BAD, "Unhealthy", format!("{name}{because}")),
        Phase::Ready => (GOOD, "Ready", format!("{name}{at}{took}")),
        Phase::Succeeded if now.kind == Kind::Job => {
            (GOOD, "Done", format!("{name}{took}{because}"))
        }
        Phase::Succeeded => (GOOD, "Ended", format!("{name}{because}")),
        Phase::Backoff => (WARN, "Ended", format!("{name}{because}; it is started again soon")),
        Phase::Stopping => (BUSY, "Stopping", format!("{name}{because}")),
        Phase::Stopped if before.is_some_and(|before| before.adopted) => {
            (GOOD, "Left", format!("{name}, which this stack did not start"))
        }
        // It exited by itself: a service that is stopped on request is not wanted any more.
        Phase::Stopped if now.wanted => (GOOD, "Ended", format!("{name}{because}")),
        Phase::Stopped => match before {
            // A cancelled start has no process, but its start was reported.
            Some(before)
                if before.pid.is_some()
                    || matches!(before.phase, Phase::Starting | Phase::Stopping) =>
            {
                (GOOD, "Stopped", name.to_string())
            }
            _ => return None,
        },
        Phase::Failed => (BAD, "Failed", format!("{name}{because}")),
    })
}

/// The line about a candidate that started, or failed while its service keeps its run. A candidate
/// that replaced the run is a step of the service.
pub(crate) fn candidate(
    before: Option<&ServiceSnapshot>,
    now: &ServiceSnapshot,
) -> Option<ProgressLine> {
    let candidate = now.candidate.as_ref()?;
    let known = before.and_then(|before| before.candidate.as_ref());
    if known.is_some_and(|known| (known.run, known.phase) == (candidate.run, candidate.phase)) {
        return None;
    }
    let name = &now.name;
    Some(match (candidate.phase, &candidate.reason) {
        (Phase::Failed, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            (BAD, "Kept", format!("the running {name}: its new run failed: {reason}"))
        }
        _ => (BUSY, "Starting", format!("{name}, while its previous run serves")),
    })
}

/// Running services that were needed in `before` and are not needed in `now`.
pub(crate) fn unused<'a>(before: &Snapshot, now: &'a Snapshot) -> Vec<&'a Name> {
    let is_needed = |name: &Name, by: &Snapshot| {
        let mut wanted = by.services.iter().filter(|service| service.wanted);
        wanted.any(|other| other.depends_on.contains(name) || other.uses.contains(name))
    };
    (now.services.iter())
        .filter(|service| service.wanted && service.pid.is_some())
        .map(|service| &service.name)
        .filter(|name| is_needed(name, before) && !is_needed(name, now))
        .collect()
}

/// Text about unused services, `None` if there are none.
pub(crate) fn unused_text(names: &[&Name], stack: &str) -> Option<String> {
    let all: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    (!all.is_empty()).then(|| {
        format!(
            "{}: still running, but no longer needed; `%xtask% down --stack {stack} {}` stops it",
            all.join(", "),
            all.join(" ")
        )
    })
}
pub(crate) fn log_trouble(service: &str, error: &str) -> ProgressLine {
    (WARN, "Dropping", format!("lines from the log of {service}: {error}"))
}

/// Text about the processes that remained after a supervisor was killed.
pub(crate) fn leftovers(stack: &str, supervisor: Option<u32>, ended: &[(i32, &str)]) -> String {
    let what = match ended {
        [] => "no process of the stack was left".to_owned(),
        [(pid, command)] => format!("killed leftover process {pid}: `{command}`"),
        more => {
            let listed = more.iter().map(|(pid, command)| format!("{pid} `{command}`"));
            format!("killed {} leftover processes: {}", more.len(), list(listed))
        }
    };
    match supervisor {
        Some(supervisor) => {
            format!("supervisor {supervisor} of stack `{stack}` was killed; {what}")
        }
        None => format!("stack `{stack}` has no supervisor; {what}"),
    }
}

/// Text about a stack that runs, but whose files were deleted. `folder` is the deleted one.
pub(crate) fn deleted(stack: &str, folder: &Path) -> String {
    format!(
        "stack `{stack}` runs, but its folder `{}` was deleted, with data or logs; {} stops it",
        folder.display(),
        command_for(stack, "down")
    )
}

/// Text about a stack that was started before its workspace got another path.
pub(crate) fn moved(stack: &str, former: &Path, root: &Path) -> String {
    let (former, root) = (former.display(), root.display());
    format!("stack `{stack}` was started in workspace `{former}`, which is now `{root}`")
}

/// Text about a supervisor that does not answer, with the way out.
pub(crate) fn silence(stack: &str, supervisor: u32, is_stopped: bool) -> String {
    let state = match is_stopped {
        true => format!("is stopped: `kill -CONT {supervisor}` resumes it"),
        false => "does not answer".to_owned(),
    };
    format!(
        "for supervisor {supervisor} of stack `{stack}`, which {state}; \
         `kill -9 {supervisor}` kills the whole stack"
    )
}

/// What a command waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) text: String,
    /// Equal for waits that a user takes for one: a build is one wait, whatever is left of it.
    pub(crate) subject: String,
}

/// What the services that are not ready wait for, with deadlocks; `None` if all are ready.
pub(crate) fn waiting<'a>(
    services: impl IntoIterator<Item = &'a ServiceSnapshot>,
    deadlocks: &[Deadlock],
) -> Option<Wait> {
    let mut waiting = Vec::new();
    let mut unbuilt: Vec<&str> = Vec::new();
    let mut held_up = Vec::new();
    for service in services {
        let name = &service.name;
        match service.phase {
            Phase::Starting => {
                let seen = service.seen.last().or(service.status.as_ref()).cloned();
                let seen: Vec<String> = seen.into_iter().chain(calls::listeners(service)).collect();
                match seen.as_slice() {
                    [] => waiting.push(format!("{name} to get ready")),
                    seen => waiting.push(format!("{name} to get ready ({})", seen.join("; "))),
                }
            }
            Phase::Building => unbuilt.push(name),
            Phase::Backoff => waiting.push(format!("{name} to be started again")),
            Phase::Stopping => waiting.push(format!("{name} to stop")),
            Phase::Waiting if !service.waiting_on.is_empty() => {
                held_up.push(format!("{name}, which waits on {}", service.waiting_on.join(", ")));
            }
            Phase::Ready | Phase::Unhealthy if service.unsettled => {
                let starts =
                    service.candidate.as_ref().is_some_and(|run| run.phase != Phase::Failed);
                if starts {
                    waiting.push(format!("the new run of {name} to get ready"));
                } else if service.stopping.is_some() {
                    waiting.push(format!("a previous run of {name} to stop"));
                }
            }
            Phase::Waiting
            | Phase::Ready
            | Phase::Unhealthy
            | Phase::Stopped
            | Phase::Succeeded
            | Phase::Failed => {}
        }
    }
    let is_only_build = waiting.is_empty() && !unbuilt.is_empty() && deadlocks.is_empty();
    match unbuilt.as_slice() {
        [] => {}
        [one] => waiting.push(format!("cargo to build {one}")),
        [first, second] => waiting.push(format!("cargo to build {first} and {second}")),
        [first, second, more @ ..] => {
            waiting.push(format!("cargo to build {first}, {second} and {} more", more.len()));
        }
    }
    // The services that they wait for are usually listed already.
    if waiting.is_empty() {
        waiting = held_up;
    }
    if waiting.is_empty() {
        return None;
    }
    let shown = 4;
    let more = waiting.len().saturating_sub(shown);
    waiting.truncate(shown);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let deadlocks = deadlocks.iter().map(|deadlock| format!("; deadlock: {deadlock}"));
    let text = format!("for {}{more}{}", waiting.join(", "), deadlocks.collect::<String>());
    let subject = if is_only_build { "cargo".to_owned() } else { text.clone() };
    Some(Wait { text, subject })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::service;
    use xtask_core::snapshot::RunSnapshot;

    #[test]
    fn candidate_is_reported_once_per_phase() {
        let serving = service("api", Phase::Ready);
        let with = |phase, reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            let run = RunSnapshot { run: 2, phase, pid: None, reason, failure: None };
            ServiceSnapshot { candidate: Some(run), ..serving.clone() }
        };
        let starting = with(Phase::Starting, None);
        let failed = with(Phase::Failed, Some("exited with status 1"));
        let text = |before, now| candidate(before, now).map(|(_, verb, text)| (verb, text));
        let line = |verb, text: &str| Some((verb, text.to_owned()));
        assert_eq!(
            text(Some(&serving), &starting),
            line("Starting", "api, while its previous run serves")
        );
        assert_eq!(text(Some(&starting), &starting), None);
        assert_eq!(
            text(Some(&starting), &failed),
            line("Kept", "the running api: its new run failed: exited with status 1")
        );
        assert_eq!(text(Some(&failed), &failed), None);
        let waits = ServiceSnapshot { unsettled: true, ..starting };
        let what = waiting([&waits], &[]).unwrap().text;
        assert_eq!(what, "for the new run of api to get ready");
    }

    #[test]
    fn step_is_reported_once() {
        let starting = service("a", Phase::Starting);
        let mut ready = service("a", Phase::Ready);
        ready.ready_ms = Some(5);
        let (_, verb, text) = step(Some(&starting), &ready).unwrap();
        assert_eq!((verb, text.as_str()), ("Ready", "a in 5 ms"));
        assert!(step(Some(&ready), &ready).is_none());
    }

    #[test]
    fn stop_of_a_service_that_never_ran_is_silent() {
        let waiting = service("a", Phase::Waiting);
        let mut stopped = service("a", Phase::Stopped);
        stopped.wanted = false;
        assert!(step(Some(&waiting), &stopped).is_none());
        let cancelled = step(Some(&service("a", Phase::Stopping)), &stopped);
        assert_eq!(cancelled.unwrap().1, "Stopped");
    }

    #[test]
    fn wanted_service_that_stopped_has_ended_by_itself() {
        let mut stopped = service("a", Phase::Stopped);
        stopped.reason = Some("exited by itself with status 0".to_string());
        let mut before = service("a", Phase::Stopping);
        before.pid = Some(7);
        let verb = |now: &ServiceSnapshot| step(Some(&before), now).unwrap().1;
        assert_eq!(verb(&stopped), "Ended");
        stopped.wanted = false;
        assert_eq!(verb(&stopped), "Stopped");
    }

    #[test]
    fn long_lists_of_waits_are_shortened() {
        let many: Vec<_> = (0..9).map(|n| service(&format!("s{n}"), Phase::Starting)).collect();
        let text = waiting(&many, &[]).unwrap().text;
        assert!(text.ends_with("s3 to get ready and 5 more"), "{text}");
        assert_eq!(waiting(&[service("a", Phase::Ready)], &[]), None);
    }

    #[test]
    fn build_is_one_wait() {
        let [a, b] = ["a", "b"].map(|name| service(name, Phase::Building));
        let (first, later) = (waiting([&a, &b], &[]).unwrap(), waiting([&b], &[]).unwrap());
        assert_eq!(later.text, "for cargo to build b");
        assert_eq!(first.subject, later.subject);
        let other = waiting([&b, &service("c", Phase::Starting)], &[]).unwrap();
        assert_ne!(first.subject, other.subject);
    }

    #[test]
    fn blocked_service_is_named_with_its_dependency() {
        let mut web = service("web", Phase::Waiting);
        web.waiting_on = vec!["api (starting)".to_string()];
        let text = waiting(&[web], &[]).unwrap().text;
        assert_eq!(text, "for web, which waits on api (starting)");
    }
}
