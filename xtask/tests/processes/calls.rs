//! Calls between services. `status`, `explain` and `up` name services that call each other before
//! they accept, and undeclared calls are reported.

use std::time::Duration;

use xtask_test_support::stand::stand;
use xtask_test_support::{Fixture, eventually, free_port};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(60);

/// What is to be said.
const BOTH: &str = "`heads` is blocked calling `tails`, `tails` is blocked calling `heads`";

/// Two that inherit their sockets, and call before they accept; each has this much time.
fn coin(start_timeout: &str) -> Fixture {
    let side = |other: &str| {
        let flags = format!(
            "--inherit --call ${{{other}.host}}:${{{other}.port}} --http 200 --notify-after 0"
        );
        let settings = format!(
            "port = 0\nsocket-activation = true\nuses = [\"{other}\"]\n\
             start-timeout = \"{start_timeout}\"\nready = {{ notify = true, http = \"/\" }}\n"
        );
        (flags, settings)
    };
    let (heads, tails) = (side("tails"), side("heads"));
    stand(&[("heads", &heads.0, &heads.1), ("tails", &tails.0, &tails.1)]).write()
}

#[test]
fn status_explain_and_up_name_a_deadlock() {
    let fixture = coin("600s");
    let up = fixture.spawn(&["up", "-d"]);
    eventually(SOON, "both called", || {
        fixture.xtask(&["status"]).stdout.contains(BOTH).then_some(())
    });
    let status = fixture.xtask(&["status"]).ends_with(0);
    // The tool's own request waits on each socket too, and is no caller.
    let notes: Vec<&str> = status.stdout.lines().filter(|line| line.contains("starting")).collect();
    let mut others = ["tails", "heads"].iter();
    for note in &notes {
        let other = others.next().unwrap();
        let text = format!("1 caller waits for an answer; blocked calling `{other}` (starting)");
        assert!(note.ends_with(&text), "{status}");
    }
    assert_eq!(notes.len(), 2, "{status}");
    status.says(&format!("deadlock: {BOTH}")).says("hint: let one of them accept");

    let tails = fixture.service("tails");
    assert_eq!(tails["calls"], serde_json::json!([{ "to": "heads", "state": "waiting" }]));
    let steps = &fixture.status()["deadlocks"][0]["steps"];
    let step = serde_json::json!({ "service": "heads", "blocked": "calling", "on": "tails" });
    assert_eq!(steps[0], step);

    let explained = fixture.xtask(&["explain", "tails"]).ends_with(0);
    explained
        .says("1 caller waits for an answer\nit is blocked calling `heads` (starting)\n")
        .says(&format!("deadlock: {BOTH}"));
    let explained = fixture.xtask(&["explain", "heads", "--json"]).ends_with(0).json();
    assert_eq!(explained["deadlock"]["steps"][0], step);
    assert_eq!(explained["state"]["callers_waiting"], 1);

    let ran = fixture.xtask(&["wait", "--timeout", "0.1"]).ends_with(4);
    ran.says(&format!("; deadlock: {BOTH}"));
    up.says(SOON, &format!("; deadlock: {BOTH}"));
    up.signal(libc::SIGINT);
    up.wait(SOON).ends_with(130);
    fixture.is_quiet();
}

#[test]
fn start_timeout_names_a_deadlock() {
    let fixture = coin("8s");
    // Without the flag the first timeout would stop the other service before its own.
    let up = fixture.xtask(&["up", "-d", "--keep-going"]).ends_with(4);
    up.says("`heads` was not ready in time")
        .says(&format!("nothing yet; {BOTH}"))
        .says("`tails` was not ready in time");
    fixture.xtask(&["down"]).ends_with(0);
    fixture.is_quiet();
}

/// `lower` waits for `middle` alone, and its arguments contain the address of `upper`.
#[test]
fn foreground_reports_undeclared_connections_at_its_end() {
    let port = free_port();
    let serve = "--listen-env --http 200";
    let fixture = stand(&[
        ("upper", serve, &format!("port = {port}\n")),
        ("middle", serve, "port = 0\ndepends-on = [\"upper\"]\n"),
        (
            "lower",
            &format!("--call 127.0.0.1:{port} --ready-line called"),
            "depends-on = [\"middle\"]\nready = { log = \"called\" }\n",
        ),
    ])
    .write();
    let up = fixture.spawn(&["up"]);
    up.says(SOON, "lower  | called");
    let status = fixture.status();
    let lower = status["services"].as_array().unwrap().iter().find(|s| s["name"] == "lower");
    assert_eq!(lower.unwrap()["calls"][0]["to"], "upper", "{status:#}");
    up.signal(libc::SIGINT);
    up.wait(SOON)
        .ends_with(130)
        .says("`lower` has a connection to `upper`, which it does not declare")
        .says("hint: add `upper` to the `depends-on` or `uses` of `lower`");
    fixture.is_quiet();
}
