//! Runs that end by themselves, and restart policies.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::{Failure, Phase, State};
use xtask_core::stack::{Event, Exit};
use xtask_core::terms::Restart;

use crate::scenario::Scenario;
use crate::support::{GRACE, With, service};

#[test]
fn restart_pauses_double_until_giving_up() {
    let mut s = Scenario::of([service("a").probe(Probe::Notify)]);
    s.start("a");
    for millis in [200, 400, 800, 1600, 3200] {
        s.crash("a");
        assert_eq!(s.phase("a"), Phase::Backoff);
        assert_eq!(s.stack.next_deadline(), Some(s.now + Duration::from_millis(millis)));
        s.pass(Duration::from_millis(millis));
        s.start("a");
    }
    s.crash("a");
    assert_eq!(s.failure("a"), Some(Failure::Start), "it was never ready");
    assert_eq!(s.reason("a"), "exited with status 1; started again 5 times within 1m");
    assert_eq!(s.snapshot("a").restarts, 5);
    s.restart(&["a"]);
    assert_eq!(s.spawned(), ["a"]);
}

#[test]
fn crashes_outside_the_window_do_not_count() {
    let mut s = Scenario::up([service("a")]);
    for _ in 0..20 {
        s.crash("a");
        s.pass(Duration::from_secs(15));
        s.start("a");
        assert_eq!(s.phase("a"), Phase::Ready);
    }
}

#[test]
fn dependents_stay_when_a_dependency_crashes() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    s.crash("a");
    assert_eq!((s.phase("a"), s.phase("b")), (Phase::Backoff, Phase::Ready));
}

#[test]
fn clean_exit_is_stopped_and_not_ready() {
    let mut s = Scenario::up([service("a"), service("b").needs("a")]);
    s.end("a", Exit::Code(0));
    assert_eq!(s.phase("a"), Phase::Stopped);
    assert_eq!(s.reason("a"), "exited by itself with status 0");
    assert_eq!((s.phase("b"), s.state()), (Phase::Ready, State::Stopped));
    s.restart(&["b"]);
    s.end("b", Exit::Signal(15));
    assert_eq!(s.reason("b"), "`a` exited by itself with status 0", "no service waits forever");
    assert_eq!(s.state(), State::Failed, "one that failed outweighs one that ended well");
}

#[test]
fn clean_exit_before_ready_fails_the_start() {
    let mut s = Scenario::of([service("a").probe(Probe::Notify)]);
    s.start("a");
    s.end("a", Exit::Code(0));
    assert_eq!(s.failure("a"), Some(Failure::Start));
    assert_eq!(s.reason("a"), "exited with status 0 before it was ready");
}

#[test]
fn restart_policies_never_and_always_hold() {
    let mut s =
        Scenario::up([service("a").policy(Restart::No), service("b").policy(Restart::Always)]);
    s.crash("a");
    assert_eq!(s.failure("a"), Some(Failure::Died));
    s.end("b", Exit::Code(0));
    assert_eq!(s.phase("b"), Phase::Backoff);
}

#[test]
fn new_run_waits_for_the_old_group() {
    let mut s = Scenario::up([service("a")]);
    s.exited("a", Exit::Code(1));
    assert_eq!(s.phase("a"), Phase::Stopping);
    assert_eq!(s.signalled(), ["a"], "the rest of the group is signalled");
    s.pass(GRACE);
    assert_eq!(s.killed(), ["a"]);
    assert_eq!(s.spawned(), [""; 0]);
    s.gone("a");
    assert_eq!(s.spawned(), ["a"], "the pause counts from the crash");
}

#[test]
fn missed_watchdog_is_a_crash() {
    let every = Duration::from_secs(2);
    let mut s = Scenario::up([service("a").watchdog(every)]);
    s.pass(Duration::from_secs(1));
    s.event(Event::WatchdogPing { service: "a".into(), run: 1 });
    s.pass(Duration::from_millis(1999));
    assert_eq!(s.phase("a"), Phase::Ready);
    s.pass(Duration::from_millis(1));
    assert_eq!(s.killed(), ["a"]);
    s.end("a", Exit::Signal(9));
    assert_eq!(s.phase("a"), Phase::Backoff);
    assert_eq!(s.reason("a"), "sent no `WATCHDOG=1` for 2s");
}

#[test]
fn backoff_fails_when_its_dependency_failed() {
    let mut s = Scenario::up([service("a").policy(Restart::No), service("b").needs("a")]);
    s.crash("b");
    s.crash("a");
    s.pass(Duration::from_secs(1));
    assert_eq!(s.failure("b"), Some(Failure::Dependency));
    s.restart(&["a"]);
    assert_eq!(s.phase("b"), Phase::Waiting);
}
