//! Ready means ready: each probe with real programs, and what is said when it fails.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use xtask_test_support::stand::{phase, phase_if_any, stand};
use xtask_test_support::{Fixture, eventually, free_port, get_at};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(30);

fn ready_ms(fixture: &Fixture, name: &str) -> u64 {
    let service = fixture.service(name);
    assert_eq!(service["phase"], "ready", "{service:#}");
    service["ready_ms"].as_u64().unwrap()
}

/// Each program needs 150 ms until it is what its probe asks for.
#[test]
fn each_probe_waits_for_its_answer() {
    let fixture = stand(&[
        ("notifies", "--notify-after 150", "ready = { notify = true }\n"),
        ("answers", "--boot 150 --listen-env --http 200", "port = 0\nready = { http = \"/\" }\n"),
        (
            "refuses",
            "--boot 150 --listen-env --http 401",
            "port = 0\nready = { http = \"/\", status = [401, 403] }\n",
        ),
        ("accepts", "--boot 150 --listen-env", "port = 0\n"),
        (
            "prints",
            "--boot 150 --ready-line \u{1b}[32mport-42-is-open\u{1b}[0m",
            "ready = { log = \"^port-[0-9]+-is\" }\n",
        ),
        (
            "inherits",
            "--boot 150 --inherit --http 200",
            "port = 0\nsocket-activation = true\nready = { http = \"/\" }\n",
        ),
        (
            "both",
            "--notify-after 150 --listen-env --http 200",
            "port = 0\nready = { http = \"/\", notify = true }\n",
        ),
        (
            "sixth",
            "--boot 150 --listen-env --http 200",
            "port = 0\nhost = \"::1\"\nready = { http = \"/\" }\n",
        ),
        ("silent", "", ""),
    ])
    .write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    for name in ["notifies", "answers", "refuses", "accepts", "prints", "inherits", "both", "sixth"]
    {
        assert!(ready_ms(&fixture, name) >= 150, "{name}: {} ms", ready_ms(&fixture, name));
    }
    assert_eq!(phase(&fixture, "silent"), "ready");
    assert_eq!(fixture.service("silent")["url"], Value::Null);
    let sixth = fixture.service("sixth")["url"].as_str().unwrap().to_owned();
    assert!(sixth.starts_with("http://[::1]:"), "{sixth}");
    assert_eq!(get_at(&sixth, "/").unwrap().status, 200);
}

#[test]
fn command_probe_repeats_until_it_succeeds() {
    let ready = "ready = { command = [\"test\", \"-e\", \"open\"] }\nstart-timeout = \"600s\"\n";
    let fixture = stand(&[("shop", "", ready)]).write();
    let up = fixture.spawn(&["up", "-d"]);
    let seen = eventually(SOON, "a failed attempt", || {
        phase_if_any(&fixture, "shop")?;
        let service = fixture.service("shop");
        let seen = service["seen"].to_string();
        (service["phase"] == "starting" && seen.contains("exited with status 1")).then_some(seen)
    });
    assert!(seen.contains("test"), "{seen}");
    fs::write(fixture.root().join("open"), "").unwrap();
    up.wait(SOON).ends_with(0);
}

#[test]
fn foreign_listener_is_never_ready() {
    let address = free_port();
    let settings = format!("port = {address}\nstart-timeout = \"600s\"\n");
    let fixture = stand(&[("absent", "", &settings)]).write();
    let up = fixture.spawn(&["up", "-d"]);
    eventually(SOON, "a start under way", || {
        (phase_if_any(&fixture, "absent")? == "starting").then_some(())
    });
    let _foreign = TcpListener::bind(("127.0.0.1", address)).unwrap();
    let seen = eventually(SOON, "the foreign listener seen", || {
        let seen = fixture.service("absent")["seen"].to_string();
        seen.contains("another program").then_some(seen)
    });
    assert!(seen.contains(&std::process::id().to_string()), "{seen}");
    assert_eq!(phase(&fixture, "absent"), "starting");
    fixture.xtask(&["explain", "absent"]).ends_with(0).says("another program");
    fixture.xtask(&["down"]).ends_with(0);
    up.wait(SOON);
}

#[test]
fn timeout_names_last_answer_and_waiting_dependents() {
    let late = "start-timeout = \"400ms\"\n";
    let fixture = stand(&[
        ("mute", "--stderr thinking", &format!("{late}ready = {{ notify = true }}\n")),
        (
            "broken",
            "--listen-env --http 503",
            &format!("{late}port = 0\nready = {{ http = \"/health\" }}\n"),
        ),
        (
            "guarded",
            "--listen-env --http 401",
            &format!("{late}port = 0\nready = {{ http = \"/\" }}\n"),
        ),
        ("created", "--listen-env --http 204", "port = 0\nready = { http = \"/\" }\n"),
        ("closed", "", &format!("{late}port = 0\n")),
        (
            "secretive",
            "--ready-line something",
            &format!("{late}ready = {{ log = \"open for\" }}\n"),
        ),
        ("undone", "", &format!("{late}ready = {{ command = [\"false\"] }}\n")),
        ("behind", "", "depends-on = [\"broken\"]\n"),
        ("last", "", "depends-on = [\"behind\"]\n"),
        ("free", "", ""),
    ])
    .write();
    let up = fixture.xtask(&["up", "-d", "--keep-going"]).ends_with(4);
    for text in [
        "`mute` was not ready in time",
        "`READY=1`",
        "thinking",
        "`GET /health` at 127.0.0.1:",
        "status 503",
        "status 401; to accept it, set `status = [401]`",
        "connection refused",
        "`open for`",
        "something",
        "`false`: exited with status 1",
        "`behind` is waiting on it",
        "`last` is waiting on it",
        "400ms",
    ] {
        assert!(up.stderr.contains(text), "`{text}` is not said\n{up}");
    }
    assert_eq!(phase(&fixture, "free"), "ready");
    assert_eq!(phase(&fixture, "created"), "ready");
    assert_eq!(phase(&fixture, "last"), "failed");
}

/// It prints what the probe asks for, then ends before it binds.
#[test]
fn program_that_exits_after_ready_is_not_ready() {
    let fixture = stand(&[(
        "liar",
        "--print-before-bind listening --exit-after 0 --code 7",
        "port = 0\nrestart = \"no\"\nstart-timeout = \"600s\"\nready = { log = \"listening\", tcp = true }\n",
    )])
    .write();
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    up.says("exited with status 7").says("| listening");
    fixture.is_quiet();
}

#[test]
fn missing_probe_program_is_reported_at_once() {
    let fixture = stand(&[])
        .workspace("[workspace.metadata.services.ghost]\ncommand = [\"no-such-program\"]\n")
        .write();
    fixture.xtask(&["up", "-d"]).ends_with(4).says("no-such-program").says("`ghost`");
    fixture.is_quiet();
}
