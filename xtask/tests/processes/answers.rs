//! What each command answers, prints and ends with.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use xtask_test_support::stand::{
    SERVE, on_a_terminal, phase, phase_if_any, pid, port, stand, tower,
};
use xtask_test_support::{Ran, alive, eventually, get};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(30);

fn lines(ran: &Ran) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{ran}"));
    ran.stdout.lines().map(parse).collect()
}

#[test]
fn status_lists_pid_address_and_time() {
    let fixture = tower("", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let status = fixture.status();
    assert_eq!(status["stack"], "dev");
    assert!(alive(status["supervisor_pid"].as_i64().unwrap().try_into().unwrap()));
    let services = status["services"].as_array().unwrap();
    assert_eq!(services.len(), 4);
    for service in services {
        assert_eq!(service["phase"], "ready", "{service:#}");
        assert!(service["name"].is_string() && service["ready_ms"].is_u64(), "{service:#}");
        assert_eq!(service["run"], 1, "{service:#}");
        assert!(alive(service["pid"].as_i64().unwrap().try_into().unwrap()));
        assert_eq!(service["url"].is_string(), service["name"] != "aside", "{service:#}");
    }
    let shown = fixture.xtask(&["status"]).ends_with(0);
    for service in services {
        shown.clone().says(service["name"].as_str().unwrap()).says(&service["pid"].to_string());
    }
}

#[test]
fn restart_keeps_the_address_and_other_runs() {
    let fixture = tower("", "");
    fixture.xtask(&["restart", "base"]).ends_with(7).says("cargo xtask up");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let of = |name| pid(&fixture, name);
    let before = ["base", "mid", "top", "aside"].map(of);
    let address = port(&fixture, "base");

    fixture.xtask(&["restart", "base", "aside"]).ends_with(0).says("base").says("aside");
    let after = ["base", "mid", "top", "aside"].map(of);
    assert_eq!(after[1..3], before[1..3], "dependents stay");
    assert!(after[0] != before[0] && after[3] != before[3], "{before:?} {after:?}");
    assert!(!alive(before[0]) && !alive(before[3]));
    assert_eq!(port(&fixture, "base"), address);
    assert_eq!(get(address, "/").unwrap().status, 200);

    let unknown = fixture.xtask(&["restart", "bass"]).ends_with(2);
    unknown.says("no service is called `bass`").says("`base`");
    let unknown = fixture.xtask(&["restart", "--no-build", "bass"]).ends_with(2);
    unknown.says("no service `bass`").says("did you mean `base`?");
}

#[test]
fn wait_ends_when_ready_or_timed_out() {
    let fixture = stand(&[
        ("base", SERVE, "port = 0\n"),
        ("slow", "--boot 600000 --listen-env", "port = 0\nstart-timeout = \"600s\"\n"),
        ("bad", "--exit-after 0 --code 3", "restart = \"no\"\nready = { notify = true }\n"),
    ])
    .write();
    fixture.xtask(&["wait"]).ends_with(7);
    let up = fixture.spawn(&["up", "--keep-going"]);
    eventually(SOON, "the stack", || phase_if_any(&fixture, "slow"));
    fixture.xtask(&["wait", "base"]).ends_with(0);
    let late = fixture.xtask(&["wait", "slow", "--timeout", "0.1"]).ends_with(4);
    late.says("slow").says("connection refused");
    fixture.xtask(&["wait", "bad"]).ends_with(4).says("exited with status 3");
    fixture.xtask(&["wait", "nobody"]).ends_with(2).says("no service `nobody`");
    fixture.xtask(&["wait", "--timeout", "soon"]).ends_with(2);
    fixture.xtask(&["wait", "--timeout", "-1"]).ends_with(2);
    fixture.xtask(&["down"]).ends_with(0);
    up.wait(SOON);
}

#[test]
fn logs_tell_silent_services_from_stopped_ones() {
    let fixture = stand(&[("quiet", "", "")]).write();
    fixture.xtask(&["logs", "quiet"]).ends_with(2).says("cargo xtask up");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["logs"]).ends_with(0).says("no output yet");
    fixture.xtask(&["logs", "quiet"]).ends_with(0).says("no output yet");
    let follow = fixture.spawn(&["logs", "-f", "tdoo"]);
    follow.says(SOON, "no such service");
    follow.signal(libc::SIGINT);
    follow.wait(SOON);
}

