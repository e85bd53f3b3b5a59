//! Stopping services in order, and despite processes that ignore signals.

use std::time::Duration;

use xtask_core::snapshot::{Phase, State};
use xtask_core::stack::{Effect, Event, Exit};

use crate::scenario::Scenario;
use crate::support::{GRACE, With, service};

fn chain() -> Scenario {
    Scenario::up([service("a"), service("b").needs("a"), service("c").needs("b"), service("d")])
}

#[test]
fn dependents_stop_first() {
    let mut s = chain();
    s.take_down(&["a"]);
    assert_eq!(s.signalled(), ["c"]);
    assert_eq!(s.reason("b"), "stops after `c`");
    s.exited("c", Exit::Signal(15));
    assert_eq!(s.signalled(), [""; 0], "its group may still run");
    s.gone("c");
    assert_eq!(s.signalled(), ["b"]);
    s.end("b", Exit::Code(0));
    assert_eq!(s.signalled(), ["a"]);
    s.end("a", Exit::Code(143));
    assert_eq!((s.phase("a"), s.phase("d")), (Phase::Stopped, Phase::Ready));
    assert_eq!(s.ends(), 0);
}

#[test]
fn changes_are_listed_in_causal_order() {
    let mut s = chain();
    s.take_down(&["a"]);
    s.stack.take_changed();
    s.end("c", Exit::Code(0));
    s.end("b", Exit::Code(0));
    assert_eq!(s.stack.take_changed(), ["c", "b", "a"].map(Into::into));
}

#[test]
fn take_down_only_keeps_dependents() {
    let mut s = chain();
    s.event(Event::TakeDown { services: vec!["a".into()], only: true });
    assert_eq!(s.signalled(), ["a"]);
    assert_eq!(s.phase("b"), Phase::Ready);
}

#[test]
fn each_run_has_its_own_stop_timeout() {
    let mut s = chain();
    s.event(Event::Shutdown);
    assert_eq!(s.signalled(), ["c", "d"]);
    s.pass(GRACE);
    assert_eq!(s.killed(), ["c", "d"]);
    s.end("c", Exit::Signal(9));
    assert_eq!(s.signalled(), ["b"]);
    s.pass(GRACE - Duration::from_millis(1));
    assert_eq!(s.killed(), [""; 0]);
}

#[test]
fn shutdown_ends_despite_runs_that_survive_sigkill() {
    let mut s = chain();
    s.event(Event::Shutdown);
    assert_eq!(s.state(), State::Stopping);
    s.pass(Duration::from_secs(100));
    assert_eq!(s.ends(), 1);
    assert_eq!(s.unexpected().len(), 4, "said for each: {:?}", s.unexpected());
    s.event(Event::Shutdown);
    assert_eq!(s.effects, []);
}

#[test]
fn stack_ends_once_after_the_last_run() {
    let mut s = chain();
    s.event(Event::Shutdown);
    for name in ["d", "c", "b", "a"] {
        assert_eq!(s.ends(), 0);
        s.end(name, Exit::Signal(15));
    }
    assert_eq!(s.ends(), 1);
    assert_eq!(s.effects.last(), Some(&Effect::End));
}

#[test]
fn empty_stack_ends_at_once() {
    let mut s = Scenario::of([]);
    s.event(Event::Shutdown);
    assert_eq!(s.effects, [Effect::End]);
}

#[test]
fn kill_now_signals_all_at_once() {
    let mut s = chain();
    s.event(Event::Shutdown);
    s.event(Event::KillNow);
    let mut killed = s.killed();
    killed.sort();
    assert_eq!(killed, ["a", "b", "c", "d"]);
}

#[test]
fn starting_run_gets_its_stop_signal_after_started() {
    let mut s = Scenario::of([service("a")]);
    s.event(Event::Shutdown);
    assert_eq!((s.signalled().len(), s.ends()), (0, 0));
    s.start("a");
    assert_eq!(s.signalled(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.ends(), 1);
}

#[test]
fn unwanted_start_is_cancelled_once() {
    let mut s = Scenario::of([service("a"), service("b")]);
    s.start("b");
    s.event(Event::Shutdown);
    let called_off = |s: &Scenario| {
        let of = |effect: &&Effect| matches!(effect, Effect::CancelStart { .. });
        s.effects.iter().filter(of).cloned().collect::<Vec<_>>()
    };
    assert_eq!(called_off(&s), [Effect::CancelStart { service: "a".into(), run: 1 }]);
    s.event(Event::Shutdown);
    assert_eq!(called_off(&s), []);
    s.event(Event::StartFailed { service: "a".into(), run: 1, error: "called off".to_owned() });
    assert_eq!(s.phase("a"), Phase::Stopped);
    s.end("b", Exit::Signal(15));
    assert_eq!((s.ends(), s.unexpected()), (1, vec![]));
}

#[test]
fn service_wanted_while_stopping_gets_a_new_run() {
    let mut s = Scenario::up([service("a")]);
    s.take_down(&["a"]);
    s.apply([service("a")]);
    assert_eq!(s.phase("a"), Phase::Stopping);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn service_wanted_before_its_signal_keeps_running() {
    let mut s = chain();
    s.take_down(&["a"]);
    let services = [service("a"), service("b").needs("a"), service("c").needs("b"), service("d")];
    s.apply(services);
    s.end("c", Exit::Signal(15));
    assert_eq!(s.signalled(), [""; 0]);
    assert_eq!(s.spawned(), ["c"]);
}

#[test]
fn nothing_starts_while_the_stack_ends() {
    let mut s = chain();
    s.event(Event::Shutdown);
    s.apply([service("e")]);
    assert_eq!(s.spawned(), [""; 0]);
    assert_eq!(s.unexpected(), ["`apply` while the stack ends"]);
    s.restart(&["a"]);
    assert_eq!(s.unexpected().len(), 1);
}

#[test]
fn pending_stop_waits_for_a_dependent_added_later() {
    let mut s = Scenario::of([service("a"), service("b")]);
    s.start("b");
    s.take_down(&["a", "b"]);
    assert_eq!(s.signalled(), ["b"], "`a` has no pid yet");
    s.apply([service("a"), service("b").restarts_with("a")]);
    s.start("a");
    assert_eq!(s.signalled(), [""; 0]);
    s.end("b", Exit::Signal(15));
    assert_eq!(s.signalled(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
}
