//! A new run for a service that stays wanted.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::Phase;
use xtask_core::stack::{BindFailure, Event, Exit};
use xtask_core::terms::Restart;

use crate::scenario::Scenario;
use crate::support::{With, service};

#[test]
fn a_restart_leaves_dependents_alone() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    s.restart(&["a"]);
    assert_eq!(s.told(), ["a"]);
    assert_eq!(s.phase("b"), Phase::Ready);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn dependents_that_ask_for_it_stop_first_and_start_after() {
    let a = service("a").probe(Probe::Notify);
    let mut s = Scenario::up([a, service("b").restarts_with("a"), service("c").restarts_with("b")]);
    s.restart(&["a"]);
    assert_eq!(s.told(), ["c"]);
    s.end("c", Exit::Signal(15));
    assert_eq!((s.told(), s.spawned().len()), (vec!["b".to_owned()], 0));
    s.end("b", Exit::Signal(15));
    assert_eq!(s.told(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
    s.start("a");
    s.pass_probe("a", 0);
    assert_eq!(s.spawned(), ["b"]);
    s.start("b");
    assert_eq!(s.spawned(), ["c"]);
}

#[test]
fn a_crash_restarts_them_too_and_waits_for_their_end() {
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
fn several_restarted_at_once_stop_in_reverse_order() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    s.restart(&["a", "b"]);
    assert_eq!(s.told(), ["b"]);
    s.end("b", Exit::Signal(15));
    assert_eq!(s.told(), ["a"]);
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
fn a_restart_of_what_was_taken_down_wants_it_again() {
    let mut s = Scenario::up([service("a")]);
    s.take_down(&["a"]);
    s.end("a", Exit::Signal(15));
    s.restart(&["a"]);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn a_dependent_of_what_was_taken_down_alone_fails_instead_of_waiting() {
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
fn a_service_that_becomes_a_job_is_started_again_as_one() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    s.apply([service("a").job(), service("b").needs("a")]);
    assert_eq!(s.told(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
    s.start("a");
    s.end("a", Exit::Code(0));
    assert_eq!(s.phase("a"), Phase::Succeeded);
}

#[test]
fn a_job_that_becomes_a_service_while_it_ends_has_not_succeeded() {
    let mut s = Scenario::of([service("a").job()]);
    s.start("a");
    s.exited("a", Exit::Code(0));
    s.apply([service("a")]);
    s.gone("a");
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn a_new_plan_gives_another_try_to_what_is_just_ending_badly() {
    let mut s = Scenario::up([service("a").policy(Restart::No)]);
    s.exited("a", Exit::Code(1));
    s.apply([service("a").policy(Restart::No)]);
    s.gone("a");
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn a_job_whose_settings_change_while_it_ends_runs_again() {
    let mut s = Scenario::of([service("a").job()]);
    s.start("a");
    s.exited("a", Exit::Code(0));
    s.apply([service("a").job().arg("--new")]);
    s.gone("a");
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn who_called_what_was_not_managed_is_told_its_new_port() {
    let caller = || service("b").calls("A", "a").using("a");
    let mut s = Scenario::up([service("a").external().port(Some(5000)), caller()]);
    s.apply([service("a").port(None)]);
    assert_eq!(s.asked_ports(), ["a"]);
    s.bind("a", &[6000]);
    assert_eq!(s.told(), ["b"]);
}

#[test]
fn who_is_not_there_yet_gets_no_signal() {
    let mut s = Scenario::of([service("a")]);
    s.exited("a", Exit::Code(1));
    assert_eq!(s.told(), [""; 0]);
}

#[test]
fn what_cannot_be_rendered_any_more_runs_on_and_says_so() {
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
