//! What plans, requests and dependencies mean for a candidate and its service.

use std::time::Duration;

use xtask_core::plan::{Plan, Probe, Service};
use xtask_core::snapshot::{Failure, Phase, State};
use xtask_core::stack::{Effect, Event, Exit};
use xtask_core::terms::Restart;

use crate::scenario::Scenario;
use crate::support::{self, START, With, service};

/// A service that can be handed over.
fn served(name: &str) -> Service {
    service(name).port(Some(5000)).activated().probe(Probe::Notify)
}

/// A plan of one command that asks for new runs.
fn plan(context: u64, restart: &[&str], services: impl Into<Vec<Service>>) -> Event {
    let restart = restart.iter().map(|name| (*name).into()).collect();
    Event::Apply { plan: Plan { context, restart, ..support::plan(services) } }
}

impl Scenario {
    /// The context in which a run of a service was spawned.
    fn context_of_run(&self, name: &str, number: u64) -> Option<u64> {
        self.all.iter().find_map(|effect| match effect {
            Effect::Spawn { service, run, command, .. } if **service == *name && *run == number => {
                Some(command.context)
            }
            _ => None,
        })
    }
}

#[test]
fn added_dependency_stays_up_for_the_candidate() {
    let mut s = Scenario::up([service("db"), served("a").built()]);
    s.apply([service("db"), served("a").built()]);
    s.built("a", 2);
    s.apply([service("db"), served("a").built().needs("db")]);
    s.event(Event::Shutdown);
    s.end_run("a", 1, Exit::Code(0));
    assert_eq!((s.phase("db"), s.signalled()), (Phase::Ready, vec![]), "candidate 2 is starting");
    s.start_run("a", 2);
    s.end_run("a", 2, Exit::Code(0));
    assert_eq!(s.signalled(), ["db"]);
}

#[test]
fn added_dependency_stays_up_for_the_replaced_run() {
    let mut s = Scenario::up([service("db"), served("a")]);
    s.restart(&["a"]);
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    s.apply([service("db"), served("a").needs("db")]);
    s.take_down(&["db"]);
    s.end_run("a", 2, Exit::Code(0));
    assert_eq!((s.phase("db"), s.signalled()), (Phase::Ready, vec![]), "run 1 still drains");
    s.end_run("a", 1, Exit::Code(0));
    assert_eq!(s.signalled(), ["db"]);
}

#[test]
fn new_stop_timeout_holds_for_the_candidate() {
    let mut s = Scenario::up([served("a")]);
    s.restart(&["a"]);
    s.start_run("a", 2);
    let mut patient = served("a");
    patient.stop.timeout = support::GRACE * 3;
    s.apply([patient]);
    s.pass(START);
    assert_eq!(s.stopped_runs(), [("a".to_owned(), 2)]);
    s.pass(support::GRACE * 2);
    assert_eq!(s.killed(), [""; 0]);
    s.pass(support::GRACE);
    assert_eq!(s.killed(), ["a"]);
}

/// `a` waits with its replacement for `db`, and a plan asks for a new run of `a`. Then `db` is
/// ready, before the build of the plan is done.
fn candidate_before_the_build() -> Scenario {
    let services = || [service("db"), served("a").built().needs("db")];
    let mut s = Scenario::up(services());
    s.restart(&["db", "a"]);
    s.end("db", Exit::Code(0));
    s.event(plan(7, &["a"], services()));
    s.start("db");
    assert_eq!((s.candidate("a"), s.context_of_run("a", 2)), (Some(2), Some(7)));
    s
}

#[test]
fn candidate_is_the_new_run_of_an_earlier_request() {
    let mut s = candidate_before_the_build();
    s.built("a", 1);
    assert_eq!((s.candidate("a"), s.stopped_runs()), (Some(2), vec![]));
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    s.end_run("a", 1, Exit::Code(0));
    assert_eq!((s.run("a"), s.state(), s.spawned()), (2, State::Ready, vec![]));
}

#[test]
fn newer_program_replaces_a_candidate_before_the_build() {
    let mut s = candidate_before_the_build();
    s.start_run("a", 2);
    s.built("a", 2);
    assert_eq!((s.stopped_runs(), s.spawned()), (vec![("a".to_owned(), 2)], vec![]));
    s.end_run("a", 2, Exit::Code(0));
    assert_eq!((s.candidate("a"), s.run("a")), (Some(3), 1));
}

