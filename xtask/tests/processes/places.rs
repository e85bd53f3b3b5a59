//! Where a command finds the workspace, its state and the control socket.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, get_at};

/// How long one command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn shop() -> Fixture {
    stand(&[("stock", SERVE, "port = 0\n"), ("front", SERVE, "port = 0\n")]).stack("other").write()
}

#[test]
fn commands_work_from_subfolders_and_by_manifest_path() {
    let package = |name: &str| {
        PackageSpec::new(&format!("crates/{name}"), name)
            .bin(name, SERVICE)
            .metadata("[package.metadata.service]\nport = 0\n")
    };
    let fixture = Fixture::new("pair").package(package("back")).package(package("front")).write();
    let up = fixture.spawn_with(&["up", "-d"], |command| {
        command.current_dir(fixture.root().join("crates/back/src"));
    });
    up.wait(PATIENCE).ends_with(0);
    let manifest = fixture.root().join("crates/front/Cargo.toml").display().to_string();
    let status =
        fixture.spawn_with(&["status", "--json", "--manifest-path", &manifest], |command| {
            command.current_dir("/");
        });
    let status = status.wait(PATIENCE).ends_with(0);
    let services = status.json()["services"].clone();
    assert_eq!(services[1]["phase"], "ready", "{status}");
    let folder = get_at(services[0]["url"].as_str().unwrap(), "/cwd").unwrap().body;
    assert_eq!(folder, fixture.root().join("crates/back").display().to_string());
}

#[test]
fn two_stacks_of_a_workspace_are_independent() {
    let fixture = shop();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["up", "-d", "--stack", "other"]).ends_with(0);
    let dev = fixture.status();
    let other = fixture.xtask(&["status", "--json", "--stack", "other"]).ends_with(0).json();
    assert_ne!(dev["supervisor_pid"], other["supervisor_pid"]);
    assert_ne!(dev["services"][0]["url"], other["services"][0]["url"]);
    fixture.xtask(&["down"]).ends_with(0);
    fixture.xtask(&["status"]).ends_with(7);
    fixture.xtask(&["status", "--stack", "other"]).ends_with(0).says("front");
}

#[test]
fn relative_state_folder_is_refused_with_a_hint() {
    let fixture = shop();
    let status = fixture.spawn_with(&["status"], |command| {
        command.env("XTASK_STATE_DIR", "state");
    });
    let status = status.wait(Duration::from_secs(30)).ends_with(2);
    status
        .says("`XTASK_STATE_DIR` is `state`, which is not an absolute path")
        .says("hint: `export XTASK_STATE_DIR=\"$PWD/state\"`");
}

#[test]
fn non_utf8_state_folder_is_refused_before_any_change() {
    let fixture = shop();
    let folder = fixture.out().join(OsStr::from_bytes(b"caf\xe9"));
    for arguments in [&["up", "-d"][..], &["status"], &["down"]] {
        let refused = fixture.spawn_with(arguments, |command| {
            command.env("XTASK_STATE_DIR", &folder);
        });
        let refused = refused.wait(Duration::from_secs(30)).ends_with(2);
        refused
            .says("caf\u{fffd}`, is not UTF-8")
            .says("hint: set `XTASK_STATE_DIR` to an absolute path in UTF-8");
    }
    assert!(!folder.exists());
}

#[test]
fn control_socket_is_private_and_survives_malformed_input() {
    let fixture = shop();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let endpoint = find_endpoint(&fixture);
    let socket = PathBuf::from(endpoint["socket"].as_str().unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&socket) & 0o777, 0o600);
    assert_eq!(mode(socket.parent().unwrap()) & 0o777, 0o700);
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"\xff\xfe malformed\n").unwrap();
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    assert!(answer.contains("refused"), "{answer}");
    drop(stream);
    assert_eq!(fixture.status()["state"], "ready");
    fixture.xtask(&["down"]).ends_with(0);
    assert!(!socket.exists());
}

fn find_endpoint(fixture: &Fixture) -> Value {
    let workspaces = std::fs::read_dir(fixture.state()).unwrap().flatten();
    let path = workspaces
        .map(|entry| entry.path().join("dev/supervisor.json"))
        .find(|path| path.exists())
        .unwrap();
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
