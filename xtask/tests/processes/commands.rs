//! Commands on a running stack, their JSON, and settings from the command line.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use xtask_test_support::stand::{on_a_terminal, phase, phase_if_any, stand};
use xtask_test_support::{Fixture, JOB, PackageSpec, SERVICE, eventually, get_at, misbehave};

/// How long what takes a moment may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

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
fn up_reports_events_as_one_json_object_a_line() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    let up = || {
        let ran = fixture.xtask(&["up", "-d", "--json"]).ends_with(0);
        let lines = ran.stdout.lines();
        let events: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        (events, ran)
    };
    fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
        events.iter().filter(|event| event["event"] == kind).collect()
    }
    let all = json!(["stock", "front", "shelves"]);
    let (events, ran) = up();
    assert_eq!(events[0]["event"], "plan", "{ran}");
    assert_eq!(events[0]["services"].as_array().unwrap().len(), 3, "{ran}");
    assert_eq!(events.last().unwrap()["event"], "end", "{ran}");
    assert_eq!(events.last().unwrap()["exit_code"], 0, "{ran}");
    assert_eq!(of_kind(&events, "linked").len(), 3, "{ran}");
    assert_eq!(of_kind(&events, "build-ended")[0]["ok"], true, "{ran}");
    assert_eq!(of_kind(&events, "ready")[0]["services"][0]["phase"], "ready", "{ran}");
    let phases = of_kind(&events, "phase");
    let ready = phases.iter().filter(|event| event["phase"] == "ready");
    let ready: Vec<&Value> = ready.map(|event| &event["service"]).collect();
    assert_eq!(ready, ["stock", "front"], "{ran}");

    let (events, again) = up();
    let running = of_kind(&events, "ready")[0]["already_running"].as_array().unwrap();
    assert!(all.as_array().unwrap()[..2].iter().all(|name| running.contains(name)), "{again}");
}

#[test]
fn command_line_beats_shell_and_shell_beats_file() {
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
            command.env("COLOUR", "blue").env("STOCK_URL", "http://elsewhere");
        },
    );
    let up = up.wait(Duration::from_secs(90)).ends_with(0);
    assert!(up.stderr.contains("COLOUR"), "no notice of the shell's value\n{up}");
    assert_eq!(ask(&fixture, "front", "/args"), "--own\n--more\nx");
    assert_eq!(ask(&fixture, "front", "/env/COLOUR"), "blue");
    assert_eq!(ask(&fixture, "front", "/env/SIZE"), "large");
    assert_eq!(ask(&fixture, "front", "/env/SHAPE"), "square");
    assert_eq!(ask(&fixture, "front", "/env/TASTE"), "sweet");
    assert_eq!(ask(&fixture, "stock", "/env/TASTE"), "sweet");
    let stock = fixture.service("stock")["url"].as_str().unwrap().to_owned();
    assert_eq!(ask(&fixture, "front", "/env/STOCK_URL"), stock);
    let status = fixture.status();
    assert_eq!(status["services"].as_array().unwrap().len(), 2, "the job was not requested");
}

#[test]
fn down_stops_dependents_unless_only_is_given() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    fixture.xtask(&["down"]).ends_with(0).says("nothing is running");
    fixture.xtask(&["status"]).ends_with(7);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let phases = || [phase(&fixture, "stock"), phase(&fixture, "front")];
    fixture.xtask(&["down", "--only", "stock"]).ends_with(0);
    assert_eq!(phases(), ["stopped", "ready"]);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(phases(), ["ready", "ready"]);
    fixture.xtask(&["down", "stock"]).ends_with(0);
    assert_eq!(phases(), ["stopped", "stopped"]);
    fixture.xtask(&["down", "missing"]).ends_with(2).says("front, ").says("stock");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(phases(), ["ready", "ready"]);
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(fixture.processes(), []);
}

