//! Builds: services start as their programs are linked, and what was accepted keeps
//! being used whatever happens to the files.

use std::time::{Duration, Instant};

use crate::support::{Fixture, PackageSpec, Running, SERVICE, eventually, get_at};

/// How long the slow crate takes to build, in seconds.
const SLOW_S: u64 = 5;

fn two(front: PackageSpec) -> Fixture {
    Fixture::new("two")
        .package(PackageSpec::new("back", "stockroom").bin("stockd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"stock\"\nport = 0\nsocket-activation = true\n",
        ))
        .package(front)
        .write()
}

fn front() -> PackageSpec {
    PackageSpec::new("desk", "shopfront")
        .bin("frontd", SERVICE)
        .metadata("[package.metadata.service]\nname = \"front\"\nport = 0\n")
}

/// When the line with all these texts appears.
fn appears(up: &Running, texts: &[&str]) -> Instant {
    eventually(Duration::from_secs(90), &format!("a line with {texts:?}"), || {
        let said = up.said().stdout;
        let line = said.lines().any(|line| texts.iter().all(|text| line.contains(text)));
        line.then(Instant::now)
    })
}

#[test]
fn a_service_is_ready_long_before_the_slowest_crate_is_built() {
    let fixture = two(front());
    fixture.file(
        "desk/build.rs",
        &format!("fn main() {{ std::thread::sleep(std::time::Duration::from_secs({SLOW_S})) }}\n"),
    );
    let up = fixture.spawn(&["up", "-d", "--json"]);
    let ready = appears(&up, &["\"event\":\"phase\"", "\"stock\"", "\"ready\""]);
    let ended = appears(&up, &["\"event\":\"build-ended\""]);
    up.wait(Duration::from_secs(60)).ends_with(0);
    let before = ended.saturating_duration_since(ready);
    assert!(before > Duration::from_secs(SLOW_S - 2), "only {before:?} before the build ended");
}

#[test]
fn a_failing_rebuild_leaves_what_runs_alone_and_restarts_use_the_accepted_program() {
    let fixture = two(front());
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = fixture.service("front");
    fixture.edit("desk/src/bin/frontd.rs", "fn main() {", "fn main() { oranges();");

    fixture.xtask(&["up", "-d"]).ends_with(3).says("oranges");
    assert_eq!(fixture.service("front")["pid"], before["pid"]);

    fixture.xtask(&["restart", "front"]).ends_with(0);
    let after = fixture.service("front");
    assert_eq!(after["phase"], "ready");
    assert_ne!(after["pid"], before["pid"]);
}

#[test]
fn a_cleaned_target_folder_hurts_no_running_stack() {
    let fixture = two(front());
    fixture.xtask(&["up", "-d"]).ends_with(0);
    std::fs::remove_dir_all(fixture.root().join("target")).unwrap();
    fixture.xtask(&["restart", "front"]).ends_with(0);
    let front = fixture.service("front");
    assert_eq!(get_at(front["url"].as_str().unwrap(), "/").unwrap().body, front["pid"].to_string());
}
