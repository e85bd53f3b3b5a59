//! What tests do to services: kill, pause and resume.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::{Failure, Phase};
use xtask_core::stack::{Effect, Event, Exit, Fault, Report, Signal};
use xtask_core::terms::Restart;

use crate::scenario::Scenario;
use crate::support::{START, With, service};

const PAUSE: Duration = Duration::from_millis(200);

fn fault(s: &mut Scenario, fault: Fault) {
    s.event(Event::Fault { service: "a".into(), fault });
}

/// The signal that the last event sent, which was announced before.
fn signal(s: &Scenario) -> Option<Signal> {
    match s.effects.as_slice() {
        [Effect::Report(Report::Fault { .. }), Effect::Signal { signal, .. }] => {
            Some(signal.clone())
        }
        [] => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_kill_that_was_asked_for_is_followed_by_a_start_however_often() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    for _ in 0..20 {
        fault(&mut s, Fault::Kill);
        assert_eq!(signal(&s), Some(Signal::Kill));
        s.end("a", Exit::Signal(9));
        assert_eq!((s.phase("a"), s.phase("b")), (Phase::Backoff, Phase::Ready));
        s.pass(PAUSE);
        s.start("a");
        assert_eq!(s.phase("a"), Phase::Ready);
    }
    assert_eq!(s.snapshot("a").restarts, 20);
    // The service's own crashes are counted as if there had been none of that.
    s.crash("a");
    assert_eq!(s.stack.next_deadline(), Some(s.now + PAUSE));
}

#[test]
fn a_killed_service_that_is_not_to_be_started_again_is_not() {
    let mut s = Scenario::up([service("a").policy(Restart::No)]);
    fault(&mut s, Fault::Kill);
    s.end("a", Exit::Signal(9));
    assert_eq!(s.failure("a"), Some(Failure::Died));
}

#[test]
fn a_paused_service_stays_ready_says_so_and_goes_on_as_it_was() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    fault(&mut s, Fault::Pause);
    assert_eq!(signal(&s), Some(Signal::Pause));
    assert_eq!((s.phase("a"), s.reason("a").contains("paused")), (Phase::Ready, true));
    fault(&mut s, Fault::Resume);
    assert_eq!(signal(&s), Some(Signal::Resume));
    assert_eq!((s.phase("a"), s.reason("a").as_str(), s.run("a")), (Phase::Ready, "", 1));
}

#[test]
fn a_watchdog_bites_a_paused_service_as_one_that_hangs() {
    let every = Duration::from_secs(2);
    let mut s = Scenario::up([service("a").watchdog(every)]);
    fault(&mut s, Fault::Pause);
    s.pass(every);
    assert_eq!(s.killed(), ["a"]);
    s.end("a", Exit::Signal(9));
    assert_eq!(s.phase("a"), Phase::Backoff);
    s.pass(PAUSE);
    assert_eq!(s.reason("a"), "", "the new run is not paused");
}

#[test]
fn a_paused_service_that_does_not_get_ready_times_out() {
    let mut s = Scenario::of([service("a").probe(Probe::Notify)]);
    s.start("a");
    fault(&mut s, Fault::Pause);
    s.pass(START);
    assert_eq!(s.told(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.failure("a"), Some(Failure::Timeout));
}

#[test]
fn nothing_is_done_to_what_does_not_run_or_ends() {
    let mut s = Scenario::of([service("a")]);
    fault(&mut s, Fault::Kill);
    assert_eq!(signal(&s), None, "there is no process yet");
    s.start("a");
    s.take_down(&["a"]);
    fault(&mut s, Fault::Pause);
    assert_eq!(signal(&s), None, "it would not see the signal that ends it");
    s.end("a", Exit::Signal(15));
    fault(&mut s, Fault::Resume);
    assert_eq!(signal(&s), None);
}
