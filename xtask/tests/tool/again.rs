//! A second `up`: what runs and is the right program is left alone.

use std::time::Duration;

use crate::stand::{SERVE, phase, stand};
use crate::support::{Fixture, PackageSpec, SERVICE, eventually, get_at};

/// How long anything beside other tests may take.
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
fn pids(fixture: &Fixture) -> Vec<(String, u64)> {
    let status = fixture.status();
    let services = status["services"].as_array().unwrap();
    let name = |service: &serde_json::Value| service["name"].as_str().unwrap().to_owned();
    services.iter().filter_map(|s| Some((name(s), s["pid"].as_u64()?))).collect()
}

#[test]
fn a_second_up_says_that_everything_runs_already_and_keeps_every_process() {
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
fn a_changed_program_is_replaced_and_the_other_one_stays() {
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
fn a_killed_service_comes_back_and_a_killed_supervisor_is_cleaned_up() {
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pids(&fixture);
    kill(before[0].1);
    eventually(Duration::from_secs(10), "a new run of `stock`", || {
        let after = pids(&fixture).into_iter().find(|(name, _)| name == "stock")?;
        (after.1 != before[0].1).then_some(())
    });

    kill(fixture.status()["supervisor_pid"].as_u64().unwrap());
    eventually(Duration::from_secs(5), "everything gone", || {
        fixture.processes().is_empty().then_some(())
    });
    fixture.xtask(&["up", "-d"]).ends_with(0).says("was killed");
    let url = fixture.service("front")["url"].as_str().unwrap().to_owned();
    assert!(get_at(&url, "/").is_some());
}

fn kill(pid: u64) {
    // SAFETY: the call takes two numbers; the process is one that the fixture started.
    assert_eq!(unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) }, 0);
}

/// It is not stopped, since the next `up` may want it again; but nobody forgets it.
#[test]
fn what_an_up_without_its_overlay_needs_no_more_is_named_once() {
    let on_store = "port = 0\n[workspace.metadata.services.front.with.big]\n\
                    depends-on = [\"store\"]\n";
    let fixture = stand(&[("front", SERVE, on_store), ("store", SERVE, "port = 0\n")])
        .workspace("[workspace.metadata.xtask]\ndefault = [\"front\"]\n")
        .write();
    let unused = "store: still running, but no longer needed; \
                  `cargo xtask down --stack dev store` stops it";
    let with = fixture.xtask(&["up", "-d", "--with", "big"]).ends_with(0);
    assert!(!with.stderr.contains("Unused"), "{with}");
    fixture.xtask(&["up", "-d"]).ends_with(0).says(unused);
    assert_eq!(phase(&fixture, "store"), "ready");
    let again = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(!again.stderr.contains("Unused"), "{again}");
    fixture.xtask(&["down", "--stack", "dev", "store"]).ends_with(0);
    assert_eq!(phase(&fixture, "store"), "stopped");
}

#[test]
fn who_watches_is_told_whether_the_stack_goes_with_another_up() {
    let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
    let watch = |words: &str| {
        let watching = fixture.spawn(&["up"]);
        watching.says(SOON, words);
        watching.signal(libc::SIGINT);
        watching.wait(SOON).ends_with(130);
        assert_eq!(phase(&fixture, "calm"), "ready");
    };
    let owner = fixture.spawn(&["up"]);
    owner.says(SOON, "SERVICE");
    watch("a stack that another `up` shuts down; Ctrl-C leaves it running");
    owner.signal(libc::SIGINT);
    owner.wait(SOON).ends_with(130);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    watch("a detached stack; Ctrl-C leaves it running");
}