#[test]
fn logs_follow_and_outlive_the_stack() {
    let fixture = stand(&[
        ("talker", "--flood 30", ""),
        ("other", "--ready-line hello", "ready = { log = \"hello\" }\n"),
    ])
    .write();
    fixture.xtask(&["logs"]).ends_with(7);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let shown = |args: &[&str]| fixture.xtask(args).ends_with(0).stdout;
    eventually(SOON, "all lines", || {
        (shown(&["logs", "talker"]).lines().count() == 30).then_some(())
    });
    assert_eq!(shown(&["logs", "talker", "-n", "2"]).lines().count(), 2);
    let both = shown(&["logs", "-n", "3", "talker", "other"]);
    assert_eq!(both.lines().count(), 4, "{both}");
    assert!(both.lines().any(|line| line.contains("other") && line.contains("hello")), "{both}");
    let json = fixture.xtask(&["logs", "--json", "other"]);
    assert_eq!(lines(&json)[0]["service"], "other");
    assert_eq!(lines(&json)[0]["text"], "hello");
    fixture.xtask(&["logs", "nobody"]).ends_with(2).says("`nobody`").says("other, talker");

    let follow = fixture.spawn(&["logs", "-f", "-n", "1", "other"]);
    follow.says(SOON, "hello");
    fixture.xtask(&["restart", "other"]).ends_with(0);
    eventually(SOON, "a second greeting", || {
        (follow.said().stdout.matches("hello").count() == 2).then_some(())
    });
    assert!(!follow.said().stdout.contains("talker"), "{}", follow.said());
    follow.signal(libc::SIGINT);
    follow.wait(SOON);
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(shown(&["logs", "other"]).matches("hello").count(), 2);
}

