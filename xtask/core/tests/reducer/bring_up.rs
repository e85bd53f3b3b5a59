//! Bringing services up: conditions, probes, timeouts.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::{Failure, Phase, State};
use xtask_core::stack::{Effect, Event, Exit, Stack};
use xtask_core::terms::Condition;

use crate::scenario::Scenario;
use crate::support::{START, With, plan, service};

#[test]
fn dependent_starts_once_its_dependency_is_ready() {
    let mut s = Scenario::of([service("a").probe(Probe::Notify), service("b").needs("a")]);
    assert_eq!(s.spawned(), ["a"]);
    assert_eq!(s.phase("b"), Phase::Waiting);
    assert_eq!(s.snapshot("b").waiting_on, ["a (starting)"]);
    s.start("a");
    assert_eq!(s.spawned(), [""; 0]);
    s.pass_probe("a", 0);
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn all_probes_must_pass() {
    let mut s = Scenario::of([service("a")
        .probe(Probe::Notify)
        .probe(Probe::Log { pattern: "up".to_owned() })]);
    s.start("a");
    s.pass_probe("a", 1);
    s.pass_probe("a", 1);
    assert_eq!(s.phase("a"), Phase::Starting);
    s.pass_probe("a", 0);
    assert_eq!(s.phase("a"), Phase::Ready);
}

#[test]
fn probe_passed_before_started_counts() {
    let mut s = Scenario::of([service("a").probe(Probe::Notify)]);
    s.pass_probe("a", 0);
    assert_eq!(s.phase("a"), Phase::Starting);
    s.start("a");
    assert_eq!(s.phase("a"), Phase::Ready);
}

#[test]
fn service_without_probes_is_ready_when_started() {
    let mut s = Scenario::of([service("a")]);
    s.now = Duration::from_millis(7);
    s.start("a");
    assert_eq!(s.phase("a"), Phase::Ready);
    assert_eq!(s.snapshot("a").ready_ms, Some(7));
    assert_eq!(s.state(), State::Ready);
}

#[test]
fn started_condition_needs_only_started() {
    let mut s = Scenario::of([
        service("a").probe(Probe::Notify),
        service("b").after("a", Condition::Started),
    ]);
    assert_eq!(s.spawned(), ["a"]);
    s.start("a");
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn job_succeeds_once_its_process_has() {
    let mut s = Scenario::of([
        service("migrate").job(),
        service("b").after("migrate", Condition::Succeeded),
    ]);
    s.start("migrate");
    assert_eq!(s.phase("migrate"), Phase::Starting);
    s.exited("migrate", Exit::Code(0));
    // The processes that it left receive the stop signal, and hold no dependent.
    assert_eq!(s.signalled(), ["migrate"]);
    assert_eq!(s.phase("migrate"), Phase::Succeeded);
    assert_eq!(s.spawned(), ["b"]);
    s.start("b");
    assert_eq!(s.state(), State::Ready);
    s.gone("migrate");
    assert_eq!(s.phase("migrate"), Phase::Succeeded);
}

#[test]
fn next_run_waits_for_what_a_job_left() {
    let mut s = Scenario::of([service("migrate").job()]);
    s.start("migrate");
    s.exited("migrate", Exit::Code(0));
    s.restart(&["migrate"]);
    assert_eq!(s.phase("migrate"), Phase::Stopping);
    assert_eq!(s.spawned(), [""; 0]);
    s.gone("migrate");
    assert_eq!(s.spawned(), ["migrate"]);
}

#[test]
fn ready_on_a_job_means_succeeded() {
    let mut s = Scenario::of([service("migrate").job(), service("b").needs("migrate")]);
    s.start("migrate");
    assert_eq!(s.phase("b"), Phase::Waiting);
    s.end("migrate", Exit::Code(0));
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn failed_job_fails_its_dependents() {
    let mut s = Scenario::of([service("migrate").job(), service("b").needs("migrate")]);
    s.start("migrate");
    s.end("migrate", Exit::Code(3));
    assert_eq!(s.failure("b"), Some(Failure::Dependency));
    assert_eq!(s.reason("b"), "`migrate` failed: exited with status 3");
    assert_eq!(s.state(), State::Failed);
}

#[test]
fn job_has_no_start_timeout() {
    let mut s = Scenario::of([service("migrate").job()]);
    s.start("migrate");
    assert_eq!(s.stack.next_deadline(), None);
}

#[test]
fn chain_of_failures_names_the_first() {
    let mut s = Scenario::of([service("a"), service("b").needs("a"), service("c").needs("b")]);
    s.event(Event::StartFailed { service: "a".into(), run: 1, error: "no such file".to_owned() });
    assert_eq!(s.failure("a"), Some(Failure::Start));
    assert_eq!(s.reason("c"), "`a` failed: no such file");
}

#[test]
fn service_fails_after_start_timeout() {
    let mut s = Scenario::of([service("a").probe(Probe::Notify), service("b").needs("a")]);
    s.start("a");
    s.seen("a", 0, "`READY=0`");
    s.pass(START);
    assert_eq!(s.signalled(), ["a"]);
    assert!(s.effects.contains(&Effect::StopProbes { service: "a".into(), run: 1 }));
    assert_eq!(s.phase("a"), Phase::Stopping);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.failure("a"), Some(Failure::Timeout));
    assert_eq!(s.reason("a"), "not ready within 30s: `READY=1`: `READY=0`");
    assert_eq!(s.failure("b"), Some(Failure::Dependency));
    s.pass(Duration::from_secs(100));
    assert_eq!(s.run("a"), 1, "a timeout is not tried again");
}

#[test]
fn service_extends_its_start_timeout() {
    let mut s = Scenario::of([service("a").probe(Probe::Notify)]);
    s.start("a");
    s.pass(START - Duration::from_secs(1));
    s.event(Event::ExtendTimeout { service: "a".into(), run: 1, by: START });
    s.pass(START - Duration::from_secs(1));
    assert_eq!(s.phase("a"), Phase::Starting);
    s.pass(Duration::from_secs(1));
    assert_eq!(s.phase("a"), Phase::Stopping);
}

#[test]
fn missing_external_service_is_named() {
    let db = service("db").external().port(Some(5432)).probe(Probe::Tcp { port: 0 });
    let mut s = Scenario::of([db, service("a").needs("db").calls("DB", "db")]);
    assert_eq!(s.asked_ports(), [""; 0]);
    assert!(matches!(&s.effects[0], Effect::Probe { run: 1, probes, .. }
        if probes[0].address == Some(("127.0.0.1".to_owned(), 5432))));
    s.seen("db", 0, "connection refused");
    s.pass(START);
    assert_eq!(s.failure("db"), Some(Failure::Timeout));
    assert_eq!(s.reason("db"), "not running: connection to 127.0.0.1:5432: connection refused");
    s.restart(&["db"]);
    assert_eq!(s.phase("a"), Phase::Waiting);
    s.pass_probe("db", 0);
    assert_eq!(s.phase("db"), Phase::Ready);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn outsiders_wait_for_every_ring_member() {
    let mut s = Scenario::of([
        service("a").using("b").probe(Probe::Notify),
        service("b").needs("a").probe(Probe::Notify),
        service("c").needs("a"),
    ]);
    s.start("a");
    s.pass_probe("a", 0);
    assert_eq!(s.spawned(), ["b"]);
    s.start("b");
    assert_eq!(s.phase("c"), Phase::Waiting);
    assert_eq!(s.snapshot("c").waiting_on, ["b (starting)"]);
    s.pass_probe("b", 0);
    assert_eq!(s.spawned(), ["c"]);
}

#[test]
fn chain_of_a_thousand_services_starts_and_stops() {
    let name = |index: usize| format!("s{index:04}");
    let services: Vec<_> = (0..1000)
        .map(|index| {
            let this = service(&name(index));
            if index == 0 { this } else { this.needs(&name(index - 1)) }
        })
        .collect();
    // Without the checks of `Scenario`, which visit all services after each event.
    let mut stack = Stack::new();
    let mut effects = Vec::new();
    let event = Event::Apply { plan: plan(services) };
    stack.step(Duration::ZERO, event, &mut effects);
    for index in 0..1000 {
        let event = Event::Started { service: name(index).into(), run: 1, pid: 1 };
        effects.clear();
        stack.step(Duration::ZERO, event, &mut effects);
        assert!(effects.len() <= 4, "one start concerns few");
    }
    assert_eq!(stack.state(), State::Ready);
    stack.step(Duration::ZERO, Event::Shutdown, &mut effects);
    for index in (0..1000).rev() {
        let service: xtask_core::terms::Name = name(index).into();
        let exit = Exit::Signal(15);
        stack.step(
            Duration::ZERO,
            Event::Exited { service: service.clone(), run: 1, exit, clue: None },
            &mut effects,
        );
        stack.step(Duration::ZERO, Event::Gone { service, run: 1 }, &mut effects);
    }
    assert_eq!(effects.last(), Some(&Effect::End));
}

#[test]
fn ring_of_two_thousand_services_stays_small() {
    const COUNT: usize = 2_000;
    let name = |index: usize| format!("service-of-a-ring-{:04}", index % COUNT);
    let ring = (0..COUNT).map(|index| service(&name(index)).using(&name(index + 1)));
    let plan = plan(ring.chain([service("outside").needs(&name(0))]).collect::<Vec<_>>());
    let bytes = serde_json::to_vec(&plan).unwrap().len();
    assert!(bytes < 4 * 1024 * 1024, "a plan of {bytes} bytes is no request");
    assert_eq!(plan.rings().iter().map(Vec::len).collect::<Vec<_>>(), [COUNT]);

    // Without the checks of `Scenario`, which visit all services after each event.
    let mut stack = Stack::new();
    let mut effects = Vec::new();
    stack.step(Duration::ZERO, Event::Apply { plan }, &mut effects);
    let outside = |stack: &Stack| stack.service_snapshot("outside").unwrap().phase;
    for index in 0..COUNT {
        assert_eq!(outside(&stack), Phase::Waiting);
        let started = Event::Started { service: name(index).into(), run: 1, pid: 1 };
        stack.step(Duration::ZERO, started, &mut effects);
    }
    assert_eq!(outside(&stack), Phase::Starting);
}
