//! Starts in containers that take long, and how they end. The engine is a script, because a real
//! engine cannot be slow on demand.

use std::time::{Duration, Instant};

use xtask_client::StackPaths;

use super::engine::Made;
use super::script::Script;
use super::stacks::shop;
use xtask_test_support::{Fixture, PackageSpec, engine};

const PATIENCE: Duration = Duration::from_secs(60);

/// How long the service may take to get ready.
const START: Duration = Duration::from_secs(2);

/// A service of an image, which is ready when something can be run in it.
pub(super) fn safe() -> Fixture {
    Fixture::new("vault").package(PackageSpec::new("idle", "idle").lib("")).workspace(&format!(
        "[workspace.metadata.services.safe]\nimage = \"registry.invalid/safe:1\"\nport = 7070\n\
         start-timeout = \"{}s\"\nready = {{ command = [\"true\"] }}\n",
        START.as_secs()
    ))
}

fn paths(fixture: &Fixture) -> StackPaths {
    let workspace = xtask_client::workspace_name(&fixture.root());
    StackPaths::at(fixture.state().join(workspace).join("dev"))
}

/// What the supervisor complained of.
fn complaints(fixture: &Fixture) -> String {
    std::fs::read_to_string(paths(fixture).supervisor_log()).unwrap()
}

#[test]
fn stop_ends_a_start_during_container_creation() {
    let fixture = safe().write();
    let engine = Script::pretending(&fixture);
    engine.hold("create", true);
    let up = engine.spawn(&fixture, &["up", "safe", "--ports", "auto"]);
    engine.until_told("create");
    up.signal(libc::SIGINT);
    let up = up.wait(PATIENCE).ends_with(130);
    assert!(up.stderr.contains("Stopped safe"), "{up}");
    assert_eq!(complaints(&fixture), "");
    assert_eq!(engine.told("start"), [""; 0]);
    assert_eq!(engine.told("rm").len(), 1, "what it may have made by now");

    // An engine may obey what is gone: the next command looks for it, whichever it is.
    let note = paths(&fixture).engine_record();
    assert!(note.exists());
    let looks = engine.told("ps").len();
    // With another engine, the record stays.
    let other = fixture.xtask(&["status"]).ends_with(7);
    other.says("they belong to the engine `").says("XTASK_ENGINE=");
    assert!(note.exists());
    engine.spawn(&fixture, &["status"]).wait(PATIENCE).ends_with(7);
    assert_eq!(engine.told("ps").len(), looks + 1);
    assert!(!note.exists());
}

#[test]
fn stop_ends_the_start_without_engine_cleanup() {
    let fixture = safe().write();
    let engine = Script::pretending(&fixture);
    engine.hold("create", true);
    engine.hold("rm", true);
    let up = engine.spawn(&fixture, &["up", "safe", "--ports", "auto"]);
    engine.until_told("create");
    up.signal(libc::SIGINT);
    let up = up.wait(PATIENCE).ends_with(130);
    assert!(up.stderr.contains("Stopped safe"), "{up}");
    let complaints = complaints(&fixture);
    assert!(complaints.contains("may be left: the engine takes too long"), "{complaints}");
}

#[test]
fn leftovers_of_a_refused_start_are_removed() {
    let fixture = safe().write();
    let engine = Script::pretending(&fixture);
    engine.fail("create", true);
    let up = engine.spawn(&fixture, &["up", "safe", "--ports", "auto"]);
    let up = up.wait(PATIENCE).ends_with(4);
    assert!(up.stderr.contains("create is refused"), "{up}");
    assert_eq!(engine.told("rm").len(), engine.told("create").len());
    assert_eq!(complaints(&fixture), "");
}

