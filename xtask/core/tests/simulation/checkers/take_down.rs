//! No run is stopped without a reason or out of order, and none is killed too early.
//!
//! That every run ends is checked at the end of a play.

use std::collections::BTreeSet;
use std::time::Duration;

use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Fault, Report, Run, Signal};
use xtask_core::terms::{Adopt, Name};

use super::service::{LOST_AFTER, Origin, Position, RunHistory, ServiceHistory};
use super::{History, Verdict, demand, handover};

/// Checks an effect before it is recorded.
pub(super) fn check(history: &History, now: Duration, effect: &Effect) -> Verdict {
    if let Effect::Report(Report::Phase { service, run, phase: Phase::Stopping, .. }) = effect {
        return pending_stop(history, now, service, *run);
    }
    if let Effect::CancelStart { service, run } = effect {
        return cancelled_start(history, now, service, *run);
    }
    let Effect::Signal { service: name, run: number, signal } = effect else { return Ok(()) };
    let service = &history.services[name];
    let Some(run) = service.numbered(*number) else {
        demand!(false, "signals", "a signal for `{name}` run {number}, which is over");
        return Ok(());
    };
    demand!(run.started, "signals", "a signal for `{name}` run {number}, which has not started");
    match signal {
        Signal::Stop(_) => {
            let again = run.stop_requested_at.is_some();
            demand!(!again, "signals", "`{name}` run {number} gets its stop signal twice");
            if service.beside.as_ref().is_some_and(|beside| beside.number == *number) {
                return match run.cancelled {
                    true => Ok(()),
                    false => handover::stop_reason(history, now, service, run),
                };
            }
            // After the exit of the leader, the signal is for the rest of its process group.
            if run.exit.is_none() && run.origin == Origin::Spawned {
                if !run.stop_pending {
                    reason(history, now, service, run)?;
                }
                handover::keeps_serving(now, service, run)?;
                order(history, now, service, run)?;
            }
            Ok(())
        }
        Signal::Kill if history.is_pending(name, Fault::Kill) => Ok(()),
        Signal::Kill => grace(history, now, service, run),
        Signal::Pause => injected(history, name, Fault::Pause),
        Signal::Resume => injected(history, name, Fault::Resume),
    }
}

/// Only a spawned run that has not started is cancelled, and once.
fn cancelled_start(history: &History, now: Duration, name: &Name, number: Run) -> Verdict {
    let service = &history.services[name];
    let run = service.numbered(number);
    let starting = run.is_some_and(|run| !run.started && run.origin == Origin::Spawned);
    demand!(starting, "signals", "`{name}` run {number} is cancelled, and is not starting");
    let again = run.is_some_and(|run| run.cancelled);
    demand!(!again, "signals", "`{name}` run {number} is cancelled twice");
    match service.beside.as_ref().filter(|run| run.number == number) {
        Some(beside) => handover::stop_reason(history, now, service, beside),
        None => Ok(()),
    }
}

/// A run that has not started gets its signal later, so its stop needs a reason now.
fn pending_stop(history: &History, now: Duration, name: &Name, number: Run) -> Verdict {
    let service = &history.services[name];
    let starting = |run: &&RunHistory| {
        let ours = run.number == number && run.origin == Origin::Spawned;
        ours && !run.started && run.exit.is_none()
    };
    match service.run.as_ref().filter(starting) {
        Some(run) => reason(history, now, service, run),
        None => Ok(()),
    }
}

/// Only tests pause and resume a run.
fn injected(history: &History, name: &Name, fault: Fault) -> Verdict {
    let pending = history.is_pending(name, fault);
    demand!(pending, "signals", "`{name}` gets the signal of {fault:?} without a request");
    Ok(())
}

/// Dependents that stop or restart with a service stop before it.
fn order(history: &History, now: Duration, service: &ServiceHistory, run: &RunHistory) -> Verdict {
    let name = &service.spec.name;
    let replaced = service.wanted && calls_for_new_run(history, service);
    for other in history.dependents(name) {
        let dependent = &other.spec.name;
        let both_stop = !service.wanted && !other.wanted && other.processes(now).next().is_some();
        demand!(!both_stop, "take-down", "`{name}` is stopped before `{dependent}`");
        let Some(process) = other.process(now) else { continue };
        let restarts = other.wanted && other.has_restart_edge_on(name) && process.exit.is_none();
        // As after a crash, the dependents stop beside it.
        let late = now >= run.start_deadline || service.must_restart_unhealthy(run);
        // A later plan added the dependent: a pending stop waits for it only if it stops anyway.
        let added = run.stop_pending && process.stop_requested_at.is_none();
        demand!(
            !(replaced && restarts) || late || added,
            "restart edges",
            "`{name}` is replaced before `{dependent}` stops"
        );
    }
    Ok(())
}