#[test]
fn down_names_the_data_it_deletes() {
    let fixture = stand(&[("aside", "", "env = { HERE = \"${stack.data}\" }\n")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let plan = fixture.xtask(&["up", "--dry-run", "--json"]).json();
    let data = std::path::PathBuf::from(plan["data"].as_str().unwrap());
    std::fs::write(data.join("precious"), "12345").unwrap();
    fixture.xtask(&["down"]).ends_with(0);
    assert!(data.join("precious").exists(), "a plain `down` keeps data");
    let deleted = fixture.xtask(&["down", "--data"]).ends_with(0);
    deleted.says(&data.display().to_string()).says("5 bytes");
    assert!(!data.exists());
    fixture.xtask(&["down", "--data"]).ends_with(0).says("no data");
}

#[test]
fn commands_name_the_next_one() {
    let fixture = stand(&[("aside", "", "env = { HERE = \"${stack.data}\" }\n")]).write();
    let check = fixture.xtask(&["check"]).ends_with(0);
    assert!(check.stderr.contains("hint: `cargo xtask up` starts the services"), "{check}");
    assert!(!fixture.xtask(&["check", "--json"]).ends_with(0).stderr.contains("hint"));
    let up = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(up.stderr.contains("`cargo xtask down` stops everything"), "{up}");
    let again = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(!again.stderr.contains("hint"), "{again}");
    let down = fixture.xtask(&["down"]).ends_with(0);
    assert!(down.stderr.contains("hint: `cargo xtask up` starts it again\n"), "{down}");
    let plan = fixture.xtask(&["up", "--dry-run", "--json"]).json();
    std::fs::write(format!("{}/file", plan["data"].as_str().unwrap()), "1").unwrap();
    let up = fixture.xtask(&["up", "-d", "--json"]).ends_with(0);
    assert!(!up.stderr.contains("hint"), "{up}");
    fixture.xtask(&["down"]).ends_with(0).says("`cargo xtask down --data` deletes the data");
    let down = fixture.xtask(&["down", "--data"]).ends_with(0);
    assert!(!down.stderr.contains("hint"), "{down}");
    fixture.edit("Cargo.toml", "services.aside]\n", "services.aside]\nbogus = 1\n");
    fixture.xtask(&["check"]).ends_with(2).says("`cargo xtask explain CODE` describes");
    fixture.edit("Cargo.toml", "services.aside]\nbogus", "others]\nbogus");
    fixture.xtask(&["check"]).ends_with(0).says("`cargo xtask init` proposes metadata");
}

#[test]
fn json_up_always_ends_with_its_exit_code() {
    let fixture = stand(&[("base", "", "")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let record = fixture.out().join("record").display().to_string();
    for args in [&["up", "--json", "nobody"][..], &["up", "--json", "--record", &record]] {
        let refused = fixture.xtask(args).ends_with(2);
        let last = lines(&refused).pop().unwrap();
        assert_eq!((&last["event"], &last["exit_code"]), (&"end".into(), &2.into()), "{refused}");
    }
}

#[test]
fn json_up_prints_only_event_lines() {
    let fixture = stand(&[("base", &format!("{SERVE} --ready-line hello"), "port = 0\n")]).write();
    let up = fixture.spawn(&["up", "--json"]);
    up.says(SOON, "\"hello\"");
    up.says(SOON, "\"event\":\"ready\"");
    up.signal(libc::SIGTERM);
    let up = up.wait(SOON).ends_with(143);
    let events = lines(&up);
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds[0], "plan");
    assert_eq!(events.last().unwrap()["exit_code"], 143);
    for kind in ["build-ended", "phase", "ready", "log", "end"] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    let ready = events.iter().find(|event| event["event"] == "ready").unwrap();
    assert_eq!(ready["services"][0]["phase"], "ready");
    fixture.is_quiet();
}

#[test]
fn invalid_arguments_exit_2_with_a_hint() {
    let fixture = stand(&[("base", SERVE, "port = 0\n")]).write();
    for args in [
        ["frobnicate"].as_slice(),
        &["up", "--frobnicate"],
        &["up", "--ports", "some"],
        &["restart"],
        &["status", "extra"],
        &[],
    ] {
        let ran = fixture.xtask(args).ends_with(2);
        assert!(ran.stdout.is_empty() && ran.stderr.contains("--help"), "{ran}");
    }
    fixture.xtask(&["up", "bose"]).ends_with(2).says("bose").says("did you mean `base`?");
    fixture.xtask(&["explain", "bose"]).ends_with(2).says("did you mean `base`?");
    let help = fixture.xtask(&["--help"]).ends_with(0);
    for command in ["up", "down", "status", "logs", "restart", "test-e2e", "explain"] {
        assert!(help.stdout.contains(&format!("\n  {command}")), "{command}\n{help}");
    }
    assert!(help.stderr.is_empty(), "{help}");
}

#[test]
fn commands_outside_a_workspace_report_it() {
    let fixture = stand(&[]).write();
    for command in ["up", "down", "status", "logs", "wait", "check", "graph", "test-e2e"] {
        let ran = fixture.spawn_with(&[command], |command| {
            command.current_dir(fixture.out());
        });
        let ran = ran.wait(SOON).ends_with(2).says("could not find `Cargo.toml`");
        if ["down", "status", "logs", "wait"].contains(&command) {
            ran.says("hint: `cargo xtask status --all` lists");
        }
    }
}

#[test]
fn closed_output_is_success() {
    let fixture = tower("", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    for args in [
        ["status"].as_slice(),
        &["status", "--json"],
        &["up", "--dry-run"],
        &["explain", "base"],
        &["graph"],
        &["--help"],
        &["up", "-d"],
        &["up", "-d", "--json"],
    ] {
        let mut child = fixture.command();
        let child = child.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {stderr}");
        assert!(!stderr.to_lowercase().contains("pipe"), "{args:?}: {stderr}");
    }
    assert_eq!(phase(&fixture, "top"), "ready");
}

#[test]
fn colours_need_a_terminal_and_no_ci() {
    let fixture = tower("", "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let shown = |variables: &[(&str, &str)]| {
        let mut command: Command = fixture.command();
        command.env("TERM", "xterm").envs(variables.iter().copied());
        let (mut child, mut terminal) = on_a_terminal(command, &["status"]);
        let mut text = Vec::new();
        // The last read of a terminal whose programs are gone is an error.
        let _ = terminal.read_to_end(&mut text);
        assert!(child.wait().unwrap().success());
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("base"), "{text}");
        text
    };
    assert!(shown(&[]).contains('\x1b'));
    for variable in [("CI", "true"), ("NO_COLOR", "1")] {
        assert!(!shown(&[variable]).contains('\x1b'), "{variable:?}");
    }
    let plain = fixture.xtask(&["status"]).ends_with(0);
    assert!(!plain.stdout.contains('\x1b'), "{plain}");
}
