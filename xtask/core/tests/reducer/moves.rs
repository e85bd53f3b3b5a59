//! Ports that move between services, services that a plan drops, and reasons of replacements.

use xtask_core::snapshot::{Failure, Phase};
use xtask_core::stack::{BindFailure, Effect, Event, Exit};

use crate::scenario::Scenario;
use crate::support::{With, service, setting};

fn held(port: u16) -> BindFailure {
    BindFailure::Held { port, holder: None, user: None }
}

fn checks_ports(s: &Scenario) -> bool {
    s.effects.iter().any(|effect| matches!(effect, Effect::CheckPorts { .. }))
}

#[test]
fn swapped_ports_are_bound_after_both_stops() {
    let (a, b) = (|port| service("a").port(Some(port)), |port| service("b").port(Some(port)));
    let mut s = Scenario::up([a(5000), b(5001)]);
    s.apply([a(5001), b(5000)]);
    assert_eq!(s.signalled(), ["a", "b"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.unbound(), ["a"], "it frees its port");
    assert_eq!(s.asked_ports(), [""; 0]);
    assert_eq!(s.snapshot("a").waiting_on, ["`b` to free port 5001"]);
    s.end("b", Exit::Signal(15));
    assert_eq!(s.asked_ports(), ["b", "a"]);
    s.bind("a", &[5001]);
    s.bind("b", &[5000]);
    assert_eq!(s.phase("a"), Phase::Starting);
    assert_eq!(s.phase("b"), Phase::Starting);
}

#[test]
fn callers_of_each_other_exchange_their_inherited_sockets() {
    let a = || service("a").port(None).using("b").calls("B", "b");
    let b = || service("b").port(Some(5001)).needs("a").calls("A", "a");
    let mut s = Scenario::up([a(), b().activated()]);
    s.apply([a().activated(), b()]);
    let mut stopped = s.signalled();
    stopped.sort();
    assert_eq!(stopped, ["a", "b"], "neither waits for the address of the other");
    assert_eq!(s.reason("a"), "its inherited sockets changed");
    for name in stopped {
        s.end(&name, Exit::Signal(15));
    }
    s.let_it_happen();
    assert_eq!((s.run("a"), s.run("b")), (2, 2));
    assert_eq!(s.state(), xtask_core::snapshot::State::Ready);
}

#[test]
fn ring_of_three_ports_waits_for_its_builds() {
    let plan = |ports: [u16; 3]| {
        let names = ["a", "b", "c"].into_iter().zip(ports);
        names.map(|(name, port)| service(name).built().port(Some(port))).collect::<Vec<_>>()
    };
    let mut s = Scenario::up(plan([5000, 5001, 5002]));
    s.apply(plan([5001, 5002, 5000]));
    s.built("a", 1);
    s.built("b", 1);
    assert_eq!(s.signalled(), [""; 0], "`c` may keep its port");
    s.built("c", 1);
    let mut stopped = s.signalled();
    stopped.sort();
    assert_eq!(stopped, ["a", "b", "c"]);
    for name in ["a", "b", "c"] {
        s.end(name, Exit::Signal(15));
    }
    s.let_it_happen();
    assert_eq!(s.state(), xtask_core::snapshot::State::Ready);
}

#[test]
fn failed_build_of_the_port_holder_keeps_both_runs() {
    let (a, b) =
        (|port| service("a").port(Some(port)), |port| service("b").built().port(Some(port)));
    let mut s = Scenario::up([a(5000), b(5001)]);
    s.apply([a(5001), b(5002)]);
    s.ports_checked("b", Vec::new());
    s.event(Event::BuildEnded { ok: false });
    assert_eq!(s.signalled(), [""; 0]);
    assert_eq!(s.failure("a"), Some(Failure::Sibling));
    assert_eq!((s.phase("a"), s.phase("b")), (Phase::Ready, Phase::Ready));
}

#[test]
fn dropped_service_frees_its_port_first() {
    let mut s = Scenario::up([service("old").port(Some(5000))]);
    s.apply_whole([service("new").port(Some(5000))], &[]);
    assert_eq!(s.signalled(), ["old"]);
    assert_eq!(s.reason("old"), "the metadata no longer declares it");
    assert_eq!(s.snapshot("new").waiting_on, ["`old` to free port 5000"]);
    s.end("old", Exit::Signal(15));
    s.bind("new", &[5000]);
    assert_eq!(s.spawned(), ["new"]);
}

#[test]
fn named_plan_keeps_undeclared_services() {
    let mut s = Scenario::up([service("old")]);
    s.apply([service("new")]);
    assert_eq!((s.signalled(), s.phase("old")), (vec![], Phase::Ready));
}

#[test]
fn port_of_a_staying_sibling_fails_the_start() {
    let mut s = Scenario::up([service("b").port(Some(5000))]);
    s.apply([service("a").port(Some(5000))]);
    assert_eq!(s.asked_ports(), [""; 0]);
    assert_eq!(s.failure("a"), Some(Failure::Sibling));
    assert!(
        s.reason("a").starts_with("port 5000 is held by `b` of this stack"),
        "{}",
        s.reason("a")
    );
    assert_eq!(s.phase("b"), Phase::Ready);
}

#[test]
fn port_of_a_staying_sibling_keeps_the_old_run() {
    let mut s = Scenario::up([service("a").port(Some(5000)), service("b").port(Some(5001))]);
    s.apply([service("a").port(Some(5001))]);
    assert_eq!((s.signalled(), s.phase("a")), (vec![], Phase::Ready));
    assert_eq!(s.failure("a"), Some(Failure::Sibling));
    s.apply([service("a").port(Some(5000))]);
    assert_eq!(s.failure("a"), None);
    assert_eq!(s.already(), ["a"]);
}

#[test]
fn held_new_port_keeps_the_old_run() {
    let mut s = Scenario::up([service("a").port(Some(5000))]);
    s.apply([service("a").port(Some(6000))]);
    assert!(checks_ports(&s) && s.signalled().is_empty());
    assert!(s.snapshot("a").unsettled);
    s.ports_checked("a", vec![held(6000)]);
    assert_eq!((s.phase("a"), s.failure("a")), (Phase::Ready, Some(Failure::Port)));
    assert!(s.reason("a").contains("port 6000 is in use"), "{}", s.reason("a"));
    s.apply([service("a").port(Some(6000))]);
    s.ports_checked("a", Vec::new());
    assert_eq!(s.signalled(), ["a"]);
}

#[test]
fn dependent_fails_on_a_job_whose_old_run_continues() {
    let b = || service("b").needs("a");
    let mut s = Scenario::up([service("a").port(Some(5000))]);
    s.apply([service("a").job().port(Some(6000)), b()]);
    assert_eq!(s.phase("b"), Phase::Waiting);
    s.ports_checked("a", vec![held(6000)]);
    assert_eq!((s.phase("a"), s.failure("b")), (Phase::Ready, Some(Failure::Dependency)));
    assert_eq!(
        s.reason("b"),
        "`a` is no job yet: port 6000 is in use, and the system does not show which program uses it"
    );
}

#[test]
fn chain_of_moves_stops_at_a_held_port() {
    let (a, b) = (|port| service("a").port(Some(port)), |port| service("b").port(Some(port)));
    let mut s = Scenario::up([a(5000), b(5001)]);
    s.apply([a(5001), b(5002)]);
    s.ports_checked("b", vec![held(5002)]);
    assert_eq!((s.phase("a"), s.failure("a")), (Phase::Ready, Some(Failure::Sibling)));
    assert_eq!((s.phase("b"), s.failure("b")), (Phase::Ready, Some(Failure::Port)));
}

#[test]
fn replacement_names_its_reason() {
    let mut changed = service("a").arg("new");
    changed.env.insert("SECRET_KEY".to_owned(), setting("value".into()));
    let mut s = Scenario::up([service("a").built(), service("b").restarts_with("a")]);
    s.apply([service("a").built()]);
    s.built("a", 2);
    assert_eq!(s.reason("b"), "restarts with `a`");
    s.end("b", Exit::Signal(15));
    assert_eq!(s.reason("a"), "its program changed");
    let mut s = Scenario::up([service("a")]);
    s.apply([changed.clone()]);
    assert_eq!(s.reason("a"), "its arguments changed");
    let mut s = Scenario::up([service("a").arg("new")]);
    s.apply([changed]);
    assert_eq!(s.reason("a"), "`SECRET_KEY` changed");
}

#[test]
fn named_plan_leaves_callers_at_the_old_address() {
    let caller = || service("b").using("a").calls("A", "a");
    let mut s = Scenario::up([service("a").port(Some(5000)), caller()]);
    s.apply([service("a").port(Some(6000))]);
    s.ports_checked("a", Vec::new());
    s.end("a", Exit::Signal(15));
    s.bind("a", &[6000]);
    assert_eq!((s.signalled(), s.phase("b")), (vec![], Phase::Ready));
    assert_eq!(s.reason("b"), "still runs with the previous settings: `a` has another address");
    s.apply_whole([service("a").port(Some(6000)), caller()], &[]);
    assert_eq!(s.reason("b"), "`A` changed");
}

#[test]
fn second_named_plan_still_leaves_callers_alone() {
    let caller = || service("b").using("a").calls("A", "a");
    let mut s = Scenario::up([service("a").port(Some(5000)), caller()]);
    s.apply([service("a").port(Some(6000))]);
    s.ports_checked("a", Vec::new());
    s.end("a", Exit::Signal(15));
    s.apply([service("a").port(Some(6000))]);
    s.bind("a", &[6000]);
    assert_eq!((s.signalled(), s.phase("b")), (vec![], Phase::Ready));
    assert_eq!(s.reason("b"), "still runs with the previous settings: `a` has another address");
}

#[test]
fn move_that_was_taken_back_concerns_no_later_plan() {
    let a = |port| service("a").built().port(Some(port));
    let caller = || service("b").using("a").calls("A", "a");
    let mut s = Scenario::up([a(5000), caller()]);
    s.apply_whole([a(6000), caller()], &[]);
    s.built("a", 0);
    s.ports_checked("a", vec![held(6000)]);
    s.apply([a(5000), caller()]);
    s.apply([a(6000)]);
    s.built("a", 0);
    s.ports_checked("a", Vec::new());
    s.end("a", Exit::Signal(15));
    s.bind("a", &[6000]);
    assert_eq!((s.signalled(), s.run("b"), s.phase("b")), (vec![], 1, Phase::Ready));
    assert_eq!(s.reason("b"), "still runs with the previous settings: `a` has another address");
}

#[test]
fn refused_ports_end_a_pending_replacement() {
    let b = || service("b").restarts_with("a");
    let mut s = Scenario::up([service("a").port(Some(5000)), b()]);
    s.restart(&["a"]);
    assert_eq!(s.signalled(), ["b"], "`a` waits for it");
    s.apply([service("a").port(Some(5001)), b()]);
    s.ports_checked("a", vec![held(5001)]);
    s.end("b", Exit::Code(0));
    assert_eq!((s.signalled(), s.spawned()), (vec![], vec!["b".to_owned()]));
    assert_eq!((s.run("a"), s.phase("a"), s.failure("a")), (1, Phase::Ready, Some(Failure::Port)));
}

#[test]
fn refused_ports_spare_no_run_that_follows_a_dependency() {
    let b = |port| service("b").port(Some(port)).restarts_with("a");
    let c = || service("c").restarts_with("b");
    let mut s = Scenario::up([service("a"), b(5000), c()]);
    s.restart(&["a"]);
    assert_eq!(s.signalled(), ["c"], "the others wait for it");
    s.apply([service("a"), b(5001), c()]);
    s.ports_checked("b", vec![held(5001)]);
    s.end("c", Exit::Code(0));
    assert_eq!(s.signalled(), ["b"]);
}

#[test]
fn callers_of_a_former_external_run_get_its_address() {
    let db = || service("db").port(Some(5000)).external();
    let caller = |name: &str| service(name).using("db").calls("DB", "db");
    let mut s = Scenario::up([db(), caller("a")]);
    s.apply([service("db").built().port(None), caller("a"), caller("b")]);
    assert_eq!(s.spawned(), [""; 0], "the next run has another address");
    s.event(Event::BuildEnded { ok: false });
    assert_eq!((s.phase("db"), s.spawned()), (Phase::Ready, vec!["b".to_owned()]));
    let env = s.effects.iter().find_map(|effect| match effect {
        Effect::Spawn { command, .. } => Some(command.env.clone()),
        _ => None,
    });
    assert_eq!(env.unwrap(), [("DB".to_owned(), "5000".to_owned())]);
    assert_eq!(s.signalled(), [""; 0], "`a` calls it there");
    s.apply([service("db").built().port(Some(5001)), caller("a"), caller("b")]);
    s.built("db", 1);
    s.let_it_happen();
    assert_eq!((s.run("db"), s.phase("a"), s.phase("b")), (2, Phase::Stopping, Phase::Stopping));
}

#[test]
fn move_of_an_external_service_ends_at_once() {
    let caller = || service("b").using("a").calls("A", "a");
    let external = || service("a").external().port(Some(5000));
    // A named plan brings the service with its caller, and a later one moves it alone.
    let mut s = Scenario::up([external(), caller()]);
    s.apply([service("a").port(Some(6000))]);
    s.ports_checked("a", Vec::new());
    s.bind("a", &[6000]);
    assert_eq!((s.signalled(), s.phase("b")), (vec![], Phase::Ready));
    assert_eq!(s.reason("b"), "still runs with the previous settings: `a` has another address");
}
