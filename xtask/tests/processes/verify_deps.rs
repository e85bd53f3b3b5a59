//! `verify-deps`: what is declared and not needed, needed and not declared, or enough.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually, free_port, misbehave};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(60);

/// What was found about one service.
#[track_caller]
fn verified<'a>(found: &'a Value, service: &str) -> &'a Value {
    let mut services = found["services"].as_array().unwrap().iter();
    services.find(|one| one["service"] == service).unwrap_or_else(|| panic!("{found:#}"))
}

/// Nothing runs, and no stack has left anything.
#[track_caller]
fn is_clean(fixture: &Fixture) {
    fixture.is_quiet();
    let workspaces = fs::read_dir(fixture.state()).unwrap().flatten();
    let left: Vec<_> =
        workspaces.flat_map(|entry| fs::read_dir(entry.path()).unwrap().flatten()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn unneeded_dependency_is_proposed_as_uses() {
    let package = |name: &str, more: &str| {
        let metadata = format!("[package.metadata.service]\nport = 0\n{more}");
        PackageSpec::new(name, name).bin(name, SERVICE).metadata(&metadata)
    };
    let fixture = Fixture::new("lazy")
        .package(package("back", ""))
        .package(package("front", "depends-on = [\"back\"]\n"))
        .write();
    let ran = fixture.xtask(&["verify-deps"]).ends_with(0);
    assert_eq!(ran.stderr.matches("Finished").count(), 1, "one build for all\n{ran}");
    let ran = ran.says("candidate: `front` becomes ready without `back` (front/Cargo.toml:");
    ran.says("hint: in `uses`, `front` gets the address of `back` without waiting");

    let found = fixture.xtask(&["verify-deps", "front", "--json"]).ends_with(0).json();
    assert_eq!(found["services"].as_array().unwrap().len(), 1, "{found:#}");
    let front = verified(&found, "front");
    assert_eq!((&front["ready"], &front["undeclared"]), (&json!(true), &json!([])), "{found:#}");
    let edge = &front["dependencies"][0];
    assert_eq!((&edge["on"], &edge["verdict"]), (&json!("back"), &json!("unneeded")), "{found:#}");
    is_clean(&fixture);
}

#[test]
fn needed_dependency_reports_its_effect() {
    let needy = "--call ${base.host}:${base.port} --ready-line called";
    let fixture = stand(&[
        ("base", SERVE, "port = 0\n"),
        ("needy", needy, "depends-on = [\"base\"]\nready = { log = \"called\" }\n"),
        ("blind", "", "depends-on = [\"base\"]\n"),
    ])
    .write();
    let ran = fixture.xtask(&["verify-deps"]).ends_with(0);
    assert!(!ran.stdout.contains("candidate"), "{ran}");
    ran.says("not ready: exited with status 1")
        .says("not tried: it has no probe, so it is ready as soon as it runs");
    let found = fixture.xtask(&["verify-deps", "--json"]).ends_with(0).json();
    assert_eq!(verified(&found, "needy")["dependencies"][0]["verdict"], "needed", "{found:#}");
    assert_eq!(verified(&found, "blind")["dependencies"][0]["verdict"], "not-tried", "{found:#}");
    is_clean(&fixture);
}

/// `caller` waits for `between` alone, and reads in a file where `hidden` is.
fn with_a_hidden_call() -> Fixture {
    let program = misbehave().display().to_string();
    let shell = |name: &str, script: &str, more: &str| {
        let script = script.replace("PROGRAM", &program);
        let command = serde_json::to_string(&["sh", "-c", &script]).unwrap();
        format!("[workspace.metadata.services.{name}]\ncommand = {command}\n{more}\n")
    };
    let hidden = "echo $$PORT > hidden.port; exec PROGRAM --listen-env --http 200";
    let caller = "exec PROGRAM --call 127.0.0.1:$$(cat hidden.port) --ready-line called";
    let ready = "depends-on = [\"between\"]\nready = { log = \"called\" }";
    stand(&[("between", SERVE, "port = 0\ndepends-on = [\"hidden\"]\n")])
        .workspace(&shell("hidden", hidden, "port = 0"))
        .workspace(&shell("caller", caller, ready))
        .package(PackageSpec::new("checks", "checks").lib("#[test]\nfn passes() {}\n"))
        .workspace("[workspace.metadata.xtask]\ne2e = \"checks\"\n")
        .write()
}

const HIDDEN: &str = "warning: `caller` has a connection to `hidden`, which it does not declare\n  \
     hint: add `hidden` to the `depends-on` or `uses` of `caller`\n";

#[test]
fn undeclared_connection_is_a_warning() {
    let fixture = with_a_hidden_call();
    let ran = fixture.xtask(&["verify-deps", "caller", "--json"]).ends_with(0);
    assert_eq!(verified(&ran.json(), "caller")["undeclared"], json!(["hidden"]), "{ran}");
    ran.says(HIDDEN);
    is_clean(&fixture);
}

#[test]
fn tests_report_undeclared_connections() {
    let fixture = with_a_hidden_call();
    let ran = fixture.xtask(&["test-e2e", "--json"]).ends_with(0);
    let call = json!([{ "from": "caller", "to": "hidden", "state": "accepted" }]);
    assert_eq!(ran.json()["undeclared"], call, "{ran}");
    ran.says(HIDDEN);
    is_clean(&fixture);
}

#[test]
fn service_with_an_undeclared_need_fails_alone() {
    let port = free_port();
    let caller = format!("--call 127.0.0.1:{port} --ready-line called");
    let fixture = stand(&[
        ("hidden", SERVE, &format!("port = {port}\n")),
        ("caller", &caller, "restart = \"no\"\nready = { log = \"called\" }\n"),
    ])
    .write();
    let ran = fixture.xtask(&["verify-deps", "--json"]).ends_with(1);
    let found = ran.json();
    let caller = verified(&found, "caller");
    assert_eq!((&found["exit_code"], &caller["ready"]), (&json!(1), &json!(false)), "{ran}");
    assert_eq!(caller["failures"][0]["service"], "caller", "{ran}");
    assert_eq!(verified(&found, "hidden")["ready"], true, "{ran}");
    ran.says("error: `caller` does not become ready with its declared dependencies")
        .says("  `caller`: exited with status 1\n")
        .says(&format!("| cannot call 127.0.0.1:{port}"))
        .says("hint: add what `caller` needs to its `depends-on`");
    is_clean(&fixture);
}

#[test]
fn only_services_of_the_plan_are_verified() {
    let overlay = "[workspace.metadata.services.web.with.db]\ndepends-on = [\"db\"]\n";
    let fixture = stand(&[
        ("base", SERVE, "port = 0\n"),
        ("web", SERVE, &format!("port = 0\ndepends-on = [\"base\"]\n{overlay}")),
    ])
    .workspace("[workspace.metadata.services.db]\ncommand = [\"no-such-database\"]\n")
    .workspace("[workspace.metadata.xtask]\ndefault = [\"web\"]\n")
    .write();
    let ran = fixture.xtask(&["verify-deps", "--json"]).ends_with(0);
    let found = ran.json();
    let names: Vec<_> =
        found["services"].as_array().unwrap().iter().map(|one| &one["service"]).collect();
    assert_eq!(names, ["base", "web"], "{found:#}");

    // It is part of the plan, and its program is missing.
    let ran = fixture.xtask(&["verify-deps", "--with", "db"]).ends_with(1);
    let ran = ran.says("error: `web` cannot be tried\n  `db`: ").says("no-such-database");
    assert!(!ran.stderr.contains("depends-on"), "{ran}");
    is_clean(&fixture);
}

#[test]
fn interrupted_verification_leaves_nothing() {
    let fixture = stand(&[("never", "", "ready = { log = \"said\" }\nstart-timeout = \"600s\"\n")]);
    let fixture = fixture.write();
    for signal in [libc::SIGINT, libc::SIGKILL] {
        let verify = fixture.spawn(&["verify-deps"]);
        let runs =
            || fixture.processes().iter().any(|process| process.command.contains("misbehave"));
        eventually(SOON, "a try under way", || runs().then_some(()));
        verify.signal(signal);
        let ran = verify.wait(SOON);
        assert_eq!(ran.code, (signal == libc::SIGINT).then_some(130), "{ran}");
        eventually(SOON, "everything gone", || fixture.processes().is_empty().then_some(()));
    }
}
