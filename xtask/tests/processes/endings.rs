//! How services and stacks end: in order, in time, and without leaving a process.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use xtask_test_support::stand::{SERVE, phase, pid, port, stand, stopped_in_order, tower};
use xtask_test_support::{Fixture, alive, eventually, signal};

/// How long what takes a moment may take on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Waits until every process of the fixture has ended.
fn is_gone(fixture: &Fixture) {
    eventually(SOON, "everything gone", || fixture.processes().is_empty().then_some(()));
}

#[test]
fn stop_sends_the_signal_of_the_settings() {
    let stop = "stop = { signal = \"SIGINT\", timeout = \"600s\" }\n";
    let fixture = stand(&[("picky", "--ignore-term", stop)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    fixture.is_quiet();
}

#[test]
fn up_ignores_a_service_that_succeeds_early() {
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
fn dependents_end_before_their_dependencies_stop() {
    let fixture = tower("--drain 60", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(stopped_in_order(&fixture), 4);
    fixture.is_quiet();
}

/// The grace is so short that a busy machine may miss it, so the test tries again.
#[test]
fn stack_stops_in_order_after_its_guardian_died() {
    for _ in 0..5 {
        let fixture = tower("--drain 60", "");
        fixture.xtask(&["up", "-d"]).ends_with(0);
        signal(fixture.guardian(), libc::SIGKILL);
        is_gone(&fixture);
        if stopped_in_order(&fixture) == 4 {
            return;
        }
    }
    panic!("the grace was too short for four services, five times");
}

#[test]
fn guardian_death_shortens_the_stop_timeout() {
    let deaf = ("deaf", "--ignore-term", "stop = { timeout = \"600s\" }\n");
    let fixture = stand(&[deaf]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    signal(fixture.guardian(), libc::SIGKILL);
    is_gone(&fixture);
}

/// The grandchild stays in the group, holds the socket and ignores SIGTERM.
#[test]
fn stopped_service_has_no_group_and_a_free_port() {
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

/// The detached grandchildren ignore SIGTERM too.
#[test]
fn stopped_service_leaves_no_detached_member() {
    let flags = format!("{SERVE} --grandchild-setsid --grandchild-daemon");
    let settings = "port = 0\nstop = { timeout = \"300ms\" }\n";
    let fixture = stand(&[("parent", &flags, settings), ("other", SERVE, "port = 0\n")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    // The service listens, and so is ready, before it leaves them.
    let grandchildren = |count: usize| -> Vec<i32> {
        eventually(SOON, &format!("{count} grandchildren"), || {
            let logs = fixture.xtask(&["logs", "parent"]).ends_with(0).stdout;
            let after = logs.split("grandchild ").skip(1);
            let pids = after.map(|rest| rest.lines().next().unwrap().trim().parse().unwrap());
            Some(pids.collect::<Vec<_>>()).filter(|pids| pids.len() == count)
        })
    };
    let first = grandchildren(2);
    assert!(first.iter().all(|pid| alive(*pid)), "{first:?}");

    fixture.xtask(&["restart", "parent"]).ends_with(0);
    assert!(!first.iter().any(|pid| alive(*pid)), "{first:?}");
    let second = grandchildren(4).split_off(2);
    assert!(second.iter().all(|pid| alive(*pid)), "{second:?}");

    signal(pid(&fixture, "parent"), libc::SIGKILL);
    grandchildren(6);
    assert!(!second.iter().any(|pid| alive(*pid)), "{second:?}");

    fixture.xtask(&["down", "parent"]).ends_with(0);
    assert!(!grandchildren(6).iter().any(|pid| alive(*pid)));
    assert_eq!(phase(&fixture, "other"), "ready");
}

#[test]
fn restart_revives_a_failed_service() {
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

#[test]
fn until_pid_stops_the_stack_with_its_owner() {
    let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
    let mut owner = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let owner_pid = owner.id().to_string();
    fixture.xtask(&["up", "-d", "--until-pid", &owner_pid]).ends_with(0);
    let calm = pid(&fixture, "calm");
    owner.kill().unwrap();
    owner.wait().unwrap();
    is_gone(&fixture);
    assert!(!alive(calm));
}
