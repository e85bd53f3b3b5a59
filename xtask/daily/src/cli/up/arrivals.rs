//! Services that count as ready although they have answered nothing, and may be dead on arrival.
//!
//! Without a probe, a process is ready when it runs; with a `log` probe, when it printed a line.
//! Both hold for a program that ends a moment later. So a detached `up` looks at such a service
//! again before it reports success. Dependents do not wait for that look.
//!
//! With `restart = "no"` a service may exit with status 0 at once: its metadata says that it stays
//! ended. But a clue, such as processes left in the background, tells that this was no success.
//! With any other status the service fails, which needs no look.

use std::time::Duration;
use xtask_core::sorted::SortedMap;

use tokio::time::Instant;
use xtask_core::plan::{Plan, Probe, Program, Service};
use xtask_core::snapshot::{Phase, ServiceSnapshot};
use xtask_core::terms::{Kind, Name, Restart};

/// How long after it became ready such a service is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The services to look at again, each with its latest run.
#[derive(Debug, Default)]
pub(super) struct Arrivals(SortedMap<Name, Passive>);

/// A service whose readiness rests on no answer.
#[derive(Debug)]
struct Passive {
    may_end: bool,
    latest: Option<Arrival>,
}

#[derive(Debug)]
struct Arrival {
    run: u64,
    is_ready: bool,
    look_at: Instant,
    /// The service when its run ended before the look.
    ended: Option<ServiceSnapshot>,
}

impl Arrivals {
    /// The services of a plan whose readiness rests on no answer.
    pub(super) fn of(plan: &Plan) -> Self {
        let services = plan.services.iter().filter(|service| rests_on_no_answer(service));
        let passive =
            |service: &Service| Passive { may_end: service.restart == Restart::No, latest: None };
        Self(services.map(|service| (service.name.clone(), passive(service))).collect())
    }

    /// Takes the state of a service that ran before this bring-up: its run is not looked at.
    pub(super) fn ran_before(&mut self, service: &ServiceSnapshot, now: Instant) {
        if let Some(Passive { latest, .. }) = self.0.get_mut(&service.name) {
            let is_ready = service.phase == Phase::Ready;
            *latest = Some(Arrival { run: service.run, is_ready, look_at: now, ended: None });
        }
    }

    /// Takes a change of a service.
    pub(super) fn note(&mut self, service: &ServiceSnapshot, now: Instant) {
        let Some(Passive { may_end, latest }) = self.0.get_mut(&service.name) else { return };
        if !service.started {
            return;
        }
        let is_ready = service.phase == Phase::Ready;
        if !latest
            .as_ref()
            .is_some_and(|known| known.run == service.run && (known.is_ready || !is_ready))
        {
            let look_at = now + LOOK_AGAIN;
            *latest = Some(Arrival { run: service.run, is_ready, look_at, ended: None });
        }
        if let Some(known) = latest
            && now < known.look_at
            && has_ended(service)
            && (!*may_end || has_clue(service))
        {
            known.ended.get_or_insert_with(|| service.clone());
        }
    }

    fn latest(&self) -> impl Iterator<Item = &Arrival> {
        self.0.values().filter_map(|passive| passive.latest.as_ref())
    }

    /// When the last look is due, if one is.
    pub(super) fn look_at(&self, now: Instant) -> Option<Instant> {
        let due = self.latest().map(|arrival| arrival.look_at);
        due.filter(|at| *at > now).max()
    }

    /// The services that ended before their look and have no new run, as they ended.
    pub(super) fn dead(&self, now: Instant) -> impl Iterator<Item = &ServiceSnapshot> {
        let due = self.latest().filter(move |arrival| arrival.look_at <= now);
        due.filter_map(|arrival| arrival.ended.as_ref())
    }
}

fn rests_on_no_answer(service: &Service) -> bool {
    let is_managed = !matches!(service.program, Program::External);
    let is_passive = service.probes.iter().all(|probe| matches!(probe, Probe::Log { .. }));
    service.kind == Kind::Service && is_managed && is_passive
}

