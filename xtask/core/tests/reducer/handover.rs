//! A candidate becomes ready on the sockets of its service before the old run stops.

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

fn stopped(name: &str, run: u64) -> Vec<(String, u64)> {
    vec![(name.to_owned(), run)]
}

/// A service whose run 1 serves and whose run 2 starts.
fn handing_over(services: impl Into<Vec<Service>>) -> Scenario {
    let mut s = Scenario::up(services);
    s.restart(&["a"]);
    assert_eq!((s.spawned(), s.candidate("a")), (vec!["a".to_owned()], Some(2)));
    s
}

#[test]
fn old_run_stops_once_the_candidate_is_ready() {
    let mut s = Scenario::up([served("a")]);
    s.restart(&["a"]);
    assert_eq!((s.stopped_runs(), s.candidates()), (vec![], vec![(2, Phase::Starting)]));
    s.start_run("a", 2);
    assert_eq!((s.run("a"), s.phase("a"), s.stopped_runs()), (1, Phase::Ready, vec![]));
    assert_eq!(s.state(), State::Working, "a command waits for the new run");
    s.pass_run("a", 2, 0);
    assert_eq!((s.run("a"), s.phase("a")), (2, Phase::Ready));
    assert_eq!((s.stopped_runs(), s.candidates()), (stopped("a", 1), vec![(2, Phase::Ready)]));
    assert_eq!((s.state(), s.snapshot("a").candidate), (State::Ready, None));
    assert_eq!(s.snapshot("a").stopping.map(|run| run.run), Some(1));
    s.end_run("a", 1, Exit::Code(0));
    assert_eq!((s.snapshot("a").stopping, s.snapshot("a").restarts), (None, 0));
    assert_eq!(s.unbound(), [""; 0], "the sockets stay open all the time");
}

#[test]
fn changed_program_and_settings_are_handed_over() {
    let mut s = Scenario::up([served("a").built()]);
    s.apply([served("a").built()]);
    s.built("a", 7);
    assert_eq!((s.candidate("a"), s.stopped_runs()), (Some(2), vec![]));
    s.let_it_happen();
    s.end_run("a", 1, Exit::Code(0));
    let mut s = Scenario::up([served("a")]);
    s.apply([served("a").arg("--new")]);
    assert_eq!((s.candidate("a"), s.stopped_runs()), (Some(2), vec![]));
}

#[test]
fn run_without_notify_or_sockets_stops_first() {
    let without_notify = service("a").port(Some(5000)).activated();
    let without_sockets = service("a").port(Some(5000)).probe(Probe::Notify);
    for service in [without_notify, without_sockets] {
        let mut s = Scenario::up([service]);
        s.restart(&["a"]);
        assert_eq!((s.stopped_runs(), s.spawned().len()), (stopped("a", 1), 0));
        assert_eq!(s.unbound(), [""; 0], "callers queue");
    }
}

#[test]
fn changed_ports_are_no_handover() {
    let mut s = Scenario::up([served("a")]);
    s.apply([service("a").port(Some(5001)).activated().probe(Probe::Notify)]);
    s.ports_checked("a", Vec::new());
    assert_eq!((s.stopped_runs(), s.candidate("a")), (stopped("a", 1), None));
}

#[test]
fn candidate_that_exits_leaves_the_old_run_serving() {
    let mut s = handing_over([served("a")]);
    s.start_run("a", 2);
    s.end_run("a", 2, Exit::Code(1));
    assert_eq!(s.candidates(), [(2, Phase::Failed)], "reported once");
    assert_eq!((s.run("a"), s.phase("a"), s.state()), (1, Phase::Ready, State::Ready));
    assert_eq!(s.failure("a"), Some(Failure::Start));
    assert!(s.reason("a").contains("exited with status 1"), "{}", s.reason("a"));
    let failed = s.snapshot("a").candidate.unwrap();
    assert_eq!(
        (failed.run, failed.phase, failed.failure),
        (2, Phase::Failed, Some(Failure::Start))
    );
    s.pass(Duration::from_secs(600));
    assert_eq!((s.spawned(), s.stopped_runs()), (vec![], vec![]), "it is not tried again");
}