#[test]
fn image_pull_does_not_use_the_start_timeout() {
    let fixture = safe().write();
    let engine = Script::pretending(&fixture);
    engine.hold("pull", true);
    let up = engine.spawn(&fixture, &["up", "safe", "-d", "--ports", "auto"]);
    engine.until_told("pull");
    let since = Instant::now();
    while since.elapsed() < START * 3 / 2 {
        let safe = fixture.service("safe");
        assert_eq!(safe["phase"], "starting", "{safe:#}");
    }
    let safe = fixture.service("safe");
    assert_eq!(safe["status"], "pulling image `registry.invalid/safe:1`", "{safe:#}");
    engine.hold("pull", false);
    up.wait(PATIENCE).ends_with(0);
    assert!(fixture.service("safe")["status"].is_null());
    fixture.xtask(&["restart", "safe"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(engine.told("pull").len(), 1, "it is here now");
    let created = engine.told("create");
    assert!(created.iter().all(|line| line.contains(" --pull=never ")), "{created:?}");
}

#[test]
fn stop_ends_a_start_during_the_pull() {
    let fixture = safe().write();
    let engine = Script::pretending(&fixture);
    engine.hold("pull", true);
    let up = engine.spawn(&fixture, &["up", "safe", "-d", "--ports", "auto"]);
    engine.until_told("pull");
    fixture.xtask(&["down"]).ends_with(0);
    up.wait(PATIENCE);
    assert_eq!(complaints(&fixture), "");
    assert_eq!(engine.told("create"), [""; 0]);
}

#[test]
fn start_timeout_names_a_silent_engine() {
    let fixture = safe().write();
    let engine = Script::pretending(&fixture);
    engine.fail("container", true);
    let up = engine.spawn(&fixture, &["up", "safe", "-d", "--ports", "auto"]);
    let up = up.wait(PATIENCE).ends_with(4);
    assert!(up.stderr.contains("its container does not run yet: `docker container"), "{up}");
    assert!(up.stderr.contains("container is refused"), "{up}");
}

#[test]
fn failed_removal_is_reported_and_retried() {
    let fixture = safe().write();
    let engine = Script::pretending(&fixture);
    engine.spawn(&fixture, &["up", "safe", "-d", "--ports", "auto"]).wait(PATIENCE).ends_with(0);
    engine.fail("network", true);
    let down = fixture.xtask(&["down"]).ends_with(0);
    let way_out = "; start the engine; any `cargo xtask` command tries again";
    let left = "containers or networks of stack `dev` may be left: ";
    let down = down.says(left).says(&format!("network is refused{way_out}"));
    assert!(!down.stderr.contains("ps is refused"), "{down}");
    engine.fail("ps", true);
    let again = engine.spawn(&fixture, &["status"]).wait(PATIENCE).ends_with(7);
    again.says(left).says(&format!("ps is refused{way_out}"));
    engine.fail("ps", false);
    engine.fail("network", false);
    let last = engine.spawn(&fixture, &["status"]).wait(PATIENCE).ends_with(7);
    assert!(!last.stderr.contains("may be left"), "{last}");
    assert!(!paths(&fixture).engine_record().exists());
}

#[test]
fn next_trial_starts_without_old_data() {
    let shell = |name: &str, script: &str, more: &str| {
        let command = serde_json::to_string(&["sh", "-c", script]).unwrap();
        format!("[workspace.metadata.services.{name}]\ncommand = {command}\n{more}\n")
    };
    let reads = "test -e ${stack.data}/stored && echo found && exec sleep 60";
    let reader =
        "depends-on = [\"store\", \"safe\"]\nready = { log = \"found\" }\nrestart = \"no\"";
    let fixture = safe()
        .workspace(&shell("store", "echo > ${stack.data}/stored", "kind = \"job\""))
        .workspace(&shell("reader", reads, reader))
        .write();
    let engine = Script::pretending(&fixture);
    engine.fail("ps", true);
    let tried = engine.spawn(&fixture, &["verify-deps", "reader", "--json"]);
    let tried = tried.wait(PATIENCE).ends_with(0).says("ps is refused");
    let edges = &tried.json()["services"][0]["dependencies"];
    let store = edges.as_array().unwrap().iter().find(|edge| edge["on"] == "store").unwrap();
    assert_eq!(store["verdict"], "needed", "{tried}");

    let workspace = paths(&fixture).folder().parent().unwrap().to_owned();
    let stacks = std::fs::read_dir(workspace).unwrap().map(|entry| entry.unwrap().path());
    let folder = stacks.into_iter().find(|path| path.is_dir()).unwrap();
    let left = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["engine.json", "lock"], "what the next command needs");
    engine.fail("ps", false);
    engine.spawn(&fixture, &["status"]).wait(PATIENCE).ends_with(7);
    assert!(!folder.join("engine.json").exists());
}

#[test]
fn local_image_is_never_pulled() {
    let fixture = shop("registry").write();
    let Some(made) = Made::by(&fixture) else { return };
    let script = Script::before(&fixture, engine().unwrap());
    let up = script.spawn(&fixture, &["up", "front", "-d", "--containers"]);
    up.wait(PATIENCE).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let ordered = [script.told("create"), script.told("run")];
    assert_eq!(ordered.each_ref().map(Vec::len), [2, 2], "containers, and looks at new images");
    for line in ordered.iter().flatten() {
        assert!(line.contains(" --pull=never "), "{line}");
    }
    assert_eq!(script.told("pull"), [""; 0]);
    drop(made);
}

#[test]
fn no_argument_contains_a_variable() {
    let fixture = safe()
        .workspace(
            "env = { API_TOKEN = \"told-1\", DOCKER_PASSWORD = \"told-2\", \
             HTTP_PROXY = \"http://u:told-3@proxy.invalid:1\" }\n",
        )
        .write();
    let engine = Script::pretending(&fixture);
    engine.hold("create", true);
    let up = engine.spawn(&fixture, &["up", "safe", "--ports", "auto"]);
    engine.until_told("create");
    let told = engine.told("create").join("\n");
    assert!(!told.contains("told-"), "{told}");
    assert!(told.contains("--env=API_TOKEN ") && told.contains("--env-file=/dev/stdin "), "{told}");
    let lines = "DOCKER_PASSWORD=told-2\nHTTP_PROXY=http://u:told-3@proxy.invalid:1\n";
    assert_eq!(engine.input(), lines);
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130);
}