/// Whether a run that had become ready ended by itself. Short phases between two messages of the
/// supervisor may be missing.
fn has_ended(service: &ServiceSnapshot) -> bool {
    let ends = matches!(service.phase, Phase::Stopping | Phase::Backoff | Phase::Stopped);
    ends && service.wanted && service.ready_ms.is_some() && service.reason.is_some()
}

/// Whether its reason explains the exit: the clue follows a semicolon.
fn has_clue(service: &ServiceSnapshot) -> bool {
    service.reason.as_ref().is_some_and(|reason| reason.contains(';'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{plan, service};

    fn state(run: u64, phase: Phase) -> ServiceSnapshot {
        let reason = (phase == Phase::Backoff).then(|| "exited with status 1".to_owned());
        let ready_ms = Some(0);
        ServiceSnapshot {
            run,
            started: true,
            wanted: true,
            ready_ms,
            reason,
            ..service("a", phase)
        }
    }

    fn passive_plan(probes: Vec<Probe>) -> Plan {
        let mut plan = plan(&[("a", &[])]);
        let name = || "a".to_owned();
        let (package_id, package, binary) = (name(), name(), name());
        plan.services[0].program = Program::Artifact { package_id, package, binary };
        plan.services[0].probes = probes;
        plan.services[0].restart = Restart::OnFailure;
        plan
    }

    fn arrivals() -> Arrivals {
        Arrivals::of(&passive_plan(vec![Probe::Log { pattern: "listening".to_owned() }]))
    }

    #[test]
    fn run_that_ends_before_its_look_is_dead() {
        let (mut arrivals, now) = (arrivals(), Instant::now());
        arrivals.note(&state(1, Phase::Ready), now);
        let look = arrivals.look_at(now).unwrap();
        arrivals.note(&state(1, Phase::Backoff), now + LOOK_AGAIN / 2);
        assert_eq!(arrivals.dead(now).count(), 0);
        assert_eq!(
            arrivals.dead(look).next().unwrap().reason.as_deref(),
            Some("exited with status 1")
        );
    }

    #[test]
    fn service_that_may_end_is_not_dead() {
        let (mut plan, now) = (passive_plan(Vec::new()), Instant::now());
        plan.services[0].restart = Restart::No;
        let mut arrivals = Arrivals::of(&plan);
        let ended = |phase| ServiceSnapshot { reason: Some("ended".to_owned()), ..state(1, phase) };
        arrivals.note(&state(1, Phase::Ready), now);
        let look = arrivals.look_at(now).unwrap();
        arrivals.note(&ended(Phase::Stopping), now);
        arrivals.note(&ended(Phase::Stopped), now);
        assert_eq!(arrivals.dead(look).count(), 0);
        let reason = Some("exited by itself with status 0; it left processes".to_owned());
        arrivals.note(&ServiceSnapshot { reason, ..state(1, Phase::Stopping) }, now);
        assert_eq!(arrivals.dead(look).count(), 1);
    }

    #[test]
    fn new_run_gets_a_look_of_its_own() {
        let (mut arrivals, now) = (arrivals(), Instant::now());
        // The client may see the end of a run first.
        arrivals.note(&state(1, Phase::Backoff), now);
        let second = now + LOOK_AGAIN / 2;
        arrivals.note(&state(2, Phase::Ready), second);
        let look = arrivals.look_at(second).unwrap();
        assert_eq!(look, second + LOOK_AGAIN);
        assert_eq!(arrivals.dead(look).count(), 0);
    }

    #[test]
    fn run_that_ends_later_is_not_dead_on_arrival() {
        let (mut arrivals, now) = (arrivals(), Instant::now());
        arrivals.note(&state(1, Phase::Ready), now);
        let later = now + 2 * LOOK_AGAIN;
        arrivals.note(&state(1, Phase::Backoff), later);
        assert_eq!((arrivals.look_at(later), arrivals.dead(later).count()), (None, 0));
    }

    #[test]
    fn probed_service_is_not_looked_at() {
        let (mut arrivals, now) =
            (Arrivals::of(&passive_plan(vec![Probe::Tcp { port: 0 }])), Instant::now());
        arrivals.note(&state(1, Phase::Ready), now);
        assert_eq!(arrivals.look_at(now), None);
    }
}
