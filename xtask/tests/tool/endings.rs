//! The end of things: in order, in time, and with nothing left behind.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use crate::stand::{SERVE, on_a_terminal, phase, phase_if_any, pid, port, stand, tower};
use crate::support::{Fixture, alive, eventually};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(30);

/// Waits until everything of the tower is up.
fn is_up(fixture: &Fixture) {
    eventually(SOON, "everything ready", || {
        let all = ["top", "aside"].map(|name| phase_if_any(fixture, name));
        all.iter().all(|phase| phase.as_deref() == Some("ready")).then_some(())
    });
}

/// Waits until nothing of the fixture is alive.
fn is_gone(fixture: &Fixture) {
    eventually(SOON, "everything gone", || fixture.processes().is_empty().then_some(()));
}

#[track_caller]
fn kill_guardian(fixture: &Fixture) {
    let guardian = fixture.status()["guardian_pid"].as_i64().unwrap();
    // SAFETY: the call takes two numbers.
    unsafe { libc::kill(i32::try_from(guardian).unwrap(), libc::SIGKILL) };
}

#[test]
fn another_signal_can_be_asked_for() {
    let stop = "stop = { signal = \"SIGINT\", timeout = \"600s\" }\n";
    let fixture = stand(&[("picky", "--ignore-term", stop)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    fixture.is_quiet();
}

#[test]
fn a_service_that_ends_well_while_others_start_does_not_hold_up_the_start() {
    let slow = format!("{SERVE} --boot 500");
    let fixture =
        stand(&[("brief", "--exit-after 0", "restart = \"no\"\n"), ("slow", &slow, "port = 0\n")])
            .write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(phase(&fixture, "brief"), "stopped");
    fixture.xtask(&["wait"]).ends_with(0);
    assert_eq!(phase(&fixture, "slow"), "ready");
    assert_eq!(fixture.status()["state"], "stopped");
}

#[test]
fn dependents_are_gone_before_their_dependencies_are_told_to_stop() {
    let fixture = tower("--drain 60", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(stopped_in_order(&fixture), 4);
    fixture.is_quiet();
}

/// Fails the test if a service of the tower was told to stop before its dependent had ended,
/// by their own words. Says how many had the time to end by themselves.
#[track_caller]
fn stopped_in_order(fixture: &Fixture) -> usize {
    let logs = fixture.xtask(&["logs", "--json"]).ends_with(0);
    let lines: Vec<Value> =
        logs.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let time = |service: &str, text: &str| {
        let mut lines = lines.iter();
        let said = lines.find(|line| line["service"] == service && line["text"] == text)?;
        Some(said["time"].as_str().unwrap().to_owned())
    };
    for (dependent, dependency) in [("top", "mid"), ("mid", "base")] {
        let told = time(dependency, "draining");
        if let (Some(ended), Some(told)) = (time(dependent, "drained"), &told) {
            assert!(ended <= *told, "`{dependency}` before `{dependent}`\n{logs}");
        }
        let first = time(dependent, "draining");
        assert!(told.is_none() || first.is_some(), "`{dependent}` was not told\n{logs}");
    }
    ["top", "mid", "base", "aside"].iter().filter(|name| time(name, "drained").is_some()).count()
}

/// The grace is short, so that a busy machine may cut it: then it is tried again.
#[test]
fn a_stack_whose_guardian_died_stops_in_order() {
    for _ in 0..5 {
        let fixture = tower("--drain 60", "");
        fixture.xtask(&["up", "-d"]).ends_with(0);
        kill_guardian(&fixture);
        is_gone(&fixture);
        if stopped_in_order(&fixture) == 4 {
            return;
        }
    }
    panic!("the grace was too short for four services, five times");
}

#[test]
fn a_stack_whose_guardian_died_waits_for_no_stop_timeout() {
    let deaf = ("deaf", "--ignore-term", "stop = { timeout = \"600s\" }\n");
    let fixture = stand(&[deaf]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    kill_guardian(&fixture);
    is_gone(&fixture);
}

/// The grandchild stays in the group, holds the socket and is deaf to SIGTERM.
#[test]
fn stopped_means_that_the_group_is_gone_and_the_port_is_free() {
    let flags = format!("{SERVE} --grandchild");
    let fixture =
        stand(&[("parent", &flags, "port = 0\nstop = { timeout = \"300ms\" }\n")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let logs = fixture.xtask(&["logs", "parent"]).ends_with(0);
    let grandchild = logs.stdout.split("grandchild ").nth(1).and_then(|rest| rest.lines().next());
    let grandchild: i32 = grandchild.unwrap_or_else(|| panic!("{logs}")).trim().parse().unwrap();
    let (parent, address) = (pid(&fixture, "parent"), port(&fixture, "parent"));
    assert!(alive(parent) && alive(grandchild));

    fixture.xtask(&["down", "parent"]).ends_with(0);
    assert!(!alive(parent) && !alive(grandchild));
    TcpListener::bind(("127.0.0.1", address)).expect("the port is free");
    assert_eq!(phase(&fixture, "parent"), "stopped");

    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["restart", "parent"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    fixture.is_quiet();
}

#[test]
fn a_foreground_up_whose_terminal_vanishes_takes_everything_along() {
    let fixture = tower("", "");
    let (mut up, terminal) = on_a_terminal(fixture.command(), &["up"]);
    is_up(&fixture);
    drop(terminal);
    is_gone_while(&fixture, || drop(up.try_wait()));
    assert!(up.wait().unwrap().code().is_some(), "no signal ended it");
}

/// As [`is_gone`], for a child that somebody has to wait for.
fn is_gone_while(fixture: &Fixture, mut wait: impl FnMut()) {
    eventually(SOON, "everything gone", || {
        wait();
        fixture.processes().is_empty().then_some(())
    });
}

#[test]
fn term_and_hangup_end_the_foreground_in_order() {
    for signal in [libc::SIGTERM, libc::SIGHUP] {
        let fixture = tower("--drain 60", "");
        let up = fixture.spawn(&["up"]);
        is_up(&fixture);
        up.signal(signal);
        up.wait(SOON).ends_with(143);
        assert_eq!(stopped_in_order(&fixture), 4);
        fixture.is_quiet();
    }
}

#[test]
fn a_foreground_killed_while_it_starts_takes_its_stack_along() {
    let fixture = stand(&[
        ("base", SERVE, "port = 0\n"),
        ("slow", "--boot 600000", "port = 0\nstart-timeout = \"600s\"\n"),
    ])
    .write();
    let up = fixture.spawn(&["up", "-d"]);
    eventually(SOON, "a start under way", || {
        (phase_if_any(&fixture, "slow")? == "starting").then_some(())
    });
    up.signal(libc::SIGKILL);
    drop(up);
    is_gone(&fixture);
}

#[test]
fn a_stack_that_was_left_running_outlives_the_watching_foreground() {
    let fixture = tower("", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pid(&fixture, "top");
    let up = fixture.spawn(&["up"]);
    up.says(SOON, "already running");
    up.signal(libc::SIGINT);
    up.wait(SOON).ends_with(130);
    assert_eq!(pid(&fixture, "top"), before);
}

#[test]
fn the_foreground_tells_a_stack_that_was_taken_down_from_one_that_was_killed() {
    let fixture = tower("", "");
    let up = || {
        let up = fixture.spawn(&["up"]);
        up.says(SOON, "SERVICE");
        up
    };
    let taken_down = up();
    fixture.xtask(&["down"]).ends_with(0);
    taken_down.wait(SOON).ends_with(0).says("Down");

    let killed = up();
    let supervisor = fixture.status()["supervisor_pid"].as_i64().unwrap();
    // SAFETY: the call takes two numbers.
    unsafe { libc::kill(i32::try_from(supervisor).unwrap(), libc::SIGKILL) };
    let ran = killed.wait(SOON).ends_with(1).says("was killed");
    assert!(!ran.stderr.contains("Down"), "{ran}");
    is_gone(&fixture);
}

#[test]
fn a_failed_service_can_be_tried_again_by_hand() {
    let fixture = stand(&[]).workspace(
        "[workspace.metadata.services.shaky]\n\
         command = [\"sh\", \"-c\", \"test -e flag && exec sleep 600; echo no flag; exit 9\"]\n\
         ready = { command = [\"test\", \"-e\", \"flag\"] }\nrestart = \"no\"\n",
    );
    let fixture = fixture.write();
    let up = fixture.xtask(&["up", "-d", "--keep-going"]).ends_with(4);
    up.says("exited with status 9").says("no flag");
    assert_eq!(phase(&fixture, "shaky"), "failed");
    fs::write(fixture.root().join("flag"), "").unwrap();
    fixture.xtask(&["restart", "shaky"]).ends_with(0);
    assert_eq!(phase(&fixture, "shaky"), "ready");
}
