//! Stopping programs that do not want to stop, and hearing those that say too much.

use std::time::{Duration, Instant};

use xtask_test_support::{Fixture, alive, misbehave};

/// One service that is the misbehaving program.
fn rogue(args: &str, settings: &str) -> Fixture {
    let program = misbehave().display().to_string();
    Fixture::new("rogue")
        .workspace(&format!(
            "[workspace.metadata.services.rogue]\n\
             command = [{program:?}, {args}]\n{settings}"
        ))
        .write()
}

#[test]
fn deaf_service_is_killed_after_its_timeout() {
    let fixture = rogue("\"--ignore-term\"", "stop = { timeout = \"300ms\" }\n");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let begun = Instant::now();
    fixture.xtask(&["down"]).ends_with(0);
    assert!(begun.elapsed() >= Duration::from_millis(300), "it had no time to stop");
    fixture.is_quiet();
}

#[test]
fn down_waits_for_a_slow_stop() {
    let fixture =
        rogue("\"--drain\", \"700\", \"--ready-line\", \"up\"", "ready = { log = \"up\" }\n");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let begun = Instant::now();
    fixture.xtask(&["down"]).ends_with(0);
    assert!(begun.elapsed() >= Duration::from_millis(700), "it was cut short");
    fixture.is_quiet();
}

/// The supervisor may exit at any moment of the second command.
#[test]
fn down_succeeds_while_the_stack_ends() {
    let fixture = rogue("\"--drain\", \"5\"", "");
    for delay in 0..8 {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let first = fixture.spawn(&["down"]);
        std::thread::sleep(Duration::from_millis(5 * delay));
        fixture.xtask(&["down"]).ends_with(0);
        first.wait(Duration::from_secs(60)).ends_with(0);
    }
    fixture.is_quiet();
}

#[test]
fn down_waits_for_grandchildren() {
    let fixture = rogue(
        "\"--listen-env\", \"--grandchild\", \"--grandchild-setsid\", \"--ready-line\", \"up\"",
        "port = 0\nready = { log = \"up\", tcp = true }\nstop = { timeout = \"300ms\" }\n",
    );
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let logs = fixture.xtask(&["logs", "rogue"]).ends_with(0).stdout;
    let pids: Vec<i32> = logs
        .lines()
        .filter_map(|line| line.split("grandchild ").nth(1)?.trim().parse().ok())
        .collect();
    assert_eq!(pids.len(), 2, "{logs}");
    assert!(pids.iter().all(|pid| alive(*pid)));
    fixture.xtask(&["down"]).ends_with(0);
    assert!(!pids.iter().any(|pid| alive(*pid)), "a grandchild is left");
    fixture.is_quiet();
}

#[test]
fn log_flood_and_partial_line_are_complete() {
    let fixture = rogue(
        "\"--flood\", \"20000\", \"--half-line\", \"--exit-after\", \"100\"",
        "kind = \"job\"\n",
    );
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let logs = fixture.xtask(&["logs", "rogue", "-n", "30000"]).ends_with(0).stdout;
    assert_eq!(logs.lines().filter(|line| line.contains("flood ")).count(), 20000);
    assert!(logs.trim_end().ends_with("half a line…"), "{}", &logs[logs.len() - 200..]);
}

#[test]
fn down_now_kills_at_once() {
    let fixture = rogue("\"--drain\", \"60000\"", "stop = { timeout = \"60s\" }\n");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let begun = Instant::now();
    fixture.xtask(&["down", "--now"]).ends_with(0);
    assert!(begun.elapsed() < Duration::from_secs(10));
    fixture.is_quiet();
}
