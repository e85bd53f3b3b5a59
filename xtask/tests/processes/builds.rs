//! Builds: a service starts when its program is linked, and an accepted program stays in use
//! whatever happens to the files.

use std::time::Duration;

use xtask_test_support::{Fixture, PackageSpec, Running, SERVICE, eventually, get_at};

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
fn service_is_ready_while_another_crate_compiles() {
    let fixture = two(front());
    // The crate compiles until the test writes this file.
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
    assert!(!has_line(&up, &["\"event\":\"build-ended\""]), "the build has ended");
    std::fs::write(gate, "").unwrap();
    appears(&up, &["\"event\":\"build-ended\""]);
    up.wait(Duration::from_secs(60)).ends_with(0);
    assert_eq!(fixture.service("front")["phase"], "ready");
}

#[test]
fn failed_rebuild_keeps_runs_and_their_accepted_program() {
    let fixture = two(front());
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = fixture.service("front");
    fixture.edit("desk/src/bin/frontd.rs", "fn main() {", "fn main() { oranges();");

    fixture.xtask(&["up", "-d"]).ends_with(3).says("oranges");
    assert_eq!(fixture.service("front")["pid"], before["pid"]);
    assert_eq!(fixture.status()["state"], "ready");

    fixture.xtask(&["restart", "--no-build", "front"]).ends_with(0);
    let after = fixture.service("front");
    assert_eq!(after["phase"], "ready");
    assert_ne!(after["pid"], before["pid"]);
}

#[test]
fn cargo_clean_does_not_break_a_running_stack() {
    let fixture = two(front());
    fixture.xtask(&["up", "-d"]).ends_with(0);
    std::fs::remove_dir_all(fixture.root().join("target")).unwrap();
    fixture.xtask(&["restart", "--no-build", "front"]).ends_with(0);
    let front = fixture.service("front");
    assert_eq!(get_at(front["url"].as_str().unwrap(), "/").unwrap().body, front["pid"].to_string());
}

#[test]
fn no_build_starts_the_programs_of_the_last_build() {
    let fixture = two(front());
    let ran = fixture.xtask(&["up", "-d", "--no-build"]).ends_with(3).says("stockd");
    assert!(!ran.stderr.contains("Compiling"), "{ran}");
    assert_eq!(fixture.processes(), []);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let ran = fixture.xtask(&["up", "-d", "--no-build"]).ends_with(0);
    assert!(!ran.stderr.contains("Finished"), "{ran}");
    let dry = fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0).json();
    assert_eq!(dry["build"]["command"][0], "cargo", "{dry}");
    let dry = fixture.xtask(&["up", "--dry-run", "--no-build", "--json"]).ends_with(0).json();
    assert_eq!(dry["build"], serde_json::Value::Null, "{dry}");
}

#[test]
fn killed_client_leaves_an_interrupted_build() {
    let fixture = two(front());
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.file("desk/build.rs", "fn main() { loop { std::thread::park() } }\n");
    let up = fixture.spawn(&["up", "-d"]);
    eventually(Duration::from_secs(60), "the start of the build", || {
        (fixture.service("front")["unsettled"] == true).then_some(())
    });
    up.signal(libc::SIGKILL);
    let reason = eventually(Duration::from_secs(10), "the end of the build", || {
        let reason = fixture.service("front")["reason"].as_str()?.to_owned();
        reason.contains("interrupted").then_some(reason)
    });
    assert!(reason.contains("cargo xtask up --stack dev front"), "{reason}");
    let status = fixture.xtask(&["status"]).ends_with(0);
    assert!(!status.stdout.contains("could not be built"), "{status}");
}

#[test]
fn killed_cargo_is_named_with_a_way_out() {
    let fixture = two(front());
    // The parent of a build script is cargo.
    let kill = "fn main() {\n    let parent = std::os::unix::process::parent_id().to_string();\n    \
                std::process::Command::new(\"kill\").args([\"-9\", &parent]).status().unwrap();\n}\n";
    fixture.file("desk/build.rs", kill);
    let up = fixture.xtask(&["up", "-d"]).ends_with(3);
    up.says("cargo ended by signal 9 (SIGKILL)").says("hint: repeat the command");
}

#[test]
fn undeclared_profile_has_a_way_out() {
    let fixture = two(front());
    let up = fixture.xtask(&["up", "-d", "--profile", "quick"]).ends_with(3);
    up.says("hint: omit the profile, or declare it").says("`[profile.quick]`");
}
