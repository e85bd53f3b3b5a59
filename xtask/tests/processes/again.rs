//! A second `up`: it keeps each run whose program has not changed.

use std::time::Duration;

use xtask_test_support::stand::{SERVE, phase, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually, get_at, signal};

/// How long what takes a moment may take on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn pair() -> Fixture {
    let package = |name: &str, service: &str, more: &str| {
        PackageSpec::new(&format!("apps/{name}"), name).bin(name, SERVICE).metadata(&format!(
            "[package.metadata.service]\nname = \"{service}\"\nport = 0\n{more}"
        ))
    };
    Fixture::new("pair")
        .package(package("stockroom", "stock", ""))
        .package(package("shopfront", "front", "depends-on = [\"stock\"]\n"))
        .write()
}

/// The processes of those services that have one, dependencies first.
fn pids(fixture: &Fixture) -> Vec<(String, i32)> {
    let status = fixture.status();
    let services = status["services"].as_array().unwrap();
    let name = |service: &serde_json::Value| service["name"].as_str().unwrap().to_owned();
    services
        .iter()
        .filter_map(|s| Some((name(s), i32::try_from(s["pid"].as_i64()?).unwrap())))
        .collect()
}

#[test]
fn second_up_keeps_every_process() {
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pids(&fixture);
    assert_eq!(before.len(), 2);

    let again = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(format!("{again}").matches("already running").count(), 2, "{again}");
    assert_eq!(pids(&fixture), before);

    let elsewhere = fixture.spawn_with(&["up", "-d"], |command| {
        command.current_dir(fixture.root().join("apps/shopfront/src")).env("FOO", "1");
    });
    elsewhere.wait(Duration::from_secs(60)).ends_with(0).says("already running");
    assert_eq!(pids(&fixture), before);
}

#[test]
fn second_up_replaces_only_the_changed_program() {
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pids(&fixture);
    fixture.edit("apps/shopfront/src/bin/shopfront.rs", "\"listening\"", "\"listening now\"");

    fixture.xtask(&["up", "-d"]).ends_with(0);

    let after = pids(&fixture);
    assert_eq!(after[0], before[0], "stock stays");
    assert_ne!(after[1], before[1], "front is replaced");
    fixture.xtask(&["logs", "front"]).ends_with(0).says("listening now");
}

#[test]
fn killed_service_restarts_and_killed_supervisor_is_cleaned_up() {
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pids(&fixture);
    signal(before[0].1, libc::SIGKILL);
    eventually(Duration::from_secs(10), "a new run of `stock`", || {
        let after = pids(&fixture).into_iter().find(|(name, _)| name == "stock")?;
        (after.1 != before[0].1).then_some(())
    });

    signal(fixture.supervisor(), libc::SIGKILL);
    eventually(Duration::from_secs(5), "everything gone", || {
        fixture.processes().is_empty().then_some(())
    });
    fixture.xtask(&["up", "-d"]).ends_with(0).says("was killed");
    let url = fixture.service("front")["url"].as_str().unwrap().to_owned();
    assert!(get_at(&url, "/").is_some());
}

/// `up` does not stop such a service, because the next `up` may need it again.
#[test]
fn up_names_an_unneeded_service_once() {
    let on_store = "port = 0\n[workspace.metadata.services.front.with.big]\n\
                    depends-on = [\"store\"]\n";
    let fixture = stand(&[("front", SERVE, on_store), ("store", SERVE, "port = 0\n")])
        .workspace("[workspace.metadata.xtask]\ndefault = [\"front\"]\n")
        .write();
    let unused = "store: still running, but no longer needed; \
                  `cargo xtask down --stack dev store` stops it";
    let with = fixture.xtask(&["up", "-d", "--with", "big"]).ends_with(0);
    assert!(!with.stderr.contains("Unused"), "{with}");
    fixture.xtask(&["up", "-d", "--reset"]).ends_with(0).says(unused);
    assert_eq!(phase(&fixture, "store"), "ready");
    let again = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(!again.stderr.contains("Unused"), "{again}");
    fixture.xtask(&["down", "--stack", "dev", "store"]).ends_with(0);
    assert_eq!(phase(&fixture, "store"), "stopped");
}

#[test]
fn up_restarts_a_stack_that_is_stopping() {
    let fixture = stand(&[("slow", "--drain 1500", "")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = fixture.supervisor();
    let down = fixture.spawn(&["down"]);
    eventually(SOON, "a stopping stack", || {
        (fixture.status()["state"] == "stopping").then_some(())
    });
    fixture.xtask(&["up", "-d"]).ends_with(0).says("for the previous shutdown");
    down.wait(SOON).ends_with(0);
    assert_ne!(fixture.supervisor(), before);
}
