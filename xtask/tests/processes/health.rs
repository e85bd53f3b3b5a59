//! Services that are ready and no longer answer.

use std::time::Duration;

use xtask_test_support::stand::{SERVE, phase, pid, stand};
use xtask_test_support::{eventually, signal};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn frozen_service_is_found_by_status_wait_and_up() {
    let fixture = stand(&[
        ("api", SERVE, "port = 0\nready = { http = \"/readyz\" }\n"),
        ("caller", SERVE, "port = 0\ndepends-on = [\"api\"]\n"),
    ])
    .write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let frozen = pid(&fixture, "api");
    signal(frozen, libc::SIGSTOP);
    let api = fixture.service("api");
    assert_eq!(api["phase"], "unhealthy", "{api:#}");
    let seen = "no answer within 500ms; blocks `caller`";
    fixture.xtask(&["status"]).ends_with(0).says("unhealthy").says(seen);
    let wait = fixture.xtask(&["wait"]).ends_with(4);
    let wait = wait.says("api is unhealthy: `GET /readyz`").says(seen);
    wait.says(&format!("process {frozen} was stopped by a signal"));
    fixture.xtask(&["wait", "caller"]).ends_with(0);
    let up = fixture.xtask(&["up", "-d"]).ends_with(4).says("`api` is unhealthy").says(seen);
    up.says("`cargo xtask restart api`");
    signal(frozen, libc::SIGCONT);
    eventually(PATIENCE, "an answer", || (phase(&fixture, "api") == "ready").then_some(()));
    eventually(PATIENCE, "an answer to `up`", || {
        (fixture.xtask(&["up", "-d"]).code == Some(0)).then_some(())
    });
    assert_eq!(pid(&fixture, "api"), frozen);
}

#[test]
fn three_failed_health_checks_are_reported() {
    let checked = "port = 0\nhealth = { http = \"/healthz\", every = \"50ms\" }\n";
    let fixture = stand(&[
        ("api", "--listen-env --http 503", checked),
        ("caller", SERVE, "port = 0\ndepends-on = [\"api\"]\n"),
    ])
    .write();
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "Unhealthy api: `GET /healthz` at ");
    up.says(PATIENCE, ": status 503, 3 times; blocks `caller`");
    assert_eq!(fixture.service("api")["restarts"], 0);
    up.signal(libc::SIGINT);
    up.wait(PATIENCE);
    fixture.is_quiet();
}

#[test]
fn unhealthy_service_is_restarted_where_metadata_asks() {
    let checked = "port = 0\nhealth = { http = \"/\", status = 418, every = \"50ms\", \
                   restart = true }\n";
    let fixture = stand(&[("api", SERVE, checked)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    eventually(PATIENCE, "a restart", || {
        (fixture.service("api")["restarts"].as_u64()? > 0).then_some(())
    });
    fixture.xtask(&["down"]).ends_with(0);
}

#[test]
fn checks_of_a_stopped_process_do_not_count() {
    let checked = "port = 0\nhealth = { http = \"/\", every = \"50ms\", restart = true }\n";
    let fixture = stand(&[("api", SERVE, checked)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let frozen = pid(&fixture, "api");
    signal(frozen, libc::SIGSTOP);
    eventually(PATIENCE, "its name in the log", || {
        let logs = fixture.xtask(&["logs", "api"]).stdout;
        logs.contains(&format!("process {frozen} was stopped by a signal")).then_some(())
    });
    // Longer than three checks that get no answer.
    std::thread::sleep(Duration::from_secs(8));
    signal(frozen, libc::SIGCONT);
    eventually(PATIENCE, "an answer", || (phase(&fixture, "api") == "ready").then_some(()));
    assert_eq!((pid(&fixture, "api"), &fixture.service("api")["restarts"]), (frozen, &0.into()));
    fixture.xtask(&["down"]).ends_with(0);
}
