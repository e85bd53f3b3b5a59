//! Start-up deadlocks: services that keep each other from becoming ready.

use std::time::Duration;

use xtask_core::calls::{Call, CallState};
use xtask_core::plan::Probe;
use xtask_core::snapshot::{Phase, Snapshot};
use xtask_core::terms::Condition;

use crate::scenario::Scenario;
use crate::support::{START, With, service};

fn call(from: &str, to: &str, state: CallState) -> Call {
    Call { from: from.into(), to: to.into(), state }
}

fn waiting(from: &str, to: &str) -> Call {
    call(from, to, CallState::Waiting)
}

fn looked_at(s: &Scenario, calls: &[Call]) -> Snapshot {
    let mut snapshot = s.stack.snapshot();
    s.stack.note_calls(&mut snapshot, calls);
    snapshot
}

fn deadlocks(s: &Scenario, calls: &[Call]) -> Vec<String> {
    looked_at(s, calls).deadlocks.iter().map(ToString::to_string).collect()
}

/// Services that use each other, with processes that are not ready.
fn starting(names: &[&str]) -> Scenario {
    let uses = |name: &&str| {
        let others = names.iter().filter(|other| *other != name);
        let one = service(name).port(None).activated().probe(Probe::Notify);
        others.fold(one, |one, other| one.using(other))
    };
    let mut s = Scenario::of(names.iter().map(uses).collect::<Vec<_>>());
    names.iter().for_each(|name| s.bind(name, &[1]));
    names.iter().for_each(|name| s.start(name));
    s
}

const BOTH: &str = "`a` is blocked calling `b`, `b` is blocked calling `a`";

#[test]
fn two_services_calling_each_other_are_a_deadlock() {
    let s = starting(&["a", "b"]);
    assert_eq!(deadlocks(&s, &[waiting("a", "b"), waiting("b", "a")]), [BOTH]);
}

#[test]
fn accepted_call_is_no_deadlock() {
    let mut s = starting(&["a", "b"]);
    let accepted = call("b", "a", CallState::Accepted);
    assert_eq!(deadlocks(&s, &[waiting("a", "b"), accepted]), [""; 0]);
    s.pass_probe("b", 0);
    assert_eq!(s.phase("b"), Phase::Ready);
    assert_eq!(deadlocks(&s, &[waiting("a", "b"), waiting("b", "a")]), [""; 0]);
}

#[test]
fn single_call_is_reported_without_a_deadlock() {
    let s = starting(&["a", "b"]);
    let snapshot = looked_at(&s, &[waiting("a", "b")]);
    assert_eq!(snapshot.deadlocks, []);
    let of = |name| {
        let called = snapshot.blocked_calling(snapshot.service(name).unwrap());
        called.map(|called| called.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((of("a"), of("b")), (vec!["b".to_owned()], vec![]));
}

#[test]
fn self_call_before_accept_is_a_deadlock() {
    let s = starting(&["a", "b"]);
    assert_eq!(deadlocks(&s, &[waiting("b", "b")]), ["`b` is blocked calling `b`"]);
}

#[test]
fn each_service_is_in_one_shortest_deadlock() {
    let s = starting(&["a", "b", "c", "d", "e"]);
    let ring = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "b"), ("d", "e"), ("e", "d")];
    let calls: Vec<Call> = ring.iter().map(|(from, to)| waiting(from, to)).collect();
    let ring = "`a` is blocked calling `b`, `b` is blocked calling `c`, `c` is blocked calling `a`";
    let pair = "`d` is blocked calling `e`, `e` is blocked calling `d`";
    assert_eq!(deadlocks(&s, &calls), [ring, pair]);
}

#[test]
fn dependency_that_calls_its_dependent_is_a_deadlock() {
    let slow = || service("a").port(Some(1)).activated().probe(Probe::Notify).using("b");
    let mut s = Scenario::of([slow(), service("b").port(Some(2)).activated().needs("a")]);
    s.bind("a", &[1]);
    s.bind("b", &[2]);
    s.start("a");
    let text = "`a` is blocked calling `b`, `b` waits for `a`";
    assert_eq!(deadlocks(&s, &[waiting("a", "b")]), [text]);
    let dependent = service("b").port(Some(2)).activated().after("a", Condition::Started);
    let mut s = Scenario::of([slow(), dependent]);
    s.bind("a", &[1]);
    s.bind("b", &[2]);
    s.start("a");
    s.start("b");
    assert_eq!(s.phase("b"), Phase::Ready, "it waited for the start alone");
    assert_eq!(deadlocks(&s, &[waiting("a", "b")]), [""; 0]);
}

#[test]
fn timeout_names_the_blocking_call() {
    let mut s = starting(&["a", "b"]);
    assert!(!s.stack.gives_up_at(START - Duration::from_millis(1)));
    assert!(s.stack.gives_up_at(START));
    s.now = START;
    s.calls(vec![waiting("a", "b"), waiting("b", "a")]);
    for name in ["a", "b"] {
        let reason = s.reason(name);
        assert_eq!(reason, format!("not ready within 30s: `READY=1`: nothing yet; {BOTH}"));
    }
    assert!(!s.stack.gives_up_at(START));
}

#[test]
fn timeout_names_the_called_service() {
    let mut s = starting(&["a", "b"]);
    s.now = START;
    s.calls(vec![waiting("b", "a")]);
    assert!(s.reason("b").ends_with("; it is blocked calling `a`"), "{}", s.reason("b"));
    assert!(s.reason("a").ends_with("nothing yet"), "{}", s.reason("a"));
}

#[test]
fn calls_of_earlier_steps_are_ignored() {
    let mut s = starting(&["a", "b"]);
    s.calls(vec![waiting("a", "b"), waiting("b", "a")]);
    s.pass(START);
    assert!(s.reason("a").ends_with("nothing yet"), "{}", s.reason("a"));
}

#[test]
fn undeclared_call_is_found_in_every_state() {
    let s = Scenario::up([
        service("a").port(Some(1)),
        service("b").port(Some(2)).needs("a"),
        service("c").using("b"),
    ]);
    let open = |from, to| call(from, to, CallState::Accepted);
    let calls = [open("b", "a"), open("c", "b"), open("c", "a"), open("a", "a"), waiting("a", "b")];
    let found = looked_at(&s, &calls).undeclared_calls();
    assert_eq!(found, [waiting("a", "b"), open("c", "a")]);
}
