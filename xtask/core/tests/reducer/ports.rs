//! Ports are asked for early, filled in, given back, and asked for again.

use xtask_core::plan::Probe;
use xtask_core::snapshot::{Failure, Phase};
use xtask_core::stack::event::PortHolder;
use xtask_core::stack::{BindFailure, Effect, Event, Exit};
use xtask_core::terms::Adopt;

use crate::scenario::Scenario;
use crate::support::{With, service, setting};

fn env(effects: &[Effect], name: &str) -> Option<String> {
    effects.iter().find_map(|effect| match effect {
        Effect::Spawn { command, .. } => {
            command.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
        }
        _ => None,
    })
}

#[test]
fn every_port_is_asked_for_before_anything_is_built() {
    let s = Scenario::of([
        service("a").built().port(Some(5000)).activated(),
        service("b").built().port(None).needs("a"),
        service("c").needs("b").port(None),
    ]);
    assert_eq!(s.asked_ports(), ["a", "b", "c"]);
}

#[test]
fn a_service_waits_for_the_addresses_it_is_given() {
    let mut s =
        Scenario::of([service("a").using("b").calls("B", "b").port(None), service("b").port(None)]);
    s.bind("a", &[4001]);
    assert_eq!(s.spawned(), [""; 0]);
    assert_eq!(s.snapshot("a").waiting_on, ["b (address)"]);
    s.bind("b", &[4002]);
    assert_eq!(s.spawned().len(), 2);
    assert_eq!(env(&s.effects, "B").as_deref(), Some("4002"));
    assert_eq!(s.snapshot("b").url.as_deref(), Some("http://127.0.0.1:4002"));
}

#[test]
fn an_inherited_socket_is_probed_through_its_queue() {
    let http = Probe::Http { path: "/readyz".to_owned(), status: vec![200], port: 0 };
    let mut s = Scenario::of([service("a").port(None).activated().probe(http)]);
    s.bind("a", &[4001]);
    let Some(Effect::Spawn { command, probes, .. }) = s.effects.first() else { panic!() };
    assert_eq!(command.sockets, ["http"]);
    assert!(probes[0].queued);
    assert_eq!(probes[0].address, Some(("127.0.0.1".to_owned(), 4001)));
}