#[test]
fn candidate_that_is_too_slow_is_stopped() {
    let mut s = handing_over([served("a")]);
    s.start_run("a", 2);
    s.pass(START);
    assert_eq!((s.stopped_runs(), s.failure("a")), (stopped("a", 2), Some(Failure::Timeout)));
    assert_eq!((s.run("a"), s.phase("a"), s.state()), (1, Phase::Ready, State::Ready));
    s.pass(support::GRACE);
    assert_eq!(s.killed(), ["a"], "it ignores its stop signal");
    s.end_run("a", 2, Exit::Signal(9));
    assert_eq!((s.run("a"), s.phase("a")), (1, Phase::Ready));
}

#[test]
fn program_that_cannot_start_leaves_the_old_run_serving() {
    let mut s = handing_over([served("a")]);
    let error = "no such file".to_owned();
    s.event(Event::StartFailed { service: "a".into(), run: 2, error });
    assert_eq!((s.run("a"), s.phase("a"), s.state()), (1, Phase::Ready, State::Ready));
    assert!(s.reason("a").ends_with("no such file"), "{}", s.reason("a"));
}

#[test]
fn next_request_forgets_the_failed_candidate() {
    let mut s = handing_over([served("a")]);
    s.start_run("a", 2);
    s.end_run("a", 2, Exit::Code(1));
    s.restart(&["a"]);
    assert_eq!((s.candidate("a"), s.failure("a")), (Some(3), None));
    s.start_run("a", 3);
    s.pass_run("a", 3, 0);
    assert_eq!((s.run("a"), s.stopped_runs()), (3, stopped("a", 1)));
}

#[test]
fn newer_program_replaces_the_candidate() {
    let mut s = Scenario::up([served("a").built()]);
    s.apply([served("a").built()]);
    s.built("a", 2);
    s.start_run("a", 2);
    s.apply([served("a").built()]);
    s.built("a", 3);
    assert_eq!((s.stopped_runs(), s.candidates()), (stopped("a", 2), vec![(2, Phase::Stopped)]));
    assert_eq!(s.spawned(), [""; 0], "there is no third process");
    s.end_run("a", 2, Exit::Signal(15));
    assert_eq!((s.candidate("a"), s.run("a"), s.phase("a")), (Some(3), 1, Phase::Ready));
}

#[test]
fn same_program_keeps_the_candidate() {
    let mut s = Scenario::up([served("a").built()]);
    s.apply([served("a").built()]);
    s.built("a", 2);
    s.apply([served("a").built()]);
    s.built("a", 2);
    assert_eq!((s.candidate("a"), s.stopped_runs()), (Some(2), vec![]));
}

#[test]
fn reverted_edit_stops_the_candidate() {
    let mut s = Scenario::up([served("a")]);
    s.apply([served("a").arg("--new")]);
    s.start_run("a", 2);
    s.apply([served("a")]);
    assert_eq!((s.stopped_runs(), s.already()), (stopped("a", 2), vec!["a".to_owned()]));
    assert_eq!((s.run("a"), s.phase("a"), s.state()), (1, Phase::Ready, State::Ready));
}

#[test]
fn next_candidate_waits_for_the_replaced_run() {
    let mut s = handing_over([served("a")]);
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    s.restart(&["a"]);
    assert_eq!((s.spawned(), s.stopped_runs()), (vec![], vec![]));
    s.end_run("a", 1, Exit::Code(0));
    assert_eq!((s.candidate("a"), s.run("a")), (Some(3), 2));
}