#[test]
fn down_deletes_data_only_on_request() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    fixture.xtask(&["up", "-d", "stock"]).ends_with(0);
    let plan = fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0).json();
    let data = PathBuf::from(plan["data"].as_str().unwrap());
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("precious"), "x").unwrap();
    fixture.xtask(&["down"]).ends_with(0);
    assert!(data.join("precious").exists());
    fixture.xtask(&["down", "--data"]).ends_with(0).says("1 files, 1 bytes");
    assert!(!data.exists());
}

#[test]
fn job_runs_once_a_stack_and_on_restart() {
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
fn restart_and_wait_report_the_services_they_concern() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = fixture.status();
    let pids = || ["stock", "front"].map(|name| fixture.service(name)["pid"].clone());
    let [stock, front] = pids();
    fixture.xtask(&["restart", "stock"]).ends_with(0).says("Restarted stock");
    assert_ne!(pids()[0], stock);
    assert_eq!(pids()[1], front);
    let restarted = fixture.xtask(&["restart", "--json", "stock"]).ends_with(0).json();
    assert_eq!(restarted["supervisor_pid"], before["supervisor_pid"]);
    let services = restarted["services"].as_array().unwrap();
    let [stock] = &services[..] else { panic!("not one service: {services:?}") };
    assert_eq!((&stock["name"], &stock["run"]), (&"stock".into(), &3.into()));
    let waited = fixture.xtask(&["wait", "--json"]).ends_with(0).json();
    let waited = waited["services"].as_array().unwrap();
    assert_eq!(waited.len(), 3);
    let is_stock =
        |service: &Value| ["name", "run", "pid"].iter().all(|key| service[key] == stock[key]);
    assert!(waited.iter().any(is_stock), "{waited:?}");
    fixture.xtask(&["wait", "missing"]).ends_with(2);
}

#[test]
fn wait_gives_up_after_its_timeout() {
    let never = ("never", "", "ready = { log = \"never printed\" }\nstart-timeout = \"100s\"\n");
    let fixture = stand(&[never]).write();
    let up = fixture.spawn(&["up", "-d"]);
    eventually(PATIENCE, "it starts", || {
        (phase_if_any(&fixture, "never")? == "starting").then_some(())
    });
    fixture.xtask(&["wait", "--timeout", "0.2"]).ends_with(4).says("never");
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130);
    assert_eq!(fixture.processes(), []);
}

#[test]
fn logs_remain_after_the_stack_stopped() {
    let flags = ["--ready-line", "\x1b[2Jhello \x1b[31mred"];
    let command = serde_json::to_string(&[&[misbehave().to_str().unwrap()], &flags[..]].concat());
    let loud = format!("[workspace.metadata.services.loud]\ncommand = {}\n", command.unwrap());
    let fixture = stand(&[]).workspace(&loud).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    eventually(PATIENCE, "a line", || {
        fixture.xtask(&["logs"]).stdout.contains("hello").then_some(())
    });
    fixture.xtask(&["down"]).ends_with(0);
    let ran = fixture.xtask(&["logs", "loud", "-n", "1"]).ends_with(0);
    assert_eq!(ran.stdout, "loud | hello red\n", "{ran}");
    let line = fixture.xtask(&["logs", "--json"]).json();
    assert_eq!((&line["service"], &line["run"]), (&"loud".into(), &1.into()));
    fixture.xtask(&["logs", "missing"]).ends_with(2).says("loud");
}

#[test]
fn cargo_prints_colours_where_the_tool_does() {
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
fn commands_ignore_a_closed_output_pipe() {
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
fn detached_up_closes_its_pipes() {
    let fixture = shop();
    fixture.file("desk/.env", "");
    // This returns at the end of both pipes, which a supervisor could keep open.
    let output = fixture.command().args(["up", "-d"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fixture.xtask(&["wait", "front"]).ends_with(0);
    fixture.xtask(&["down", "--data"]).ends_with(0);
}