/// A wanted run keeps running unless there is a reason to stop it.
fn reason(history: &History, now: Duration, service: &ServiceHistory, run: &RunHistory) -> Verdict {
    let late = !run.is_ready() && now >= run.start_deadline;
    let unhealthy = service.must_restart_unhealthy(run);
    let mut visited = BTreeSet::new();
    let has_reason =
        !service.wanted || late || unhealthy || must_restart(history, service, &mut visited);
    demand!(has_reason, "left alone", "`{}` is stopped without a reason", service.spec.name);
    Ok(())
}

/// Whether it, or a service that it restarts with, gets a new run.
pub(super) fn must_restart<'a>(
    history: &'a History,
    service: &'a ServiceHistory,
    visited: &mut BTreeSet<&'a Name>,
) -> bool {
    if !visited.insert(&service.spec.name) {
        return false;
    }
    let start = service.run.as_ref().map_or(Duration::ZERO, |run| run.requested_at);
    let is_new = |run: &RunHistory| run.requested_at >= start || run.kill_sent_at.is_some();
    calls_for_new_run(history, service)
        || service.spec.depends_on.iter().filter(|edge| edge.restart).any(|edge| {
            let on = &history.services[&edge.on];
            on.crash.is_some()
                || on.run.as_ref().is_none_or(|run| is_new(run) || on.must_restart_unhealthy(run))
                || must_restart(history, on, visited)
        })
}

/// Whether there was a reason for a new run since the last start: a request, an edit, a new
/// program, or a new address of a called service. A service that it restarts with passes on its
/// reasons and its crashes.
pub(super) fn calls_for_new_run(history: &History, service: &ServiceHistory) -> bool {
    has_change(history, service, service.last.started, &mut BTreeSet::new())
}

/// Whether a new run was called for since `since`, when the service began to call these.
pub(super) fn has_changed_since(
    history: &History,
    service: &ServiceHistory,
    since: Position,
    calls: &BTreeSet<Name>,
) -> bool {
    let moved = |on: &Name| history.services[on].moved_for(service, since);
    has_change(history, service, since, &mut BTreeSet::new()) || calls.iter().any(moved)
}

/// Whether another program holds a new port of the service, so that its run must be left alone. A
/// late answer may be about a port of an earlier plan.
fn is_refused(history: &History, service: &ServiceHistory) -> bool {
    let mut declared = service.spec.ports.iter().filter_map(|port| port.number);
    let held = |number: u16| {
        service.refused_ports.contains(&number) && !history.is_occupied(service, number)
    };
    let takes_holder = service.replace_requested || service.spec.adopt == Adopt::Any;
    !takes_holder && service.has_other_ports() && declared.any(held)
}

fn has_change<'a>(
    history: &'a History,
    service: &'a ServiceHistory,
    since: Position,
    visited: &mut BTreeSet<&'a Name>,
) -> bool {
    let moved = |on: &Name| history.services[on].moved_for(service, since);
    let asked = service.last.restart_requested > since;
    asked
        || (service.last.changed > since && !is_refused(history, service))
        || service.calls.iter().any(moved)
        || service.restarts_with.iter().any(|on| {
            let on_history = &history.services[on];
            let last = &on_history.last;
            let replaced = last.crashed.max(last.handed_over) > since;
            visited.insert(on) && (replaced || has_change(history, on_history, since, visited))
        })
}

/// SIGKILL is sent after the stop timeout, after a missed watchdog, or when all are killed.
fn grace(history: &History, now: Duration, service: &ServiceHistory, run: &RunHistory) -> Verdict {
    let name = &service.spec.name;
    let expired = run.stop_deadline.is_some_and(|deadline| now >= deadline);
    let silent = service
        .spec
        .watchdog
        .is_some_and(|every| run.last_ping.is_some_and(|ping| now >= ping + every));
    let lost = now >= run.requested_at + LOST_AFTER;
    demand!(expired || silent || history.kill_now || lost, "grace", "`{name}` is killed too early");
    demand!(run.kill_sent_at.is_none(), "grace", "`{name}` is killed twice");
    Ok(())
}
