//! Ready services are checked one check at a time, and three failed checks have their consequence.

use std::time::Duration;

use xtask_core::plan::{Health, Probe};
use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Event};

use super::service::{Origin, RunHistory};
use super::take_down::calls_for_new_run;
use super::{History, Verdict, demand};

/// Checks an effect before it is recorded.
pub(super) fn check(history: &History, now: Duration, effect: &Effect) -> Verdict {
    let Effect::CheckHealth { service: name, run: number, probe } = effect else { return Ok(()) };
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
    let asked = probe.address.as_ref().map(|(_, number)| *number);
    // A later plan may have other ports than the run.
    let own = asked_port(health).and_then(|port| run.numbers.get(port).copied());
    demand!(asked == own, "health", "`{name}` is checked at {asked:?}, and has {own:?}");
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

/// Long after the last fault, every ready service was checked. A run that is older than the plan
/// that declares its port does not listen there.
pub(super) fn checked(history: &History) -> Verdict {
    for (name, service) in &history.services {
        let run = service.run.as_ref().filter(|run| run.is_ready());
        let port = service.spec.health.as_ref().and_then(asked_port);
        let listens = |run: &RunHistory| port.is_some_and(|port| port < run.numbers.len());
        let unchecked = run.is_some_and(|run| run.health.checks == 0 && listens(run));
        let never = service.phase == Phase::Ready && service.wanted && unchecked;
        demand!(!never, "health", "`{name}` was never checked");
    }
    Ok(())
}

/// The index of the port that a health check asks.
fn asked_port(health: &Health) -> Option<usize> {
    match &health.probe {
        Probe::Http { port, .. } | Probe::Tcp { port } => Some(*port),
        Probe::Notify | Probe::Log { .. } | Probe::Command { .. } => None,
    }
}
