//! Jobs with `once`: done once for each data folder.

use xtask_core::plan::{Plan, Service};
use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Event, Exit};
use xtask_core::terms::Name;

use crate::scenario::Scenario;
use crate::support::{self, With, service};

/// A plan for a data folder that records the job `seed` as done.
fn done(services: impl Into<Vec<Service>>) -> Event {
    let done = [Name::from("seed")].into();
    Event::Apply { plan: Plan { done, ..support::plan(services) } }
}

fn shop() -> [Service; 2] {
    [service("seed").once(), service("shop").needs("seed")]
}

fn marks(s: &Scenario) -> usize {
    let mark = Effect::MarkDone { service: "seed".into() };
    s.effects.iter().filter(|effect| **effect == mark).count()
}

#[test]
fn success_of_a_once_job_is_recorded() {
    let mut s = Scenario::of(shop());
    s.start("seed");
    s.exited("seed", Exit::Code(0));
    assert_eq!(
        (marks(&s), s.phase("seed"), s.reason("seed")),
        (1, Phase::Succeeded, String::new())
    );
}

#[test]
fn failure_of_a_once_job_is_not_recorded() {
    let mut s = Scenario::of(shop());
    s.start("seed");
    s.crash("seed");
    assert_eq!((marks(&s), s.phase("seed")), (0, Phase::Failed));
}

#[test]
fn done_job_is_skipped_and_starts_dependents() {
    let mut s = Scenario::of([]);
    s.event(done(shop()));
    assert_eq!((s.phase("seed"), s.reason("seed")), (Phase::Succeeded, "done before".to_owned()));
    assert_eq!(s.spawned(), ["shop"]);
    s.event(done([service("seed").once().arg("other"), service("shop").needs("seed")]));
    assert_eq!((s.spawned(), s.run("seed")), (vec![], 0));
}

#[test]
fn done_job_without_a_record_runs() {
    let mut s = Scenario::of([]);
    s.event(done(shop()));
    s.event(done([service("seed").job(), service("shop").needs("seed")]));
    assert_eq!(s.spawned(), ["seed"], "it is no longer `once`");
    let mut s = Scenario::of(shop());
    assert_eq!(s.spawned(), ["seed"]);
    s.start("seed");
    s.end("seed", Exit::Code(0));
    s.apply([service("seed").once().arg("other"), service("shop").needs("seed")]);
    assert_eq!(s.spawned(), ["seed"], "its record was deleted");
}

#[test]
fn restart_runs_a_done_job_again() {
    let mut s = Scenario::of([]);
    s.event(done(shop()));
    s.restart(&["seed"]);
    assert_eq!(s.spawned(), ["seed"]);
    // The request stands until the job succeeds.
    s.event(done(shop()));
    s.start("seed");
    s.crash("seed");
    assert_eq!(s.phase("seed"), Phase::Failed);
    s.event(done(shop()));
    assert_eq!(s.reason("seed"), "done before");
    let plan = Plan {
        restart: vec!["seed".into()],
        done: [Name::from("seed")].into(),
        ..support::plan(shop())
    };
    s.event(Event::Apply { plan });
    assert_eq!(s.spawned(), ["seed"]);
    s.start("seed");
    s.end("seed", Exit::Code(0));
    assert_eq!((marks(&s), s.phase("seed")), (1, Phase::Succeeded));
}
