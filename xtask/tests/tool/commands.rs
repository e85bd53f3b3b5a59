//! Commands on a running stack, and settings from the command line.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;
use std::time::Duration;

use crate::stand::on_a_terminal;
use crate::support::{Fixture, JOB, PackageSpec, SERVICE, eventually, get_at};

fn shop() -> Fixture {
    Fixture::new("shop")
        .package(PackageSpec::new("back", "stockroom").bin("stockd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"stock\"\nport = 0\n",
        ))
        .package(PackageSpec::new("desk", "shopfront").bin("frontd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"front\"\nport = 0\ndepends-on = [\"stock\"]\n\
             args = [\"--own\"]\nenv = { COLOUR = \"red\", SIZE = \"small\" }\nenv-file = \".env\"\n",
        ))
        .package(PackageSpec::new("jobs", "fill-shelves").bin("filler", JOB).metadata(
            "[package.metadata.service]\nname = \"shelves\"\nkind = \"job\"\n\
             depends-on = [\"stock\"]\nenv = { JOB_FILE = \"${workspace.root}/shelves\" }\n",
        ))
        .stack("other")
        .write()
}

fn ask(fixture: &Fixture, service: &str, path: &str) -> String {
    let url = fixture.service(service)["url"].as_str().unwrap().to_owned();
    get_at(&url, path).unwrap().body
}

#[test]
fn settings_come_from_file_shell_and_command_line_in_that_order() {
    let fixture = shop();
    fixture.file("desk/.env", "# Ours.\nSIZE=\"large\"\nSHAPE=round\n");
    let up = fixture.spawn_with(
        &[
            "up",
            "-d",
            "front",
            "-e",
            "front:SHAPE=square",
            "-e",
            "TASTE=sweet",
            "--",
            "--more",
            "x",
        ],
        |command| {
            command.env("COLOUR", "blue").env("STOCK_URL", "http://nowhere");
        },
    );
    let up = up.wait(Duration::from_secs(90)).ends_with(0);
    assert!(up.stderr.contains("COLOUR"), "the shell's value is said\n{up}");
    assert_eq!(ask(&fixture, "front", "/args"), "--own\n--more\nx");
    assert_eq!(ask(&fixture, "front", "/env/COLOUR"), "blue");
    assert_eq!(ask(&fixture, "front", "/env/SIZE"), "large");
    assert_eq!(ask(&fixture, "front", "/env/SHAPE"), "square");
    assert_eq!(ask(&fixture, "front", "/env/TASTE"), "sweet");
    assert_eq!(ask(&fixture, "stock", "/env/TASTE"), "sweet");
    let stock = fixture.service("stock")["url"].as_str().unwrap().to_owned();
    assert_eq!(ask(&fixture, "front", "/env/STOCK_URL"), stock);
    let status = fixture.status();
    assert_eq!(status["services"].as_array().unwrap().len(), 2, "the job was not asked for");
}

#[test]
fn down_of_a_dependency_takes_its_dependents_down_unless_told_otherwise() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down", "--only", "stock"]).ends_with(0);
    assert_eq!(fixture.service("stock")["phase"], "stopped");
    assert_eq!(fixture.service("front")["phase"], "ready");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down", "stock"]).ends_with(0);
    assert_eq!(fixture.service("stock")["phase"], "stopped");
    assert_eq!(fixture.service("front")["phase"], "stopped");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(fixture.service("front")["phase"], "ready");
}

#[test]
fn a_job_runs_once_in_a_stacks_life_and_again_when_told() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    let lines = || fixture.text("shelves").lines().count();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(lines(), 1);
    fixture.xtask(&["restart", "shelves"]).ends_with(0);
    eventually(Duration::from_secs(10), "a second run", || (lines() == 2).then_some(()));
    fixture.xtask(&["down"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(lines(), 3);
}

/// Both print what `status --json` prints, of the services that they are about.
#[test]
fn programs_are_told_what_came_of_a_restart_and_of_a_wait() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    fixture.xtask(&["up", "-d", "stock", "shelves"]).ends_with(0);
    let before = fixture.status();
    let restarted = fixture.xtask(&["restart", "--json", "stock"]).ends_with(0).json();
    assert_eq!(restarted["supervisor_pid"], before["supervisor_pid"]);
    let services = restarted["services"].as_array().unwrap();
    let [stock] = &services[..] else { panic!("not one service: {services:?}") };
    assert_eq!((&stock["name"], &stock["run"]), (&"stock".into(), &2.into()));
    let waited = fixture.xtask(&["wait", "--json"]).ends_with(0).json();
    assert_eq!(waited["services"].as_array().unwrap().len(), 2);
    assert_eq!(waited["services"][0], *stock);
}

#[test]
fn cargo_has_colours_where_the_tool_has() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    let mut command = fixture.command();
    command.env("CI", "true").env_remove("CARGO_TERM_COLOR");
    let (mut child, mut terminal) = on_a_terminal(command, &["up", "-d", "stock"]);
    let mut shown = Vec::new();
    let mut part = [0; 4096];
    // The end of a terminal is an error.
    while let Ok(length @ 1..) = terminal.read(&mut part) {
        shown.extend_from_slice(&part[..length]);
    }
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("Finished") && !shown.contains('\x1b'), "{shown:?}");
    let always = fixture.xtask(&["up", "-d", "--color", "always"]).ends_with(0).stderr;
    let finished = always.lines().find(|line| line.contains("Finished")).unwrap();
    assert!(finished.contains('\x1b'), "{finished:?}");
}

#[test]
fn two_stacks_of_one_workspace_know_nothing_of_each_other() {
    let fixture = shop();
    fixture.file("desk/.env", "");
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
fn a_relative_folder_for_state_is_refused_with_the_way_out() {
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
fn a_folder_for_state_that_is_no_text_is_refused_before_anything_is_made() {
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
fn nobody_listening_to_the_output_is_no_mistake() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let lines: [&[&str]; 13] = [
        &["status"],
        &["status", "--json"],
        &["logs"],
        &["logs", "--json"],
        &["graph"],
        &["graph", "--json"],
        &["explain", "front"],
        &["check"],
        &["up", "--dry-run"],
        &["up", "-d"],
        &["up", "-d", "--json"],
        &["--help"],
        &["--version"],
    ];
    for args in lines {
        let mut child = fixture.command().args(args).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_detached_up_closes_its_pipes() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    // It returns when both pipes are at their end, which a supervisor could hold open.
    let output = fixture.command().args(["up", "-d"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let waited = fixture.xtask(&["wait", "front"]).ends_with(0);
    drop(waited);
    fixture.xtask(&["down", "--data"]).ends_with(0);
}
