//! A supervisor that is stopped for longer than the limits of its services.

use std::thread::sleep;
use std::time::Duration;

use xtask_test_support::stand::{SERVE, phase_if_any, pid, stand};
use xtask_test_support::{eventually, signal};

const SOON: Duration = Duration::from_secs(30);

/// Longer than every limit of these tests.
const PAUSE: Duration = Duration::from_millis(2500);

#[test]
fn service_that_pings_survives_a_paused_supervisor() {
    let settings = "watchdog = \"1s\"\nready = { notify = true }\n";
    let fixture = stand(&[("alive", "--notify-after 0 --ping 100", settings)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let supervisor = fixture.supervisor();
    for _ in 0..2 {
        signal(supervisor, libc::SIGSTOP);
        sleep(PAUSE);
        signal(supervisor, libc::SIGCONT);
        // The supervisor answers only after it has read what arrived before.
        let service = fixture.service("alive");
        assert_eq!((&service["run"], &service["restarts"]), (&1.into(), &0.into()), "{service}");
    }
}

#[test]
fn service_gets_ready_during_a_paused_supervisor() {
    let first = ("first", SERVE, "port = 0\n");
    let late = ("late", "--boot 800 --listen-env --http 200", "port = 0\nstart-timeout = \"2s\"\n");
    let fixture = stand(&[first, late]).write();
    fixture.xtask(&["up", "-d", "first"]).ends_with(0);
    let supervisor = fixture.supervisor();
    let up = fixture.spawn(&["up", "-d", "late"]);
    let is_starting = || (phase_if_any(&fixture, "late")? == "starting").then_some(());
    eventually(SOON, "a start", is_starting);
    signal(supervisor, libc::SIGSTOP);
    sleep(PAUSE);
    signal(supervisor, libc::SIGCONT);
    up.wait(SOON).ends_with(0);
}

#[test]
fn stopped_service_is_named_and_not_killed() {
    let settings = "watchdog = \"300ms\"\nready = { notify = true }\n";
    let fixture = stand(&[("alive", "--notify-after 0 --ping 50", settings)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let pid = pid(&fixture, "alive");
    signal(pid, libc::SIGSTOP);
    let text = format!("process {pid} was stopped by a signal");
    let is_logged =
        || fixture.xtask(&["logs", "alive"]).ends_with(0).stdout.contains(&text).then_some(());
    eventually(SOON, "a line in the log", is_logged);
    let service = fixture.service("alive");
    assert!(service["reason"].as_str().unwrap().contains(&format!("kill -CONT {pid}")));
    assert_eq!((&service["run"], &service["phase"]), (&1.into(), &"ready".into()));
    // The watchdog counts again once the process continues.
    signal(pid, libc::SIGCONT);
    let service = fixture.service("alive");
    assert_eq!((&service["run"], service["reason"].is_null()), (&1.into(), true), "{service}");
}