#[test]
fn restart_after_a_double_failure_keeps_the_context() {
    let mut s = Scenario::up([served("a").watchdog(START).policy(Restart::Always)]);
    s.event(plan(7, &["a"], [served("a").watchdog(START).policy(Restart::Always)]));
    s.start_run("a", 2);
    s.now += START * 2;
    s.event(Event::Tick);
    assert_eq!((s.killed(), s.candidates()), (vec!["a".to_owned()], vec![(2, Phase::Failed)]));
    s.end_run("a", 1, Exit::Signal(9));
    s.end_run("a", 2, Exit::Signal(15));
    assert_eq!((s.run("a"), s.context_of_run("a", 3)), (3, Some(7)), "the new run was requested");
}

#[test]
fn crash_after_a_failed_candidate_is_no_failed_start() {
    let mut s = Scenario::up([served("a").policy(Restart::No)]);
    s.restart(&["a"]);
    s.start_run("a", 2);
    s.end_run("a", 2, Exit::Code(1));
    s.crash("a");
    assert_eq!((s.phase("a"), s.failure("a")), (Phase::Failed, Some(Failure::Died)));
}

/// `a` serves without its dependency, and a plan asked for a new run in context 7.
fn prevented() -> Scenario {
    let services = || [service("db"), served("a").needs("db")];
    let mut s = Scenario::up(services());
    s.event(Event::TakeDown { services: vec!["db".into()], only: true });
    s.end("db", Exit::Code(0));
    s.event(plan(7, &["a"], [served("a").needs("db")]));
    assert_eq!((s.candidates(), s.stopped_runs()), (vec![(0, Phase::Failed)], vec![]));
    assert_eq!((s.failure("a"), s.phase("a")), (Some(Failure::Dependency), Phase::Ready));
    s
}

#[test]
fn prevented_candidate_starts_once_its_dependency_is_ready() {
    let mut s = prevented();
    s.pass(Duration::from_secs(600));
    assert_eq!((s.spawned(), s.candidates()), (vec![], vec![]));
    assert!(s.stack.contexts().contains(&7), "its context is kept");
    s.apply([service("db")]);
    assert_eq!((s.candidate("a"), s.failure("a")), (None, None), "it waits again");
    s.start("db");
    assert_eq!((s.candidate("a"), s.context_of_run("a", 2)), (Some(2), Some(7)));
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    assert_eq!((s.run("a"), s.state()), (2, State::Ready));
}

#[test]
fn prevented_candidate_fails_again_with_its_dependency() {
    let mut s = prevented();
    s.apply([service("db").policy(Restart::No)]);
    let run = s.run("db");
    s.end_run("db", run, Exit::Code(1));
    assert_eq!((s.candidates(), s.phase("a")), (vec![(0, Phase::Failed)], Phase::Ready));
    assert!(s.reason("a").contains("`db`"), "{}", s.reason("a"));
}

#[test]
fn crash_forgets_a_prevented_candidate() {
    let mut s = Scenario::up([service("db"), served("a").needs("db").policy(Restart::Always)]);
    s.event(Event::TakeDown { services: vec!["db".into()], only: true });
    s.end("db", Exit::Code(0));
    s.event(plan(7, &["a"], [served("a").needs("db").policy(Restart::Always)]));
    s.crash("a");
    s.apply([service("db")]);
    s.start("db");
    s.pass(Duration::from_secs(5));
    assert_eq!((s.run("a"), s.context_of_run("a", 2)), (2, Some(0)), "a crash keeps the context");
    s.let_it_happen();
    assert_eq!((s.run("a"), s.phase("a"), s.candidate("a")), (2, Phase::Ready, None));
}

#[test]
fn taken_down_service_shows_no_failed_candidate() {
    let mut s = prevented();
    s.take_down(&["a"]);
    s.end("a", Exit::Code(0));
    s.apply([service("db")]);
    s.start("db");
    assert_eq!((s.snapshot("a").candidate, s.spawned()), (None, vec![]));
}

#[test]
fn handover_with_a_dependency_forgets_the_failed_candidate() {
    let b = service("b").port(Some(5001)).activated().probe(Probe::Notify).restarts_with("a");
    let mut s = Scenario::up([served("a"), b]);
    s.restart(&["b"]);
    s.start_run("b", 2);
    s.end_run("b", 2, Exit::Code(1));
    s.restart(&["a"]);
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    s.start_run("b", 3);
    s.pass_run("b", 3, 0);
    assert_eq!((s.run("b"), s.failure("b"), s.snapshot("b").candidate), (3, None, None));
}
