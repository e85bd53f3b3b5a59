//! `up` in the foreground: what it prints, what watching it means, and how it ends.

use std::time::{Duration, Instant};

use xtask_test_support::stand::{
    SERVE, on_a_terminal, phase, phase_if_any, pid, stand, stopped_in_order, tower,
};
use xtask_test_support::{Fixture, PackageSpec, Running, SERVICE, eventually, free_port, signal};

/// How long what takes a moment may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `back` with a port, and `front` that waits for it.
fn pair() -> Fixture {
    let service = "[package.metadata.service]";
    Fixture::new("pair")
        .package(
            PackageSpec::new("crates/back", "back-package")
                .bin("back-server", SERVICE)
                .metadata(&format!("{service}\nname = \"back\"\nport = {}\n", free_port())),
        )
        .package(
            PackageSpec::new("crates/front", "front-package")
                .bin("front-server", SERVICE)
                .metadata(&format!("{service}\nname = \"front\"\ndepends-on = [\"back\"]\n")),
        )
        .write()
}

/// Waits until every service of the tower is ready.
fn wait_until_ready(fixture: &Fixture) {
    eventually(PATIENCE, "everything ready", || {
        let all = ["top", "aside"].map(|name| phase_if_any(fixture, name));
        all.iter().all(|phase| phase.as_deref() == Some("ready")).then_some(())
    });
}

/// Waits until no process of the fixture is left; `reap` waits for those of the test.
fn wait_until_gone(fixture: &Fixture, mut reap: impl FnMut()) {
    eventually(PATIENCE, "everything gone", || {
        reap();
        fixture.processes().is_empty().then_some(())
    });
}

#[test]
fn foreground_prefixes_logs_and_stops_dependents_first() {
    let fixture = pair();
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "back  | listening");
    up.says(PATIENCE, "front | listening");
    up.signal(libc::SIGTERM);
    let ran = up.wait(PATIENCE).ends_with(143);
    let lines: Vec<&str> = ran.stderr.lines().map(str::trim_start).collect();
    let place = |text| lines.iter().position(|line| *line == text);
    let front = place("Stopped front").unwrap();
    assert!(front < place("Stopped back").unwrap(), "{ran}");
    // A state that lasts too short a time is not printed.
    assert!(place("Stopping back").is_none_or(|back| front < back), "{ran}");
    assert_eq!(fixture.processes(), []);
}

#[test]
fn watching_up_leaves_the_stack_running() {
    let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
    let watch = |message: &str| {
        let before = pid(&fixture, "calm");
        let watching = fixture.spawn(&["up"]);
        watching.says(PATIENCE, message);
        watching.signal(libc::SIGINT);
        watching.wait(PATIENCE).ends_with(130).says("already running");
        assert_eq!(phase(&fixture, "calm"), "ready");
        assert_eq!(pid(&fixture, "calm"), before);
    };
    let owner = fixture.spawn(&["up"]);
    owner.says(PATIENCE, "SERVICE");
    watch("a stack that another `up` shuts down; Ctrl-C leaves it running");
    owner.signal(libc::SIGINT);
    owner.wait(PATIENCE).ends_with(130);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    watch("a detached stack; Ctrl-C leaves it running");
}

#[test]
fn killed_foreground_takes_its_stack_along() {
    let fixture = tower("", "");
    let up = fixture.spawn(&["up"]);
    wait_until_ready(&fixture);
    up.signal(libc::SIGKILL);
    up.wait(PATIENCE);
    wait_until_gone(&fixture, || {});
}

#[test]
fn detached_up_killed_during_the_start_leaves_nothing() {
    let fixture = stand(&[
        ("base", SERVE, "port = 0\n"),
        ("slow", "--boot 600000", "port = 0\nstart-timeout = \"600s\"\n"),
    ])
    .write();
    let up = fixture.spawn(&["up", "-d"]);
    eventually(PATIENCE, "a start under way", || {
        (phase_if_any(&fixture, "slow")? == "starting").then_some(())
    });
    up.signal(libc::SIGKILL);
    drop(up);
    wait_until_gone(&fixture, || {});
}

#[test]
fn closed_terminal_stops_the_stack_of_the_foreground() {
    let fixture = tower("", "");
    let (mut up, terminal) = on_a_terminal(fixture.command(), &["up"]);
    wait_until_ready(&fixture);
    drop(terminal);
    wait_until_gone(&fixture, || drop(up.try_wait()));
    assert!(up.wait().unwrap().code().is_some(), "no signal ended it");
}

#[test]
fn term_and_hangup_stop_the_stack_in_order() {
    for ending in [libc::SIGTERM, libc::SIGHUP] {
        let fixture = tower("--drain 60", "");
        let up = fixture.spawn(&["up"]);
        wait_until_ready(&fixture);
        up.signal(ending);
        up.wait(PATIENCE).ends_with(143);
        assert_eq!(stopped_in_order(&fixture), 4);
        fixture.is_quiet();
    }
}

#[test]
fn second_ctrl_c_kills_services_that_ignore_the_first() {
    let deaf = ("deaf", "--ignore-term", "stop = { timeout = \"100s\" }\n");
    let fixture = stand(&[deaf]).write();
    let up = fixture.spawn(&["up"]);
    eventually(PATIENCE, "it runs", || (phase_if_any(&fixture, "deaf")? == "ready").then_some(()));
    up.signal(libc::SIGINT);
    up.says(PATIENCE, "Stopping deaf");
    let second = Instant::now();
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130).says("Killing");
    assert!(second.elapsed() < Duration::from_secs(50));
    assert_eq!(fixture.processes(), []);
}

#[test]
fn third_ctrl_c_leaves_while_the_supervisor_hangs() {
    let fixture = stand(&[("steady", "", "")]).write();
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "steady");
    let supervisor = fixture.supervisor();
    signal(supervisor, libc::SIGSTOP);
    up.signal(libc::SIGINT);
    // A stopped supervisor does not acknowledge the first signal, so the second one is repeated
    // until the client counts it.
    eventually(PATIENCE, "the second one is counted", || {
        up.signal(libc::SIGINT);
        up.said().stderr.contains("Killing").then_some(())
    });
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130).says("Leaving").says("continues to stop the stack");
    signal(supervisor, libc::SIGCONT);
    wait_until_gone(&fixture, || {});
}

#[test]
fn foreground_tells_a_stopped_stack_from_a_killed_one() {
    let fixture = tower("", "");
    let up = || -> Running {
        let up = fixture.spawn(&["up"]);
        up.says(PATIENCE, "SERVICE");
        up
    };
    let stopped = up();
    fixture.xtask(&["down"]).ends_with(0);
    stopped.wait(PATIENCE).ends_with(0).says("Down");

    let killed = up();
    signal(fixture.supervisor(), libc::SIGKILL);
    let ran = killed.wait(PATIENCE).ends_with(1).says("was killed");
    assert!(!ran.stderr.contains("Down"), "{ran}");
    wait_until_gone(&fixture, || {});
}
