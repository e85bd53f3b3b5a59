//! Builds: services start as their programs are linked, and what was accepted keeps
//! being used whatever happens to the files.

use std::time::Duration;

use crate::support::{Fixture, PackageSpec, Running, SERVICE, eventually, get_at};

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

/// Waits for a line with all these texts.
fn appears(up: &Running, texts: &[&str]) {
    eventually(Duration::from_secs(90), &format!("a line with {texts:?}"), || {
        has_line(up, texts).then_some(())
    });
}

fn has_line(up: &Running, texts: &[&str]) -> bool {
    let said = up.said().stdout;
    said.lines().any(|line| texts.iter().all(|text| line.contains(text)))
}

#[test]
fn a_service_is_ready_while_a_slower_crate_is_still_being_built() {
    let fixture = two(front());
    // The crate takes as long as the test wants: until there is a file.
    let gate = fixture.out().join("gate");
    fixture.file(
        "desk/build.rs",
        &format!(
            "fn main() {{\n    for _ in 0..9_000 {{\n        \
             if std::path::Path::new({gate:?}).exists() {{ return }}\n        \
             std::thread::sleep(std::time::Duration::from_millis(10));\n    }}\n    \
             panic!(\"the gate stayed closed\");\n}}\n"
        ),
    );
    let up = fixture.spawn(&["up", "-d", "--json"]);
    appears(&up, &["\"event\":\"phase\"", "\"stock\"", "\"ready\""]);
    let url = fixture.service("stock")["url"].as_str().unwrap().to_owned();
    assert!(get_at(&url, "/").is_some(), "it serves");
    assert!(!has_line(&up, &["\"event\":\"build-ended\""]), "the build goes on");
    std::fs::write(gate, "").unwrap();
    appears(&up, &["\"event\":\"build-ended\""]);
    up.wait(Duration::from_secs(60)).ends_with(0);
    assert_eq!(fixture.service("front")["phase"], "ready");
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
