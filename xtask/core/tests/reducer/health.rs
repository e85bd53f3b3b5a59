//! Health checks of ready services.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::{Phase, State};
use xtask_core::stack::{Effect, Event};

use crate::scenario::Scenario;
use crate::support::{With, service};

const EVERY: Duration = Duration::from_secs(10);

/// `a` with health checks, and `b` that depends on it.
fn stack(restart: bool) -> Scenario {
    let a = service("a").port(Some(5000)).health(EVERY, restart);
    let mut s = Scenario::up([a, service("b").needs("a")]);
    assert_eq!(s.phase("a"), Phase::Ready);
    s.effects.clear();
    s
}

/// `count` checks that fail.
fn fail(s: &mut Scenario, count: u32) {
    for _ in 0..count {
        s.pass(EVERY);
        assert_eq!(s.checked(), ["a"]);
        s.health_checked("a", Some("status 503"));
    }
}

#[test]
fn three_failed_checks_make_a_service_unhealthy() {
    let mut s = stack(false);
    fail(&mut s, 2);
    assert_eq!((s.phase("a"), s.state()), (Phase::Ready, State::Ready));
    fail(&mut s, 1);
    assert_eq!((s.phase("a"), s.state()), (Phase::Unhealthy, State::Failed));
    assert_eq!(s.reason("a"), "`GET /healthz` at 127.0.0.1:5000: status 503, 3 times; blocks `b`");
    assert_eq!((s.phase("b"), s.signalled()), (Phase::Ready, Vec::new()));
}

#[test]
fn passed_check_makes_a_service_healthy_again() {
    let mut s = stack(false);
    fail(&mut s, 2);
    s.pass(EVERY);
    s.health_checked("a", None);
    fail(&mut s, 2);
    assert_eq!(s.phase("a"), Phase::Ready);
    fail(&mut s, 1);
    s.pass(EVERY);
    s.health_checked("a", None);
    assert_eq!((s.phase("a"), s.state()), (Phase::Ready, State::Ready));
}

#[test]
fn next_check_waits_for_the_answer() {
    let mut s = stack(false);
    s.pass(EVERY);
    s.pass(5 * EVERY);
    assert!(s.checked().is_empty());
    s.health_checked("a", None);
    s.health_checked("a", Some("late"));
    s.pass(EVERY / 2);
    assert!(s.checked().is_empty());
    s.pass(EVERY / 2);
    assert_eq!(s.checked(), ["a"]);
}

#[test]
fn unhealthy_service_restarts_where_metadata_asks() {
    let mut s = stack(true);
    fail(&mut s, 3);
    assert_eq!((s.phase("a"), s.signalled()), (Phase::Stopping, vec!["a".to_owned()]));
    s.end("a", xtask_core::stack::Exit::Signal(15));
    assert_eq!(s.phase("a"), Phase::Backoff);
    s.pass(Duration::from_secs(1));
    s.start("a");
    assert_eq!((s.phase("a"), s.snapshot("a").restarts), (Phase::Ready, 1));
    assert_eq!(s.phase("b"), Phase::Ready);
}

#[test]
fn dependent_does_not_start_on_an_unhealthy_service() {
    let mut s = stack(false);
    fail(&mut s, 3);
    s.restart(&["b"]);
    s.end("b", xtask_core::stack::Exit::Signal(15));
    assert_eq!((s.phase("b"), s.reason("b")), (Phase::Waiting, "waits for a (unhealthy)".into()));
    s.pass(EVERY);
    s.health_checked("a", None);
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn edited_checks_start_anew() {
    let mut s = stack(false);
    fail(&mut s, 3);
    let a = service("a").port(Some(5000)).health(EVERY / 2, false);
    s.apply([a, service("b").needs("a")]);
    assert_eq!(s.phase("a"), Phase::Ready);
    s.pass(EVERY / 2);
    assert_eq!(s.checked(), ["a"]);
    s.apply([service("a").port(Some(5000)), service("b").needs("a")]);
    s.health_checked("a", Some("late"));
    s.pass(10 * EVERY);
    assert!(s.checked().is_empty());
}

/// The ports that the last event checks.
fn checked_ports(s: &Scenario) -> Vec<u16> {
    let ports = s.effects.iter().filter_map(|effect| match effect {
        Effect::CheckHealth { probe, .. } => probe.address.as_ref().map(|(_, port)| *port),
        _ => None,
    });
    ports.collect()
}

#[test]
fn check_asks_where_the_run_listens() {
    let a = || service("a").health(EVERY, false);
    let mut s = Scenario::up([a().external().port(Some(5000))]);
    fail(&mut s, 3);
    s.apply([a().built().port(None)]);
    s.event(Event::BuildEnded { ok: false });
    assert_eq!(s.phase("a"), Phase::Unhealthy);
    assert_eq!(s.reason("a"), "`GET /healthz` at 127.0.0.1:5000: status 503, 3 times");
    s.pass(EVERY);
    assert_eq!(checked_ports(&s), [5000]);
    s.health_checked("a", None);
    assert_eq!(s.phase("a"), Phase::Ready);
    s.apply([a().built().port(Some(5001))]);
    s.pass(EVERY);
    assert_eq!(checked_ports(&s), [5000], "only the next run has the new port");
}

#[test]
fn run_without_the_checked_port_is_not_checked() {
    let mut s = Scenario::up([service("a").built()]);
    s.apply([service("a").built().port(Some(5000)).health(EVERY, true)]);
    s.pass(10 * EVERY);
    assert_eq!((checked_ports(&s), s.phase("a")), (Vec::new(), Phase::Ready));
}

#[test]
fn only_health_and_http_probes_are_questions() {
    let http = |path: &str| Probe::Http { path: path.to_owned(), status: Vec::new(), port: 0 };
    let s = Scenario::up([
        service("health").port(Some(5000)).probe(http("/readyz")).health(EVERY, false),
        service("ready").port(Some(5001)).probe(http("/readyz")),
        service("tcp").port(Some(5002)).probe(Probe::Tcp { port: 0 }),
        service("none"),
    ]);
    let asked: Vec<_> = s
        .stack
        .questions()
        .into_iter()
        .map(|(name, question)| {
            let Probe::Http { path, .. } = question.probe else { panic!("{question:?}") };
            (name.to_string(), path)
        })
        .collect();
    let pair = |name: &str, path: &str| (name.to_owned(), path.to_owned());
    assert_eq!(asked, [pair("health", "/healthz"), pair("ready", "/readyz")]);
    let mut snapshot = s.stack.snapshot();
    s.stack.note_silence(&mut snapshot, &[("ready".into(), "no answer within 500ms".to_owned())]);
    let ready = snapshot.service("ready").unwrap();
    let reason = "`GET /readyz` at 127.0.0.1:5001: no answer within 500ms";
    assert_eq!((ready.phase, ready.reason.as_deref()), (Phase::Unhealthy, Some(reason)));
}
