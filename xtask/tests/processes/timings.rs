//! How long a start took: the line after it, the page, the data, and what became slower.

use serde_json::Value;
use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, Ran};

/// `web` waits for `api`.
fn pair(boot: &str) -> Fixture {
    let api = format!("{SERVE} --boot {boot}");
    stand(&[("api", &api, "port = 0\n"), ("web", SERVE, "port = 0\ndepends-on = [\"api\"]\n")])
        .write()
}

fn start(fixture: &Fixture) -> Ran {
    let up = fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    up
}

#[test]
fn start_names_its_critical_path() {
    let fixture = pair("50");
    let up = fixture.xtask(&["up", "-d"]).ends_with(0);
    let line = up.stderr.lines().find(|line| line.contains("; longest: ")).unwrap();
    assert!(line.trim().starts_with("Ready in ") && line.contains("api ready"), "{line}");
    assert!(line.contains(" -> web ready"), "{line}");
    let json = fixture.xtask(&["timings", "--json"]).ends_with(0).json();
    let steps: Vec<&str> = json["critical_path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["service"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["api", "web"], "{json:#}");
    let [api, web] = [0, 1].map(|index| json["services"][index].clone());
    let ms = |service: &Value, key: &str| service[key].as_u64().unwrap();
    assert!(ms(&api, "ready_ms") - ms(&api, "started_ms") >= 50, "{json:#}");
    assert!(ms(&web, "started_ms") + 2 >= ms(&api, "ready_ms"), "{json:#}");
    // Nothing was started, so there is nothing to measure.
    let again = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(!again.stderr.contains("longest"), "{again}");
}

#[test]
fn page_is_written_by_flag_and_by_command() {
    let fixture = pair("0");
    let none = fixture.xtask(&["timings"]).ends_with(7);
    none.says("no start of stack `dev` was measured");
    let up = fixture.xtask(&["up", "-d", "--timings"]).ends_with(0);
    let line = up.stderr.lines().find(|line| line.contains("file://")).unwrap();
    let page = std::fs::read_to_string(line.split("file://").nth(1).unwrap()).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains(">web<"), "{page}");
    let file = fixture.out().join("start.html");
    fixture.xtask(&["timings", "--output", file.to_str().unwrap()]).ends_with(0);
    assert!(std::fs::read_to_string(&file).unwrap().contains("Critical path"));
    let failed = fixture.xtask(&["timings", "--output", "/missing/start.html"]).ends_with(1);
    failed.says("failed to write `/missing/start.html`");
}

#[test]
fn json_events_contain_the_timings() {
    let fixture = pair("0");
    let up = fixture.xtask(&["up", "-d", "--json"]).ends_with(0);
    let events: Vec<Value> =
        up.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let ready = names.iter().position(|name| *name == "ready").unwrap();
    assert_eq!(names[ready + 1], "timings", "{names:?}");
    assert_eq!(events[ready + 1]["services"][1]["service"], "web");
}

#[test]
fn slower_start_names_the_slower_service() {
    let fixture = pair("0");
    for _ in 0..3 {
        let up = start(&fixture);
        assert!(!up.stderr.contains("Slower"), "{up}");
    }
    fixture.edit("Cargo.toml", "\"--boot\",\"0\"", "\"--boot\",\"5000\"");
    let slower = start(&fixture);
    slower.says("Slower than the starts before: api was ready after ");
}

#[test]
fn damaged_history_is_replaced() {
    let fixture = pair("0");
    start(&fixture);
    let find = |folder: std::path::PathBuf| std::fs::read_dir(folder).unwrap().flatten();
    let mut stacks =
        find(fixture.state()).map(|workspace| workspace.path().join("dev/starts.json"));
    let file = stacks.find(|path| path.exists()).unwrap();
    std::fs::write(&file, "{\"starts\": [").unwrap();
    fixture.xtask(&["timings"]).ends_with(7);
    start(&fixture);
    fixture.xtask(&["timings", "--json"]).ends_with(0).says("critical_path");
}
