//! Injected faults: kill, pause and resume.

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

/// The signal that the last event sent, after its report.
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
fn injected_kills_do_not_count_as_crashes() {
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
    // Injected kills do not change the count of crashes.
    s.crash("a");
    assert_eq!(s.stack.next_deadline(), Some(s.now + PAUSE));
}

#[test]
fn killed_service_without_restart_policy_stays_down() {
    let mut s = Scenario::up([service("a").policy(Restart::No)]);
    fault(&mut s, Fault::Kill);
    s.end("a", Exit::Signal(9));
    assert_eq!(s.failure("a"), Some(Failure::Died));
}

#[test]
fn paused_service_stays_ready_until_resumed() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    fault(&mut s, Fault::Pause);
    assert_eq!(signal(&s), Some(Signal::Pause));
    assert_eq!((s.phase("a"), s.reason("a").contains("paused")), (Phase::Ready, true));
    fault(&mut s, Fault::Resume);
    assert_eq!(signal(&s), Some(Signal::Resume));
    assert_eq!((s.phase("a"), s.reason("a").as_str(), s.run("a")), (Phase::Ready, "", 1));
}

#[test]
fn watchdog_kills_a_paused_service() {
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
fn paused_start_times_out() {
    let mut s = Scenario::of([service("a").probe(Probe::Notify)]);
    s.start("a");
    fault(&mut s, Fault::Pause);
    s.pass(START);
    assert_eq!(s.signalled(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.failure("a"), Some(Failure::Timeout));
}

#[test]
fn faults_skip_services_without_a_running_process() {
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

#[test]
fn limit_of_a_stopped_process_is_postponed() {
    let every = Duration::from_secs(2);
    let watched = Scenario::up([service("a").watchdog(every)]);
    let mut late = Scenario::of([service("a").probe(Probe::Notify)]);
    late.start("a");
    for (mut s, limit) in [(watched, every), (late, START)] {
        assert_eq!(s.stack.limits_at(limit.saturating_sub(Duration::from_nanos(1))), []);
        let due = s.stack.limits_at(limit);
        s.now = limit.saturating_sub(Duration::from_nanos(1));
        due.into_iter().for_each(|(_, _, postponed)| s.event(postponed));
        s.now = limit;
        s.event(Event::Tick);
        assert_eq!((s.signalled(), s.killed()), (Vec::new(), Vec::new()));
        assert_eq!(s.stack.next_deadline(), Some(limit * 2 - Duration::from_nanos(1)));
    }
}

#[test]
fn limit_of_an_injected_pause_is_kept() {
    let every = Duration::from_secs(2);
    let mut s = Scenario::up([service("a").watchdog(every)]);
    assert_eq!(s.stack.limits_at(every).len(), 1);
    fault(&mut s, Fault::Pause);
    assert_eq!(s.stack.limits_at(every), []);
}