#[test]
fn a_held_port_fails_the_service_even_while_it_is_built() {
    let mut s = Scenario::of([service("a").built().port(Some(5000)), service("b").needs("a")]);
    let failure = BindFailure::Held { port: 5000, holder: None, user: None };
    s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    assert_eq!(s.failure("a"), Some(Failure::Port));
    assert_eq!(s.failure("b"), Some(Failure::Dependency));
    s.built("a", 1);
    assert_eq!(s.spawned(), [""; 0]);
    s.restart(&["a"]);
    assert_eq!(s.asked_ports(), ["a"]);
    s.bind("a", &[5000]);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn other_trouble_with_a_port_is_a_failed_start() {
    let mut s = Scenario::of([service("a").port(Some(80))]);
    let failure = BindFailure::Other { port: 80, error: "permission denied".to_owned() };
    let others = vec![BindFailure::Held { port: 81, holder: None, user: None }];
    s.event(Event::BindFailed { service: "a".into(), failure, others });
    assert_eq!(s.failure("a"), Some(Failure::Start));
    let reason =
        "port 80 could not be bound: permission denied; port 81 is held by another program";
    assert_eq!(s.reason("a"), reason);
}

#[test]
fn a_service_that_is_given_up_closes_its_sockets_and_keeps_its_number() {
    let mut s = Scenario::up([service("a").port(None).activated()]);
    for _ in 0..5 {
        s.crash("a");
        s.pass(core::time::Duration::from_secs(4));
        s.start("a");
    }
    s.crash("a");
    assert_eq!(s.failure("a"), Some(Failure::Died));
    assert_eq!(s.unbound(), ["a"]);
    s.restart(&["a"]);
    let number = s.effects.iter().find_map(|effect| match effect {
        Effect::Bind { ports, .. } => ports[0].number,
        _ => None,
    });
    assert_eq!(number, Some(40_000), "others were started with it");
    let failure = BindFailure::Held { port: 40_000, holder: None, user: None };
    s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    assert_eq!(s.asked_ports(), ["a"], "any other will do");
    s.bind("a", &[40_001]);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn changed_ports_are_bound_anew_after_the_stop_and_told_to_who_knows_them() {
    let b = || service("b").using("a").calls("A", "a");
    let mut s = Scenario::up([service("a").port(Some(5000)), b()]);
    s.apply([service("a").port(Some(6000)), b()]);
    assert_eq!(s.told(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!((s.unbound(), s.asked_ports()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    s.bind("a", &[6000]);
    assert_eq!((s.spawned(), s.told()), (vec!["a".to_owned()], vec!["b".to_owned()]));
    s.end("b", Exit::Signal(15));
    assert_eq!(env(&s.effects, "A").as_deref(), Some("6000"));
}

#[test]
fn taken_down_means_closed() {
    let mut s = Scenario::up([service("a").port(Some(5000)).activated()]);
    s.take_down(&["a"]);
    assert_eq!(s.unbound(), [""; 0], "not while it runs");
    s.end("a", Exit::Signal(15));
    assert_eq!(s.unbound(), ["a"]);
    assert_eq!(s.phase("a"), Phase::Stopped);
}

#[test]
fn nobody_is_told_a_number_that_ends_with_what_was_taken_down() {
    let caller = || service("b").using("a").calls("A", "a");
    for (number, told) in [(Some(6000), Some("6000")), (None, None)] {
        let mut s = Scenario::up([service("a").port(Some(5000)), caller()]);
        s.apply([service("a").port(number), caller()]);
        s.take_down(&["a"]);
        s.restart(&["b"]);
        s.end("b", Exit::Signal(15));
        assert_eq!(s.snapshot("a").url.as_deref(), Some("http://127.0.0.1:5000"), "while it ends");
        assert_eq!(env(&s.effects, "A").as_deref(), told);
        assert_eq!(s.failure("b"), told.is_none().then_some(Failure::Dependency));
        s.end("a", Exit::Signal(15));
        assert_eq!(s.told(), [""; 0], "`b` knows the number that `a` would have");
    }
}

#[test]
fn nobody_starts_with_the_number_of_a_job_that_is_built_anew_for_another() {
    let job = |number| service("a").job().built().port(Some(number));
    let caller = || service("b").using("a").calls("A", "a");
    let mut s = Scenario::up([job(5000)]);
    s.apply([job(6000), caller()]);
    assert_eq!(s.spawned(), [""; 0]);
    s.built("a", 2);
    s.bind("a", &[6000]);
    assert_eq!(env(&s.effects, "A").as_deref(), Some("6000"));
}

#[test]
fn a_caller_that_was_told_a_number_that_nobody_had_is_told_the_one_that_is_had() {
    let caller = service("b").using("a").calls("A", "a");
    let mut s = Scenario::of([service("a").port(Some(5000)), caller]);
    let failure = BindFailure::Held { port: 5000, holder: None, user: None };
    s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    assert_eq!(env(&s.effects, "A").as_deref(), Some("5000"));
    s.start("b");
    s.apply([service("a").port(Some(6000))]);
    assert_eq!(s.told(), [""; 0], "nobody answers there yet");
    s.bind("a", &[6000]);
    assert_eq!(s.told(), ["b"]);
}

#[test]
fn who_held_ports_that_are_not_wanted_any_more_is_forgotten() {
    let mut s = Scenario::of([service("a").port(Some(5000)).adopts(Adopt::Any)]);
    s.apply([service("a")]);
    let holder = PortHolder {
        pid: 7,
        program: "/bin/other".to_owned(),
        command: "other".to_owned(),
        user: "ada".to_owned(),
        stack: None,
    };
    let failure = BindFailure::Held { port: 5000, holder: Some(holder), user: None };
    s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    s.start("a");
    let caller = service("b").using("a").calls("A", "a");
    s.apply([service("a").port(Some(5000)).adopts(Adopt::Any), caller]);
    assert_eq!((s.told(), s.spawned()), (vec!["a".to_owned()], vec![]), "`a` has no port yet");
}

#[test]
fn what_cannot_be_said_for_a_while_is_compared_when_it_can_be() {
    let caller = |arg: &str| {
        let mut caller = service("b").using("a").calls("A", "a");
        caller.args = vec![setting(arg.into())];
        caller
    };
    let mut s = Scenario::up([service("a").port(None), caller("old")]);
    s.take_down(&["a"]);
    s.end("a", Exit::Signal(15));
    s.apply([service("a").port(None), caller("new")]);
    for _ in 0..2 {
        let failure = BindFailure::Other { port: 40_000, error: "no buffer space".to_owned() };
        s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
        assert_eq!((s.told(), s.already()), (vec![], vec![]), "nobody knows where `a` will be");
    }
    s.restart(&["a"]);
    s.bind("a", &[40_000]);
    assert_eq!(s.told(), ["b"]);
}

#[test]
fn a_number_stays_known_if_only_who_listens_changes() {
    let caller = || service("b").using("a").calls("A", "a");
    let mut s = Scenario::up([service("a").port(None), caller()]);
    s.apply([service("a").port(None).activated(), caller()]);
    s.take_down(&["a"]);
    s.end("a", Exit::Signal(15));
    s.restart(&["b"]);
    s.end("b", Exit::Signal(15));
    assert_eq!(env(&s.effects, "A").as_deref(), Some("40000"));
}