#[test]
fn candidate_takes_over_when_the_old_run_crashes() {
    let mut s = handing_over([served("a")]);
    s.start_run("a", 2);
    s.end_run("a", 1, Exit::Signal(11));
    assert_eq!((s.run("a"), s.phase("a")), (2, Phase::Starting));
    assert_eq!(s.spawned(), [""; 0]);
    s.pass_run("a", 2, 0);
    assert_eq!((s.phase("a"), s.snapshot("a").stopping), (Phase::Ready, None));
}

#[test]
fn take_down_stops_both_runs() {
    let mut s = handing_over([served("a")]);
    s.start_run("a", 2);
    s.take_down(&["a"]);
    let mut runs = s.stopped_runs();
    runs.sort();
    assert_eq!(runs, [("a".to_owned(), 1), ("a".to_owned(), 2)]);
    s.end_run("a", 1, Exit::Code(0));
    s.apply([served("a")]);
    assert_eq!(s.spawned(), [""; 0], "the candidate still runs");
    s.end_run("a", 2, Exit::Code(0));
    s.let_it_happen();
    assert_eq!((s.run("a"), s.phase("a")), (3, Phase::Ready));
}

#[test]
fn shutdown_waits_for_a_candidate_that_starts_late() {
    let mut s = handing_over([served("a")]);
    s.event(Event::Shutdown);
    let cancelled = |effect: &Effect| matches!(effect, Effect::CancelStart { run: 2, .. });
    assert!(s.effects.iter().any(cancelled));
    s.end_run("a", 1, Exit::Code(0));
    assert_eq!(s.ends(), 0);
    s.start_run("a", 2);
    assert_eq!(s.stopped_runs(), stopped("a", 2));
    s.end_run("a", 2, Exit::Code(0));
    assert_eq!(s.ends(), 1);
}

#[test]
fn dependency_stays_up_for_the_replaced_run() {
    let mut s = handing_over([service("db"), served("a").needs("db")]);
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    s.take_down(&["db"]);
    s.end_run("a", 2, Exit::Code(0));
    assert_eq!(s.phase("db"), Phase::Ready, "run 1 still drains");
    s.end_run("a", 1, Exit::Code(0));
    assert_eq!(s.signalled(), ["db"]);
}

#[test]
fn candidate_waits_for_its_dependency() {
    let mut s = Scenario::up([service("db"), served("a").needs("db")]);
    s.restart(&["db", "a"]);
    assert_eq!((s.signalled(), s.candidate("a")), (vec!["db".to_owned()], None));
    s.end("db", Exit::Code(0));
    assert_eq!(s.phase("a"), Phase::Ready);
    s.start("db");
    assert_eq!(s.candidate("a"), Some(2));
}

#[test]
fn missing_dependency_leaves_the_old_run_serving() {
    let mut s = Scenario::up([service("db"), served("a").needs("db")]);
    s.event(Event::TakeDown { services: vec!["db".into()], only: true });
    s.end("db", Exit::Code(0));
    s.restart(&["a"]);
    assert_eq!((s.stopped_runs(), s.phase("a")), (vec![], Phase::Ready));
    assert_eq!(s.failure("a"), Some(Failure::Dependency));
    assert!(s.reason("a").contains("`db` was taken down"), "{}", s.reason("a"));
}

#[test]
fn dependents_restart_after_the_new_run_is_ready() {
    let mut s = handing_over([served("a"), service("b").restarts_with("a")]);
    assert_eq!(s.phase("b"), Phase::Ready);
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    assert_eq!(s.stopped_runs().len(), 2, "run 1 of both");
    s.end("b", Exit::Code(0));
    assert_eq!(s.spawned(), ["b"]);
}

#[test]
fn failed_candidate_leaves_dependents_alone() {
    let mut s = handing_over([served("a"), service("b").restarts_with("a")]);
    s.start_run("a", 2);
    s.end_run("a", 2, Exit::Code(1));
    assert_eq!((s.run("b"), s.phase("b"), s.stopped_runs()), (1, Phase::Ready, stopped("a", 2)));
}

