//! A new run for a service that stays wanted.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::Phase;
use xtask_core::stack::{BindFailure, Event, Exit};
use xtask_core::terms::Restart;

use crate::scenario::Scenario;
use crate::support::{With, service};

#[test]
fn restart_keeps_dependents_running() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    s.restart(&["a"]);
    assert_eq!(s.signalled(), ["a"]);
    assert_eq!(s.phase("b"), Phase::Ready);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn restarting_dependents_stop_first_and_start_last() {
    let a = service("a").probe(Probe::Notify);
    let mut s = Scenario::up([a, service("b").restarts_with("a"), service("c").restarts_with("b")]);
    s.restart(&["a"]);
    assert_eq!(s.signalled(), ["c"]);
    s.end("c", Exit::Signal(15));
    assert_eq!((s.signalled(), s.spawned().len()), (vec!["b".to_owned()], 0));
    s.end("b", Exit::Signal(15));
    assert_eq!(s.signalled(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
    s.start("a");
    s.pass_probe("a", 0);
    assert_eq!(s.spawned(), ["b"]);
    s.start("b");
    assert_eq!(s.spawned(), ["c"]);
}

#[test]
fn crash_restarts_dependents_with_restarting_edges() {
    let mut s = Scenario::up([service("a"), service("b").restarts_with("a")]);
    s.crash("a");
    assert_eq!(s.phase("a"), Phase::Backoff);
    s.pass(Duration::from_secs(1));
    assert_eq!(s.spawned(), [""; 0]);
    assert_eq!(s.snapshot("a").waiting_on, ["`b` to stop"]);
    s.end("b", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn restarted_services_stop_in_reverse_order() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    s.restart(&["a", "b"]);
    assert_eq!(s.signalled(), ["b"]);
    s.end("b", Exit::Signal(15));
    assert_eq!(s.signalled(), ["a"]);
    assert_eq!(s.spawned(), [""; 0], "its dependency is about to stop");
    s.end("a", Exit::Signal(15));
    s.start("a");
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn restarting_a_job_runs_it_again() {
    let mut s = Scenario::up([service("job").job()]);
    assert_eq!(s.phase("job"), Phase::Succeeded);
    s.restart(&["job"]);
    assert_eq!((s.spawned(), s.run("job")), (vec!["job".to_owned()], 2));
}

#[test]
fn restart_starts_a_taken_down_service() {
    let mut s = Scenario::up([service("a")]);
    s.take_down(&["a"]);
    s.end("a", Exit::Signal(15));
    s.restart(&["a"]);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn dependent_of_a_taken_down_service_fails() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    let event = xtask_core::stack::Event::TakeDown { services: vec!["a".into()], only: true };
    s.event(event);
    s.end("a", Exit::Signal(15));
    s.restart(&["b"]);
    s.end("b", Exit::Signal(15));
    assert_eq!(s.reason("b"), "`a` was taken down");
    s.restart(&["a"]);
    assert_eq!(s.phase("b"), Phase::Waiting);
}

#[test]
fn service_that_becomes_a_job_restarts() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    s.apply([service("a").job(), service("b").needs("a")]);
    assert_eq!(s.signalled(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
    s.start("a");
    s.end("a", Exit::Code(0));
    assert_eq!(s.phase("a"), Phase::Succeeded);
}

#[test]
fn ending_job_that_becomes_a_service_has_not_succeeded() {
    let mut s = Scenario::of([service("a").job()]);
    s.start("a");
    s.exited("a", Exit::Code(0));
    s.apply([service("a")]);
    s.gone("a");
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn new_plan_retries_a_failing_run() {
    let mut s = Scenario::up([service("a").policy(Restart::No)]);
    s.exited("a", Exit::Code(1));
    s.apply([service("a").policy(Restart::No)]);
    s.gone("a");
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn ending_job_with_new_settings_runs_again() {
    let mut s = Scenario::of([service("a").job()]);
    s.start("a");
    s.exited("a", Exit::Code(0));
    s.apply([service("a").job().arg("--new")]);
    s.gone("a");
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn caller_of_an_external_service_follows_its_port() {
    let caller = || service("b").calls("A", "a").using("a");
    let mut s = Scenario::up([service("a").external().port(Some(5000)), caller()]);
    s.apply_whole([service("a").port(None)], &["b"]);
    assert_eq!(s.asked_ports(), ["a"]);
    s.bind("a", &[6000]);
    assert_eq!(s.signalled(), ["b"]);
}

#[test]
fn run_without_pid_gets_no_signal() {
    let mut s = Scenario::of([service("a")]);
    s.exited("a", Exit::Code(1));
    assert_eq!(s.signalled(), [""; 0]);
}

#[test]
fn unrenderable_run_continues_with_a_reason() {
    let caller = |arg| service("b").calls("A", "a").using("a").arg(arg);
    let fail = |s: &mut Scenario| {
        let failure = BindFailure::Other { port: 0, error: "no".to_owned() };
        s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    };
    let mut s = Scenario::up([service("a").port(None), caller("--old")]);
    s.apply([service("a").port(None).port(None), caller("--old")]);
    s.end("a", Exit::Signal(15));
    fail(&mut s);
    s.apply([service("a").port(None).port(None), caller("--new")]);
    fail(&mut s);
    assert_eq!((s.phase("a"), s.phase("b")), (Phase::Failed, Phase::Ready));
    assert_eq!(s.already(), [""; 0]);
    let reason = "still runs with the previous settings: the address of `a` is not known";
    assert_eq!(s.reason("b"), reason);
}

#[test]
fn job_waits_for_the_replacement_of_its_dependency() {
    let job = || service("j").job().restarts_with("a").calls("A_PORT", "a");
    let mut s = Scenario::up([service("a").port(Some(5000)), job()]);
    s.apply([service("a").external().port(Some(5001)).probe(Probe::Tcp { port: 0 }), job()]);
    assert_eq!((s.signalled(), s.spawned()), (vec!["a".to_owned()], vec![]));
    s.end("a", Exit::Code(0));
    assert_eq!(s.spawned(), [""; 0], "the new `a` is not ready");
    s.pass_probe("a", 0);
    assert_eq!((s.spawned(), s.run("j")), (vec!["j".to_owned()], 2));
}
