//! Ports are requested early, filled in, released, and requested again.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::{Failure, Phase};
use xtask_core::stack::event::{HolderStack, PortHolder};
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
fn ports_are_requested_before_the_build() {
    let s = Scenario::of([
        service("a").built().port(Some(5000)).activated(),
        service("b").built().port(None).needs("a"),
        service("c").needs("b").port(None),
    ]);
    assert_eq!(s.asked_ports(), ["a", "b", "c"]);
}

#[test]
fn start_waits_for_the_addresses_in_its_settings() {
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
fn inherited_socket_is_probed_before_started() {
    let http = Probe::Http { path: "/readyz".to_owned(), status: vec![200], port: 0 };
    let mut s = Scenario::of([service("a").port(None).activated().probe(http)]);
    s.bind("a", &[4001]);
    let Some(Effect::Spawn { command, probes, .. }) = s.effects.first() else { panic!() };
    assert_eq!(command.sockets, ["http"]);
    assert!(probes[0].queued);
    assert_eq!(probes[0].address, Some(("127.0.0.1".to_owned(), 4001)));
}

#[test]
fn held_port_fails_the_service_during_its_build() {
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
fn other_bind_failure_fails_the_start() {
    let mut s = Scenario::of([service("a").port(Some(80))]);
    let failure = BindFailure::Other { port: 80, error: "permission denied".to_owned() };
    let others = vec![BindFailure::Held { port: 81, holder: None, user: None }];
    s.event(Event::BindFailed { service: "a".into(), failure, others });
    assert_eq!(s.failure("a"), Some(Failure::Start));
    let reason = "port 80 could not be bound: permission denied; port 81 is in use, and the system \
                  does not show which program uses it";
    assert_eq!(s.reason("a"), reason);
}

#[test]
fn failed_service_closes_sockets_and_keeps_its_number() {
    let mut s = Scenario::up([service("a").port(None).activated()]);
    for _ in 0..5 {
        s.crash("a");
        s.pass(Duration::from_secs(4));
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
fn changed_ports_are_bound_after_the_stop() {
    let b = || service("b").using("a").calls("A", "a");
    let mut s = Scenario::up([service("a").port(Some(5000)), b()]);
    s.apply([service("a").port(Some(6000)), b()]);
    s.ports_checked("a", Vec::new());
    assert_eq!(s.signalled(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!((s.unbound(), s.asked_ports()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    s.bind("a", &[6000]);
    assert_eq!((s.spawned(), s.signalled()), (vec!["a".to_owned()], vec!["b".to_owned()]));
    s.end("b", Exit::Signal(15));
    assert_eq!(env(&s.effects, "A").as_deref(), Some("6000"));
}

#[test]
fn take_down_closes_sockets() {
    let mut s = Scenario::up([service("a").port(Some(5000)).activated()]);
    s.take_down(&["a"]);
    assert_eq!(s.unbound(), [""; 0], "not while it runs");
    s.end("a", Exit::Signal(15));
    assert_eq!(s.unbound(), ["a"]);
    assert_eq!(s.phase("a"), Phase::Stopped);
}

#[test]
fn dependent_ignores_the_number_of_a_stopping_run() {
    let caller = || service("b").using("a").calls("A", "a");
    for (number, address) in [(Some(6000), Some("6000")), (None, None)] {
        let mut s = Scenario::up([service("a").port(Some(5000)), caller()]);
        s.apply([service("a").port(number), caller()]);
        s.take_down(&["a"]);
        s.restart(&["b"]);
        s.end("b", Exit::Signal(15));
        assert_eq!(s.snapshot("a").url.as_deref(), Some("http://127.0.0.1:5000"), "while it ends");
        assert_eq!(env(&s.effects, "A").as_deref(), address);
        assert_eq!(s.failure("b"), address.is_none().then_some(Failure::Dependency));
        s.end("a", Exit::Signal(15));
        assert_eq!(s.signalled(), [""; 0], "`b` knows the number that `a` would have");
    }
}

#[test]
fn dependent_waits_for_new_number_of_rebuilt_job() {
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
fn caller_restarts_when_the_number_changes_before_bind() {
    let caller = service("b").using("a").calls("A", "a");
    let mut s = Scenario::of([service("a").port(Some(5000)), caller]);
    let failure = BindFailure::Held { port: 5000, holder: None, user: None };
    s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    assert_eq!(env(&s.effects, "A").as_deref(), Some("5000"));
    s.start("b");
    s.apply_whole([service("a").port(Some(6000))], &["b"]);
    assert_eq!(s.signalled(), [""; 0], "no service answers there yet");
    s.bind("a", &[6000]);
    assert_eq!(s.signalled(), ["b"]);
}

#[test]
fn holder_of_unwanted_ports_is_forgotten() {
    let mut s = Scenario::of([service("a").port(Some(5000)).adopts(Adopt::Any)]);
    s.apply([service("a")]);
    let holder = PortHolder {
        pid: 7,
        program: "/bin/other".to_owned(),
        command: "other".to_owned(),
        user: "ada".to_owned(),
        connection: None,
        stack: None,
    };
    let failure = BindFailure::Held { port: 5000, holder: Some(Box::new(holder)), user: None };
    s.event(Event::BindFailed { service: "a".into(), failure, others: Vec::new() });
    s.start("a");
    let caller = service("b").using("a").calls("A", "a");
    s.apply([service("a").port(Some(5000)).adopts(Adopt::Any), caller]);
    assert_eq!((s.signalled(), s.spawned()), (vec!["a".to_owned()], vec![]), "`a` has no port yet");
}

#[test]
fn deferred_comparison_happens_once_the_address_is_known() {
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
        assert_eq!((s.signalled(), s.already()), (vec![], vec![]), "the address of `a` is unknown");
    }
    s.restart(&["a"]);
    s.bind("a", &[40_000]);
    assert_eq!(s.signalled(), ["b"]);
}

#[test]
fn number_stays_known_when_only_socket_activation_changes() {
    let caller = || service("b").using("a").calls("A", "a");
    let mut s = Scenario::up([service("a").port(None), caller()]);
    s.apply([service("a").port(None).activated(), caller()]);
    s.take_down(&["a"]);
    s.end("a", Exit::Signal(15));
    s.restart(&["b"]);
    s.end("b", Exit::Signal(15));
    assert_eq!(env(&s.effects, "A").as_deref(), Some("40000"));
}

fn closing(port: u16, seconds: u64) -> BindFailure {
    BindFailure::Closing { port, remaining: Duration::from_secs(seconds) }
}

fn bind_failed(s: &mut Scenario, failure: BindFailure, others: Vec<BindFailure>) {
    s.event(Event::BindFailed { service: "a".into(), failure, others });
}

#[test]
fn start_waits_while_the_system_holds_the_port() {
    let mut s = Scenario::of([service("a").port(Some(5000)), service("b").needs("a")]);
    bind_failed(&mut s, closing(5000, 60), Vec::new());
    assert_eq!((s.phase("a"), s.phase("b")), (Phase::Waiting, Phase::Waiting));
    let reason = s.reason("a");
    assert!(reason.contains("port 5000") && reason.contains("TIME_WAIT"), "{reason}");
    s.pass(Duration::from_secs(59));
    assert_eq!(s.asked_ports(), [""; 0]);
    s.pass(Duration::from_secs(1));
    assert_eq!(s.asked_ports(), ["a"]);
    s.bind("a", &[5000]);
    assert_eq!(s.spawned(), ["a"]);
    assert_eq!(s.snapshot("a").restarts, 0);
}

#[test]
fn other_sockets_wait_for_the_closing_port_as_well() {
    let mut s = Scenario::of([service("a").port(Some(5000))]);
    s.apply([service("a").port(Some(5000)).activated()]);
    bind_failed(&mut s, closing(5000, 60), Vec::new());
    assert_eq!(s.asked_ports(), [""; 0]);
    s.pass(Duration::from_secs(60));
    assert_eq!(s.asked_ports(), ["a"]);
    s.bind("a", &[5000]);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn wait_for_a_port_ends_without_demand() {
    let mut s = Scenario::of([service("a").port(Some(5000))]);
    bind_failed(&mut s, closing(5000, 60), Vec::new());
    s.apply([service("a").port(Some(6000))]);
    assert_eq!(s.asked_ports(), ["a"]);
    bind_failed(&mut s, closing(6000, 60), Vec::new());
    s.take_down(&["a"]);
    assert_eq!(s.phase("a"), Phase::Stopped);
    s.pass(Duration::from_secs(90));
    assert_eq!(s.asked_ports(), [""; 0]);
}

#[test]
fn other_reason_precedes_a_closing_port() {
    let mut s = Scenario::of([service("a").port(Some(5000))]);
    let held = BindFailure::Held { port: 5001, holder: None, user: Some("ada".to_owned()) };
    bind_failed(&mut s, closing(5000, 60), vec![held]);
    assert_eq!(s.failure("a"), Some(Failure::Port));
    assert!(s.reason("a").contains("user ada"), "{}", s.reason("a"));
}

#[test]
fn lost_port_is_requested_again_without_counting() {
    let mut s = Scenario::up([service("a").port(Some(5000)), service("b").needs("a")]);
    for _ in 0..9 {
        s.restart(&["a"]);
        s.end("a", Exit::Signal(15));
        let run = s.run("a");
        s.event(Event::PortsLost { service: "a".into(), run });
        assert_eq!(s.asked_ports(), ["a"]);
        s.bind("a", &[5000]);
        assert_eq!(s.spawned(), ["a"]);
        s.start("a");
    }
    assert_eq!((s.phase("a"), s.phase("b")), (Phase::Ready, Phase::Ready));
    assert_eq!(s.snapshot("a").restarts, 0);
}

#[test]
fn lost_port_ends_a_run_that_is_stopping() {
    let mut s = Scenario::up([service("a").port(Some(5000))]);
    s.restart(&["a"]);
    s.end("a", Exit::Signal(15));
    let run = s.run("a");
    s.take_down(&["a"]);
    s.event(Event::PortsLost { service: "a".into(), run });
    assert_eq!((s.phase("a"), s.asked_ports()), (Phase::Stopped, vec![]));
}

#[test]
fn port_holder_without_listener_is_refused_and_named() {
    let holder = PortHolder {
        pid: 7,
        program: "/bin/curl".to_owned(),
        command: "curl".to_owned(),
        user: "ada".to_owned(),
        connection: Some("10.0.0.1:443".to_owned()),
        stack: None,
    };
    let mut s = Scenario::of([service("a").port(Some(50_051)).adopts(Adopt::Any)]);
    let failure = BindFailure::Held { port: 50_051, holder: Some(Box::new(holder)), user: None };
    bind_failed(&mut s, failure, Vec::new());
    assert_eq!(s.failure("a"), Some(Failure::Port));
    assert_eq!(
        s.reason("a"),
        "port 50051 is held by `/bin/curl` (pid 7, user ada) for its connection with 10.0.0.1:443, \
         without listening: `curl`"
    );
}

#[test]
fn sibling_that_holds_the_port_is_named() {
    let stack = HolderStack {
        name: "dev".to_owned(),
        workspace: "/shop".to_owned(),
        service: Some("web".into()),
        supervisor: Some(9),
    };
    let holder = PortHolder {
        pid: 7,
        program: "/bin/web".to_owned(),
        command: "web".to_owned(),
        user: "ada".to_owned(),
        connection: None,
        stack: Some(Box::new(stack)),
    };
    let mut s = Scenario::of([service("a").built().port(Some(5000))]);
    let failure = BindFailure::Held { port: 5000, holder: Some(Box::new(holder)), user: None };
    bind_failed(&mut s, failure, Vec::new());
    let reason = "port 5000 is held by `web` of this stack, `/bin/web` (pid 7, user ada): `web`";
    assert_eq!(s.reason("a"), reason);
}

#[test]
fn timeout_names_where_the_run_listens() {
    let mut s = Scenario::of([service("a").port(Some(5000)).probe(Probe::Tcp { port: 0 })]);
    s.bind("a", &[5000]);
    s.start("a");
    s.seen("a", 0, "connection refused");
    s.now += Duration::from_secs(60);
    let elsewhere = [("a".into(), vec!["127.0.0.1:5001".to_owned()])].into();
    s.event(Event::Calls { calls: Vec::new(), elsewhere });
    let reason = s.reason("a");
    assert!(reason.ends_with("refused; it listens on 127.0.0.1:5001 instead"), "{reason}");
}

#[test]
fn answer_to_an_earlier_request_is_unexpected() {
    let mut s = Scenario::of([service("a").built().port(None)]);
    s.apply([service("a").built().port(Some(5000))]);
    s.bind("a", &[40_000]);
    assert_eq!((s.unbound(), s.asked_ports()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    s.bind("a", &[40_000]);
    assert_eq!(s.unexpected(), ["`bound` for `a` with ports [40000]"]);
    s.bind("a", &[5000]);
    assert_eq!(s.unexpected(), [""; 0]);
    assert_eq!(s.snapshot("a").ports, [("http".to_owned(), 5000)].into());
}