#[test]
fn dependents_are_handed_over_in_turn() {
    let b = service("b").port(Some(5001)).activated().probe(Probe::Notify).restarts_with("a");
    let mut s = handing_over([served("a"), b]);
    assert_eq!(s.candidate("b"), None);
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    assert_eq!((s.stopped_runs(), s.candidate("b")), (stopped("a", 1), Some(2)));
}

#[test]
fn candidate_of_a_dependent_starts_again_after_a_handover() {
    let b = service("b").port(Some(5001)).activated().probe(Probe::Notify).restarts_with("a");
    let mut s = handing_over([served("a"), b]);
    s.restart(&["b"]);
    assert_eq!(s.candidate("b"), Some(2));
    s.start_run("b", 2);
    s.start_run("a", 2);
    s.pass_run("a", 2, 0);
    assert_eq!((s.run("a"), s.candidate("b")), (2, None), "it started before run 2 of `a`");
    s.end_run("b", 2, Exit::Code(0));
    assert_eq!((s.run("b"), s.candidate("b")), (1, Some(3)));
}

#[test]
fn dependent_of_a_stopping_service_stops_first() {
    let b = service("b").port(Some(5001)).activated().probe(Probe::Notify).restarts_with("a");
    let mut s = Scenario::up([service("a"), b]);
    s.restart(&["a"]);
    assert_eq!((s.signalled(), s.candidate("b")), (vec!["b".to_owned()], None));
}

#[test]
fn failed_candidate_leaves_the_context_of_the_old_run() {
    let mut s = Scenario::up([served("a").policy(Restart::Always)]);
    let plan = Plan { context: 7, restart: vec!["a".into()], ..support::plan([served("a")]) };
    s.event(Event::Apply { plan });
    let context = |s: &Scenario| {
        s.all.iter().rev().find_map(|effect| match effect {
            Effect::Spawn { command, .. } => Some(command.context),
            _ => None,
        })
    };
    assert_eq!(context(&s), Some(7));
    s.start_run("a", 2);
    s.end_run("a", 2, Exit::Code(1));
    s.crash("a");
    s.pass(Duration::from_secs(1));
    assert_eq!((s.spawned(), context(&s)), (vec!["a".to_owned()], Some(0)));
}

#[test]
fn health_checks_follow_the_new_run() {
    let mut s = Scenario::up([served("a").health(Duration::from_secs(1), false)]);
    s.restart(&["a"]);
    s.start_run("a", 2);
    s.pass(Duration::from_secs(1));
    assert_eq!(s.checked(), ["a"], "the old run still serves");
    s.pass_run("a", 2, 0);
    s.end_run("a", 1, Exit::Code(0));
    s.pass(Duration::from_secs(1));
    let run = s.effects.iter().find_map(|effect| match effect {
        Effect::CheckHealth { run, .. } => Some(*run),
        _ => None,
    });
    assert_eq!(run, Some(2));
}

#[test]
fn watchdog_of_the_old_run_counts_until_the_end() {
    let mut s = handing_over([served("a").watchdog(Duration::from_secs(5))]);
    s.start_run("a", 2);
    s.pass(Duration::from_secs(5));
    assert_eq!(s.killed(), ["a"], "run 1 sent no ping");
    assert_eq!((s.run("a"), s.phase("a")), (2, Phase::Starting));
}

#[test]
fn lost_candidate_makes_the_next_replacement_a_stop() {
    let mut s = handing_over([served("a")]);
    s.pass(START + Duration::from_secs(5));
    assert_eq!((s.run("a"), s.phase("a"), s.state()), (1, Phase::Ready, State::Ready));
    s.restart(&["a"]);
    assert_eq!((s.stopped_runs(), s.candidate("a")), (stopped("a", 1), None));
    s.end("a", Exit::Code(0));
    s.let_it_happen();
    assert_eq!((s.run("a"), s.phase("a")), (3, Phase::Ready));
    s.start_run("a", 2);
    assert_eq!(s.killed(), ["a"], "the late process is killed");
}
