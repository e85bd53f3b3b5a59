//! Stopping what is no longer wanted, in order, and for certain.

use std::time::Duration;

use xtask_core::snapshot::{Phase, State};
use xtask_core::stack::{Effect, Event, Exit};

use crate::scenario::Scenario;
use crate::support::{GRACE, With, service};

fn chain() -> Scenario {
    Scenario::up([service("a"), service("b").needs("a"), service("c").needs("b"), service("d")])
}

#[test]
fn dependents_go_first() {
    let mut s = chain();
    s.take_down(&["a"]);
    assert_eq!(s.told(), ["c"]);
    assert_eq!(s.reason("b"), "stops after `c`");
    s.exited("c", Exit::Signal(15));
    assert_eq!(s.told(), [""; 0], "its group may live");
    s.gone("c");
    assert_eq!(s.told(), ["b"]);
    s.end("b", Exit::Code(0));
    assert_eq!(s.told(), ["a"]);
    s.end("a", Exit::Code(143));
    assert_eq!((s.phase("a"), s.phase("d")), (Phase::Stopped, Phase::Ready));
    assert_eq!(s.ends(), 0);
}

#[test]
fn changes_are_told_in_the_order_in_which_one_made_the_next_possible() {
    let mut s = chain();
    s.take_down(&["a"]);
    s.stack.take_changed();
    s.end("c", Exit::Code(0));
    s.end("b", Exit::Code(0));
    assert_eq!(s.stack.take_changed(), ["c", "b", "a"].map(Into::into));
}

#[test]
fn only_leaves_the_dependents() {
    let mut s = chain();
    s.event(Event::TakeDown { services: vec!["a".into()], only: true });
    assert_eq!(s.told(), ["a"]);
    assert_eq!(s.phase("b"), Phase::Ready);
}

#[test]
fn each_run_has_its_own_grace() {
    let mut s = chain();
    s.event(Event::Shutdown);
    assert_eq!(s.told(), ["c", "d"]);
    s.pass(GRACE);
    assert_eq!(s.killed(), ["c", "d"]);
    s.end("c", Exit::Signal(9));
    assert_eq!(s.told(), ["b"]);
    s.pass(GRACE - Duration::from_millis(1));
    assert_eq!(s.killed(), [""; 0]);
}

#[test]
fn shutdown_ends_even_if_nothing_ever_goes() {
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
fn the_stack_ends_once_when_all_is_gone() {
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
fn an_empty_stack_ends_at_once() {
    let mut s = Scenario::of([]);
    s.event(Event::Shutdown);
    assert_eq!(s.effects, [Effect::End]);
}

#[test]
fn kill_now_has_no_order() {
    let mut s = chain();
    s.event(Event::Shutdown);
    s.event(Event::KillNow);
    let mut killed = s.killed();
    killed.sort();
    assert_eq!(killed, ["a", "b", "c", "d"]);
}

#[test]
fn what_is_being_started_is_told_as_soon_as_it_is_there() {
    let mut s = Scenario::of([service("a")]);
    s.event(Event::Shutdown);
    assert_eq!((s.told().len(), s.ends()), (0, 0));
    s.start("a");
    assert_eq!(s.told(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.ends(), 1);
}

#[test]
fn a_start_that_nobody_wants_any_more_is_called_off_once_and_ends_at_its_failure() {
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
fn wanted_again_while_it_stops_means_a_new_run() {
    let mut s = Scenario::up([service("a")]);
    s.take_down(&["a"]);
    s.apply([service("a")]);
    assert_eq!(s.phase("a"), Phase::Stopping);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn wanted_again_before_its_signal_means_it_runs_on() {
    let mut s = chain();
    s.take_down(&["a"]);
    let services = [service("a"), service("b").needs("a"), service("c").needs("b"), service("d")];
    s.apply(services);
    s.end("c", Exit::Signal(15));
    assert_eq!(s.told(), [""; 0]);
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
fn who_is_told_as_soon_as_it_is_there_is_not_told_under_a_dependent_that_it_has_by_then() {
    let mut s = Scenario::of([service("a"), service("b")]);
    s.start("b");
    s.take_down(&["a", "b"]);
    assert_eq!(s.told(), ["b"], "`a` is not there yet");
    s.apply([service("a"), service("b").restarts_with("a")]);
    s.start("a");
    assert_eq!(s.told(), [""; 0]);
    s.end("b", Exit::Signal(15));
    assert_eq!(s.told(), ["a"]);
    s.end("a", Exit::Signal(15));
    assert_eq!(s.spawned(), ["a"]);
}
