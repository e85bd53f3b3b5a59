//! Two versions of the tool at one stack: what looks at it and stops it works, the rest names both.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};
use xtask_client::protocol::VERSION;
use xtask_test_support::Fixture;
use xtask_test_support::stand::tower;

/// The endpoint of the stack `dev`.
fn endpoint(fixture: &Fixture) -> PathBuf {
    let workspace = fs::read_dir(fixture.state()).unwrap().next().unwrap().unwrap().path();
    workspace.join("dev/supervisor.json")
}

fn socket(endpoint: &Path) -> PathBuf {
    let endpoint: Value = serde_json::from_slice(&fs::read(endpoint).unwrap()).unwrap();
    endpoint["socket"].as_str().unwrap().into()
}

/// Makes the supervisor of the stack look like that of a later version.
fn replace_version(fixture: &Fixture) {
    let endpoint = endpoint(fixture);
    let (real, later) = (socket(&endpoint), fixture.out().join("later"));
    let listener = UnixListener::bind(&later).unwrap();
    let mut value: Value = serde_json::from_slice(&fs::read(&endpoint).unwrap()).unwrap();
    value["socket"] = json!(later);
    fs::write(&endpoint, value.to_string()).unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(supervisor) = UnixStream::connect(&real) else { return };
            let requests = (client.try_clone().unwrap(), supervisor.try_clone().unwrap());
            thread::spawn(move || forward(requests.0, requests.1, |_| {}));
            thread::spawn(move || forward(supervisor, client, age));
        }
    });
}

/// Forwards lines after a change, and closes the other end after the last one.
fn forward(from: UnixStream, mut to: UnixStream, change: impl Fn(&mut Value)) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let mut value = serde_json::from_str(&line).unwrap();
        change(&mut value);
        if writeln!(to, "{value}").is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// An answer as a later version may write it.
fn age(answer: &mut Value) {
    let reply = &mut answer["reply"];
    if reply["type"] == "snapshot" {
        reply["tool"] = json!({ "version": "9.8.7", "protocol": VERSION + 1, "commit": "abc" });
        reply["weather"] = json!({ "sunny": true });
    }
}

#[test]
fn other_version_can_be_seen_and_stopped() {
    let fixture = tower("", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    replace_version(&fixture);
    assert_eq!(fixture.status()["tool"]["version"], "9.8.7");
    fixture.xtask(&["logs", "base"]).ends_with(0);
    let own = format!("version {} (protocol {VERSION})", env!("CARGO_PKG_VERSION"));
    for args in [&["up", "-d"][..], &["restart", "base", "--no-build"]] {
        let refused = fixture.xtask(args).ends_with(1);
        let theirs = format!("version 9.8.7 (protocol {})", VERSION + 1);
        refused.says(&theirs).says(&own).says("`cargo xtask down` stops the stack");
    }
    fixture.xtask(&["down", "top"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0).says("stack `dev`");
    fixture.is_quiet();
}

#[test]
fn supervisor_serves_clients_of_other_versions() {
    let fixture = tower("", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let mut writer = UnixStream::connect(socket(&endpoint(&fixture))).unwrap();
    let mut reader = BufReader::new(writer.try_clone().unwrap());
    let mut ask = |request: Value| -> Value {
        let call = json!({ "version": VERSION + 1, "tool": "9.8.7", "id": 1, "request": request });
        writeln!(writer, "{call}").unwrap();
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["reply"].take()
    };
    assert_eq!(ask(json!({ "type": "status", "depth": 3 }))["state"], "ready");
    let refused = ask(json!({ "type": "restart", "services": ["base"] }))["message"].to_string();
    for part in ["version 9.8.7 (protocol", &format!("(protocol {VERSION})"), "down` stops"] {
        assert!(refused.contains(part), "{refused}");
    }
    ask(json!({ "type": "shutdown", "now": false }));
    fixture.is_quiet();
}

#[test]
fn down_stops_a_version_with_unknown_answers() {
    let fixture = tower("", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let listener = UnixListener::bind(fixture.out().join("strange")).unwrap();
    let endpoint = endpoint(&fixture);
    let mut value: Value = serde_json::from_slice(&fs::read(&endpoint).unwrap()).unwrap();
    value["socket"] = json!(fixture.out().join("strange"));
    fs::write(&endpoint, value.to_string()).unwrap();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut line = String::new();
            let _ = BufReader::new(client.try_clone().unwrap()).read_line(&mut line);
            let _ = writeln!(client, "{}", json!({ "id": 1, "reply": { "type": "poem" } }));
        }
    });
    fixture.xtask(&["down"]).ends_with(0).says("which has another version");
    fixture.is_quiet();
}
