//! No service starts too early, twice, or too often.
//!
//! A service that should have started and did not is found at rest, in `stack`.

use std::collections::BTreeSet;
use std::time::Duration;

use xtask_core::plan::Program;
use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Report, Run};
use xtask_core::terms::{Condition, Name};

use super::service::{Origin, RunHistory, ServiceHistory};
use super::take_down::calls_for_new_run;
use super::{History, Verdict, demand, handover};

/// Checks an effect before it is recorded.
pub(super) fn check(history: &History, now: Duration, effect: &Effect) -> Verdict {
    match effect {
        Effect::Spawn { service, run, command, .. } => {
            let service = &history.services[service];
            let candidate = handover::is_candidate(service);
            match candidate {
                true => handover::check_start(history, service)?,
                false => one_run(service, now, *run)?,
            }
            let (name, skipped) = (&service.spec.name, service.is_skipped());
            demand!(!skipped, "once", "`{name}` is started although it is done");
            program(service, &command.program)?;
            address(history, now, service, &command.env)?;
            conditions(history, service)?;
            if candidate {
                return Ok(());
            }
            restart_edges(history, now, service)?;
            pauses(history, service, now)
        }
        Effect::MarkDone { service: name } => {
            let service = &history.services[name];
            let well = service.spec.once && service.succeeded;
            demand!(well, "once", "`{name}` is recorded as done and has not succeeded");
            Ok(())
        }
        Effect::Bind { service: name, ports, .. } => {
            let service = &history.services[name];
            // A remembered number may be bound by another service meanwhile.
            let fixed = |number: &u16| service.spec.ports.iter().any(|p| p.number == Some(*number));
            for number in ports.iter().filter_map(|port| port.number).filter(fixed) {
                let occupied = history.is_occupied(service, number);
                demand!(!occupied, "moving ports", "`{name}` binds {number} beside its holder");
            }
            Ok(())
        }
        Effect::Probe { service: name, run, .. } => {
            let service = &history.services[name];
            demand!(service.wanted, "wanted", "`{name}` is probed and not wanted");
            let newer = service.run.as_ref().is_none_or(|present| *run > present.number);
            demand!(newer, "one run", "`{name}` is probed again as run {run}");
            conditions(history, service)
        }
        Effect::Report(Report::Phase { service: name, phase, .. }) => {
            let service = &history.services[name];
            let ready = service.run.as_ref().is_some_and(|run| run.is_ready() && !run.job);
            let unhealthy = service.run.as_ref().is_some_and(|run| run.health.is_unhealthy());
            match phase {
                Phase::Ready => {
                    demand!(ready && !unhealthy, "ready", "`{name}` is reported as ready");
                }
                Phase::Unhealthy => {
                    demand!(ready && unhealthy, "health", "`{name}` is reported as unhealthy");
                }
                Phase::Succeeded => {
                    // The run of a service that was `external` may also end with a dependency.
                    let probed = service.run.as_ref().is_some_and(|r| r.origin == Origin::External);
                    let done = service.succeeded || (service.is_skipped() && probed);
                    demand!(done, "succeeded", "`{name}` is reported as succeeded");
                }
                _ => {}
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// It is wanted and has no other run.
pub(super) fn one_run(service: &ServiceHistory, now: Duration, run: Run) -> Verdict {
    let name = &service.spec.name;
    demand!(service.wanted, "wanted", "`{name}` is started and not wanted");
    let present =
        service.run.as_ref().filter(|run| run.origin != Origin::External && !run.is_over());
    let present = present.map(|run| run.number);
    demand!(present.is_none(), "one run", "`{name}` run {run} starts beside run {present:?}");
    let beside = service.beside.as_ref().filter(|run| !run.is_lost(now)).map(|run| run.number);
    demand!(beside.is_none(), "one run", "`{name}` run {run} starts beside run {beside:?}");
    Ok(())
}

fn program(service: &ServiceHistory, program: &str) -> Verdict {
    let Program::Artifact { .. } = service.spec.program else { return Ok(()) };
    let name = &service.spec.name;
    let accepted = service.accepted.as_ref().map(|(path, _)| path.as_str());
    demand!(accepted == Some(program), "program", "`{name}` is started from {program}");
    let restarted = service.last.restart_requested > service.last.applied;
    let previous = service.ran_at_apply || restarted;
    demand!(!service.build_pending || previous, "program", "`{name}` is started before its build");
    Ok(())
}

fn address(
    history: &History,
    now: Duration,
    service: &ServiceHistory,
    env: &[(String, String)],
) -> Verdict {
    let name = &service.spec.name;
    let own = service.spec.ports.is_empty() || service.bound;
    demand!(own, "own address", "`{name}` is started without its ports");
    for (key, value) in env {
        let Some(other) = history.services.get(key.to_lowercase().as_str()) else { continue };
        if other.is_lost(now) {
            continue; // A process that cannot be stopped keeps its old address.
        }
        // After a failed build, a service that runs or has succeeded keeps its old ports.
        let unstopped = other.run.as_ref().is_some_and(RunHistory::is_unstopped);
        let kept = other.build_failed || history.lacks_new_ports(other);
        let keeps_old = other.wanted && kept && (unstopped || other.succeeded);
        let old = other.last_bound.as_ref().filter(|_| keeps_old).map(|(_, old)| old.clone());
        let possible = match other.foreign_run() {
            Some(run) => {
                let ended = history.without_run.contains(&other.spec.name);
                let planned = declared_numbers(other).filter(|_| ended);
                [Some(run.numbers.clone()), planned, None]
            }
            None => [declared_numbers(other), other.numbers().cloned(), old],
        };
        let expected = possible
            .map(|numbers| numbers.and_then(|numbers| numbers.first().map(ToString::to_string)));
        demand!(
            expected.contains(&Some(value.clone())),
            "address",
            "`{name}` gets {value} as the port of `{key}`, which is {expected:?}"
        );
        demand!(
            other.binding.is_none(),
            "address",
            "`{name}` is started while the ports of `{key}` are being bound"
        );
        // A service that has or will have sockets must have them before its callers start.
        let has_none = !other.wanted || other.spec.program == Program::External;
        let spawned = other.run.as_ref().is_some_and(|run| run.origin == Origin::Spawned);
        demand!(
            other.bound || has_none || !spawned || keeps_old,
            "address",
            "`{name}` is started before the ports of `{key}` are bound"
        );
    }
    Ok(())
}

/// The numbers in the plan, if it fixes all.
pub(super) fn declared_numbers(service: &ServiceHistory) -> Option<Vec<u16>> {
    service.spec.ports.iter().map(|port| port.number).collect()
}

/// Every condition holds for the dependency and for the services that start together with it.
pub(super) fn conditions(history: &History, service: &ServiceHistory) -> Verdict {
    let name = &service.spec.name;
    for edge in &service.spec.depends_on {
        let on = &history.services[&edge.on];
        let (checker, holds) = match edge.condition {
            Condition::Ready => ("condition ready", is_ready(on)),
            Condition::Succeeded => ("condition succeeded", on.is_job() && on.succeeded),
            Condition::Started => ("condition started", is_started(on)),
        };
        demand_condition(checker, holds, name, &edge.on)?;
        let together = together(history, &edge.on);
        if together.contains(name) {
            continue;
        }
        for member in together {
            let other = &history.services[member];
            let holds = match edge.condition {
                Condition::Ready | Condition::Succeeded => is_ready(other),
                Condition::Started => is_started(other),
            };
            demand_condition("together", holds, name, member)?;
        }
    }
    Ok(())
}

fn demand_condition(checker: &'static str, holds: bool, name: &Name, on: &Name) -> Verdict {
    let message = format!("`{name}` is started before its condition on `{on}` holds");
    if holds { Ok(()) } else { Err(super::Violation { checker, message }) }
}

/// The services on a cycle with this one, itself included.
pub(super) fn together<'a>(history: &'a History, name: &'a Name) -> BTreeSet<&'a Name> {
    let mut members = reachable(history, name);
    members.retain(|other| reachable(history, other).contains(name));
    members
}

fn reachable<'a>(history: &'a History, from: &'a Name) -> BTreeSet<&'a Name> {
    let mut open = vec![from];
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(history.services[name].spec.edges());
        }
    }
    reached
}

fn is_ready(service: &ServiceHistory) -> bool {
    let unhealthy = service.run.as_ref().is_some_and(|run| run.health.is_unhealthy());
    if service.is_job() { service.succeeded } else { service.is_ready() && !unhealthy }
}

fn is_started(service: &ServiceHistory) -> bool {
    let running = service.wanted && service.run.as_ref().is_some_and(RunHistory::is_running);
    let probed = service.spec.program != Program::External || service.is_ready();
    (running && (probed || !service.is_job())) || (service.is_job() && service.succeeded)
}

/// Dependents that restart with a service stop before it starts again.
fn restart_edges(history: &History, now: Duration, service: &ServiceHistory) -> Verdict {
    let name = &service.spec.name;
    if service.crash_without_request().is_none() {
        return Ok(());
    }
    for other in history.dependents(name).filter(|other| other.has_restart_edge_on(name)) {
        let runs = other.wanted && other.process(now).is_some_and(RunHistory::is_running);
        let dependent = &other.spec.name;
        demand!(!runs, "restart edges", "`{name}` is restarted before `{dependent}` stops");
    }
    Ok(())
}

/// A start after a crash waits, and there are at most six in a minute.
fn pauses(history: &History, service: &ServiceHistory, now: Duration) -> Verdict {
    let name = &service.spec.name;
    let restarts_with = service.spec.depends_on.iter().any(|edge| edge.restart);
    let requested = calls_for_new_run(history, service) || restarts_with;
    let Some(crash) = service.crash_without_request().filter(|_| !requested) else {
        return Ok(());
    };
    let pause = now.saturating_sub(crash.at);
    demand!(pause >= Duration::from_millis(200), "pauses", "`{name}` restarts after {pause:?}");
    let minute = now.saturating_sub(Duration::from_secs(60));
    let counts =
        |(at, position): &&(Duration, u64)| *at > minute && *position > service.last.requested;
    let recent = service.crash_restarts.iter().filter(counts).count();
    demand!(recent < 6, "pauses", "`{name}` restarts for the {recent}th time in a minute");
    Ok(())
}
