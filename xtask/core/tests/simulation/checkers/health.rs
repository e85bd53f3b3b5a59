//! Ready services are checked one check at a time, and three failed checks have their consequence.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Event};

use super::service::{Origin, RunHistory, ServiceHistory};
use super::take_down::calls_for_new_run;
use super::{History, Verdict, demand};

/// Checks an effect before it is recorded.
pub(super) fn check(history: &History, now: Duration, effect: &Effect) -> Verdict {
    let Effect::CheckHealth { service: name, run: number, .. } = effect else { return Ok(()) };
    let service = &history.services[name];
    let run = service.run.as_ref().filter(|run| run.number == *number && run.is_ready());
    demand!(run.is_some() && service.wanted, "health", "`{name}` is checked and not ready");
    let (Some(run), Some(health)) = (run, &service.spec.health) else {
        demand!(false, "health", "`{name}` is checked and has no health checks");
        return Ok(());
    };
    demand!(!run.health.checking, "health", "`{name}` is checked twice at once");
    let early = run.health.answered_at.is_some_and(|at| now < at + health.every);
    demand!(!early, "health", "`{name}` is checked too early");
    Ok(())
}

/// After a check, an unhealthy service is no longer shown as ready, and is stopped if its
/// metadata asks for a restart.
pub(super) fn noticed(history: &History, event: &Event) -> Verdict {
    let Event::HealthChecked { service: name, run: number, .. } = event else { return Ok(()) };
    let Some(service) = history.services.get(name).filter(|service| service.wanted) else {
        return Ok(());
    };
    let run = service.run.as_ref().filter(|run| run.number == *number);
    let Some(run) = run.filter(|run| run.is_ready() && run.health.is_unhealthy()) else {
        return Ok(());
    };
    demand!(service.phase != Phase::Ready, "health", "`{name}` is unhealthy and shown as ready");
    let restarts = service.must_restart_unhealthy(run) && run.origin == Origin::Spawned;
    // A run that is to be replaced may wait for its dependents.
    let kept = restarts && !calls_for_new_run(history, service);
    demand!(!kept, "health", "`{name}` is unhealthy and not restarted");
    Ok(())
}

/// Long after the last fault, every ready service was checked.
pub(super) fn checked(history: &History) -> Verdict {
    for (name, service) in &history.services {
        let run = service.run.as_ref().filter(|run| run.is_ready());
        let unchecked = |run: &RunHistory| run.health.checks == 0 && can_be_checked(service);
        let never = service.phase == Phase::Ready && service.wanted && run.is_some_and(unchecked);
        demand!(!never, "health", "`{name}` was never checked");
    }
    Ok(())
}

/// Whether it has a health check, and the number of the port that the check asks is known. A run
/// may be older than the plan that declares the port.
fn can_be_checked(service: &ServiceHistory) -> bool {
    let Some(health) = &service.spec.health else { return false };
    match &health.probe {
        Probe::Http { .. } | Probe::Tcp { .. } => {
            let ports = &service.spec.ports;
            let bound = service.last_bound.as_ref().map(|(_, numbers)| numbers.len());
            bound == Some(ports.len()) || ports.iter().all(|port| port.number.is_some())
        }
        Probe::Notify | Probe::Log { .. } | Probe::Command { .. } => true,
    }
}
