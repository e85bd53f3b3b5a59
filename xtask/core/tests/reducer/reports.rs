//! Reports: phases, changes, and events that are out of place.

use std::time::Duration;

use xtask_core::plan::Probe;
use xtask_core::snapshot::Phase;
use xtask_core::stack::{Event, Exit, ExitClue};
use xtask_core::terms::Restart;

use crate::scenario::Scenario;
use crate::support::{With, service};

#[test]
fn out_of_place_events_are_reported() {
    let mut s = Scenario::up([service("a")]);
    for event in [
        Event::Restart { services: vec!["unknown".into()] },
        Event::Linked { service: "a".into(), program: String::new().into() },
        Event::Bound { service: "a".into(), ports: vec![1] },
        Event::Started { service: "a".into(), run: 9, pid: 1 },
        Event::Started { service: "a".into(), run: 1, pid: 1 },
        Event::ProbePassed { service: "a".into(), run: 1, probe: 5 },
        Event::Apply { plan: crate::support::plan([service("x").needs("y")]) },
        Event::Apply {
            plan: crate::support::plan([service("x").needs("y"), service("y").needs("x")]),
        },
    ] {
        s.event(event.clone());
        assert_eq!(s.unexpected().len(), 1, "{event:?}");
    }
    assert_eq!(s.phase("a"), Phase::Ready);
}

#[test]
fn events_of_past_runs_are_dropped_silently() {
    let mut s = Scenario::up([service("a")]);
    s.crash("a");
    s.pass(Duration::from_secs(1));
    s.event(Event::Exited { service: "a".into(), run: 1, exit: Exit::Code(1), clue: None });
    assert_eq!(s.effects, []);
    assert_eq!(s.phase("a"), Phase::Starting);
}

#[test]
fn each_change_of_phase_is_reported_once() {
    let mut s = Scenario::of([service("a")]);
    assert_eq!(s.phases(), [("a".to_owned(), Phase::Starting)]);
    s.start("a");
    assert_eq!(s.phases(), [("a".to_owned(), Phase::Ready)]);
    s.event(Event::Status { service: "a".into(), run: 1, status: "idle".to_owned() });
    assert_eq!(s.phases(), []);
    assert_eq!(s.snapshot("a").status.as_deref(), Some("idle"));
    s.end("a", Exit::Code(0));
    assert_eq!(s.snapshot("a").status, None, "it was about a run that is over");
}

#[test]
fn passed_probe_shows_no_earlier_result() {
    let log = Probe::Log { pattern: "up".to_owned() };
    let mut s = Scenario::of([service("a").probe(Probe::Notify).probe(log)]);
    s.start("a");
    s.seen("a", 0, "connection refused");
    s.seen("a", 1, "nothing yet");
    s.pass_probe("a", 0);
    s.seen("a", 0, "connection refused");
    assert_eq!(s.snapshot("a").seen, ["line that matches `up`: nothing yet"]);
    s.pass_probe("a", 1);
    s.seen("a", 1, "nothing yet");
    assert_eq!(s.phase("a"), Phase::Ready);
    assert_eq!(s.snapshot("a").seen, [""; 0]);
}

#[test]
fn exit_clue_is_part_of_the_reason() {
    let input = |exit, clue| {
        move |s: &mut Scenario| {
            s.event(Event::Exited { service: "a".into(), run: s.run("a"), exit, clue: Some(clue) });
            s.gone("a");
            s.reason("a").to_owned()
        }
    };
    let read = input(Exit::Code(0), ExitClue::ReadEmptyInput);
    let left = input(Exit::Code(0), ExitClue::LeftProcesses);
    let failed = input(Exit::Code(1), ExitClue::ReadEmptyInput);
    let reason = read(&mut Scenario::up([service("a")]));
    assert!(reason.starts_with("exited by itself with status 0; it read its standard input"));
    let mut s = Scenario::of([service("a").probe(Probe::Notify).policy(Restart::No)]);
    s.start("a");
    let reason = left(&mut s);
    assert!(reason.starts_with("exited with status 0 before it was ready; it left processes"));
    let mut s = Scenario::of([service("a").probe(Probe::Notify)]);
    s.start("a");
    assert!(failed(&mut s).contains("standard input"));
    let reason = failed(&mut Scenario::up([service("a")]));
    assert_eq!(reason, "exited with status 1", "it has another cause after it was ready");
}

#[test]
fn log_trouble_is_shown_without_effects() {
    let mut s = Scenario::of([service("a")]);
    s.start("a");
    let full = Some("disk full".to_owned());
    s.event(Event::LogTrouble { service: "a".into(), trouble: full.clone() });
    assert_eq!((s.phase("a"), s.snapshot("a").log_trouble), (Phase::Ready, full));
    assert_eq!(s.effects, []);
    s.event(Event::LogTrouble { service: "a".into(), trouble: None });
    assert_eq!(s.snapshot("a").log_trouble, None);
}

#[test]
fn changes_are_listed_once() {
    let mut s = Scenario::up([service("a"), service("b")]);
    s.stack.take_changed();
    s.crash("b");
    let changed: Vec<String> = s.stack.take_changed().iter().map(ToString::to_string).collect();
    assert_eq!(changed, ["b"]);
    assert_eq!(s.stack.take_changed(), []);
}

#[test]
fn snapshot_keeps_the_order_of_the_plan() {
    let mut s = Scenario::of([service("z"), service("a").needs("z")]);
    s.apply([service("m")]);
    let names: Vec<_> =
        s.stack.snapshot().services.iter().map(|service| service.name.to_string()).collect();
    assert_eq!(names, ["m", "z", "a"]);
}
