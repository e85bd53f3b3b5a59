//! An `up` on a terminal: its live lines, its keys, and the mode that it leaves behind.

use std::time::Duration;

use xtask_test_support::stand::{SERVE, phase, pid, stand};
use xtask_test_support::{Fixture, Process, Terminal, eventually};

const PATIENCE: Duration = Duration::from_secs(60);
/// Not `0 of 2 ready`, when no page is known yet.
const READY: &str = "dev 2 ready";
const CTRL_Z: &str = "\x1a";

/// `web` serves a page and prints a line every 50 ms; `calm` only serves.
fn pair() -> Fixture {
    stand(&[
        ("web", &format!("{SERVE} --tick 50"), "port = 0\nopen = \"/start\"\n"),
        ("calm", SERVE, "port = 0\n"),
    ])
    .write()
}

fn up(fixture: &Fixture) -> Terminal {
    let up = Terminal::start(fixture.command(), &["up"]);
    up.shows(READY);
    up
}

fn state(pid: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
}

#[track_caller]
fn is_restored(up: &Terminal) {
    assert!(up.edits_lines(), "the mode is not restored\n{}", up.shown());
}

#[test]
fn live_lines_name_keys_and_quit_stops() {
    let fixture = pair();
    let mut up = up(&fixture);
    assert!(!up.edits_lines());
    up.shows("q stop");
    up.press("?");
    up.shows("build a service and restart it");
    up.press("s");
    up.shows("MEMORY");
    up.press("q");
    assert_eq!(up.end(), Some(0));
    is_restored(&up);
    assert!(up.shown().contains("Stopped web"), "{}", up.shown());
    fixture.is_quiet();
}

#[test]
fn deletion_asks_on_a_terminal() {
    let fixture = stand(&[("aside", "", "env = { HERE = \"${stack.data}\" }\n")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let plan = fixture.xtask(&["up", "--dry-run", "--json"]).json();
    let file = std::path::Path::new(plan["data"].as_str().unwrap()).join("precious");
    std::fs::write(&file, "12345").unwrap();
    for (keys, words) in [("n\r", "[y/N]"), ("\r", "5 bytes"), ("\x04", "stop stack `dev`")] {
        let mut down = Terminal::start(fixture.command(), &["down", "--data"]);
        down.shows("[y/N] ");
        down.shows(words);
        down.press(keys);
        assert_eq!(down.end(), Some(1), "{}", down.shown());
        assert!(file.exists() && phase(&fixture, "aside") == "ready", "{}", down.shown());
    }
    let mut down = Terminal::start(fixture.command(), &["down", "--data"]);
    down.shows("[y/N] ");
    down.press("\x03");
    assert_eq!(down.end(), Some(130), "{}", down.shown());
    let mut down = Terminal::start(fixture.command(), &["down", "--data"]);
    down.shows("[y/N] ");
    down.press("Yes\r");
    assert_eq!(down.end(), Some(0), "{}", down.shown());
    assert!(!file.exists());
    for data in [true, false] {
        if data {
            std::fs::create_dir(file.parent().unwrap()).unwrap();
        }
        let unasked: &[&str] = if data { &["down", "--data", "-y"] } else { &["down", "--data"] };
        let mut down = Terminal::start(fixture.command(), unasked);
        assert_eq!(down.end(), Some(0), "{}", down.shown());
        assert!(!down.shown().contains("[y/N]") && !file.parent().unwrap().exists());
    }
    fixture.xtask(&["down", "--yes"]).ends_with(2).says("--data");
}

#[test]
fn key_restarts_the_chosen_service() {
    let fixture = pair();
    let up = up(&fixture);
    let (calm, web) = (pid(&fixture, "calm"), pid(&fixture, "web"));
    // Arrows are no letters, and a wrong letter can be deleted.
    up.press("r\x1b[Ax\x7fcal\r");
    up.shows("Restarted calm");
    assert_ne!(pid(&fixture, "calm"), calm);
    assert_eq!(pid(&fixture, "web"), web);
    up.press("r");
    up.shows("restart which service?");
    up.clear();
    // With the next key it would be that key pressed together with Alt.
    up.press("\x1b");
    up.shows("? help");
    up.press("?");
    up.shows("build a service");
}

#[test]
fn filter_and_log_keys_choose_the_lines() {
    let fixture = pair();
    let up = up(&fixture);
    up.shows("web  | ");
    up.press("fnothing matches this\r");
    up.shows("lines with `nothing matches this`");
    // What was printed before the filter may still be on its way.
    eventually(PATIENCE, "no more lines", || {
        up.clear();
        up.press("?");
        up.shows("build a service");
        (!up.shown().contains("web  | ")).then_some(())
    });
    up.press("f(\r");
    up.shows("`f` expects a regular expression");
    up.press("f\r");
    up.shows("web  | ");
    up.press("lcalm\r");
    up.shows("log of calm");
    up.press("lweb\r");
    up.shows("log of web");
    up.press("l\r");
    up.clear();
    up.shows("dev 2 ready  ? help");
}

#[test]
fn page_is_opened_in_the_browser() {
    let fixture = pair();
    let browser = fixture.out().join("browser");
    let opened = fixture.out().join("opened");
    let script = format!("#!/bin/sh\necho \"$1\" > {}\n", opened.display());
    std::fs::write(&browser, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&browser, mode).unwrap();
    let mut command = fixture.command();
    command.env("BROWSER", &browser);
    let up = Terminal::start(command, &["up"]);
    up.shows(READY);
    up.press("o");
    let text = eventually(PATIENCE, "an opened page", || {
        std::fs::read_to_string(&opened).ok().filter(|text| text.ends_with('\n'))
    });
    let url = fixture.service("web")["url"].as_str().unwrap().to_owned();
    assert_eq!(text.trim(), format!("{url}/start"));
    assert_eq!(fixture.service("web")["open"], format!("{url}/start"));
}

#[test]
fn ctrl_z_restores_the_terminal_until_it_continues() {
    let fixture = pair();
    let mut up = up(&fixture);
    up.press(CTRL_Z);
    eventually(PATIENCE, "a stopped command", || (state(up.pid()) == 'T').then_some(()));
    is_restored(&up);
    assert_eq!(phase(&fixture, "web"), "ready");
    up.clear();
    up.signal(libc::SIGCONT);
    up.shows("q stop");
    assert!(!up.edits_lines());
    up.press("q");
    assert_eq!(up.end(), Some(0));
    is_restored(&up);
}

#[test]
fn narrow_terminal_gets_shorter_live_lines() {
    let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
    let up = Terminal::start(fixture.command(), &["up"]);
    up.shows("f filter");
    up.clear();
    up.resize(30, 20);
    up.shows("\u{2026}");
    let shown = up.shown();
    let line = shown.lines().find(|line| line.contains('\u{2026}')).unwrap();
    assert!(!line.contains("f filter"), "{shown:?}");
}

#[test]
fn every_end_restores_the_terminal() {
    for (signal, code) in [(libc::SIGTERM, Some(143)), (libc::SIGQUIT, None)] {
        let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
        let mut up = Terminal::start(fixture.command(), &["up"]);
        up.shows("1 ready");
        up.signal(signal);
        assert_eq!(up.end(), code);
        is_restored(&up);
        eventually(PATIENCE, "the end of the stack", || {
            fixture.processes().is_empty().then_some(())
        });
    }
    let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
    let mut up = Terminal::start(fixture.command(), &["up"]);
    up.shows("1 ready");
    xtask_test_support::signal(fixture.supervisor(), libc::SIGKILL);
    assert_eq!(up.end(), Some(1));
    is_restored(&up);
}

#[test]
fn background_start_prints_plainly_and_runs() {
    let fixture = pair();
    let mut command = std::process::Command::new("sh");
    let tool = fixture.command();
    command.env_clear().current_dir(fixture.root());
    command.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let program = tool.get_program().to_str().unwrap();
    // With `-m` a job in the background has a process group of its own.
    let up = Terminal::start(command, &["-mc", &format!("{program} up & wait")]);
    up.shows("SERVICE");
    eventually(PATIENCE, "a ready stack", || (phase(&fixture, "web") == "ready").then_some(()));
    let is_up = |process: &Process| process.command.ends_with(" up");
    let processes = fixture.processes();
    let client = processes.iter().find(|process| is_up(process)).map(|process| process.pid);
    assert_ne!(state(client.unwrap_or_default()), 'T', "{processes:?}");
    is_restored(&up);
    up.press("q\n");
    up.shows("web  | ");
    assert!(!up.shown().contains("q stop"), "{}", up.shown());
    xtask_test_support::signal(client.unwrap(), libc::SIGINT);
    eventually(PATIENCE, "the end of the stack", || {
        let left = fixture.processes();
        left.iter().all(|process| !process.command.contains("misbehave")).then_some(())
    });
}

#[test]
fn plain_terminals_get_no_live_lines() {
    for (name, value) in [("CI", "true"), ("NO_COLOR", "1"), ("TERM", "dumb")] {
        let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
        let mut command = fixture.command();
        command.env(name, value);
        let mut up = Terminal::start(command, &["up"]);
        up.shows("SERVICE");
        up.shows("Ready calm");
        is_restored(&up);
        up.press("\x03");
        assert_eq!(up.end(), Some(130), "{name}");
        let shown = up.shown();
        assert!(!shown.contains("q stop") && !shown.contains("\x1b[J"), "{name}: {shown:?}");
    }
}

#[test]
fn redirected_output_has_no_keys() {
    let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
    let mut command = std::process::Command::new("sh");
    let tool = fixture.command();
    command.env_clear().current_dir(fixture.root());
    command.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let program = tool.get_program().to_str().unwrap();
    let out = fixture.out().join("log");
    let line = format!("exec {program} up > {}", out.display());
    let mut up = Terminal::start(command, &["-c", &line]);
    up.shows("Ready calm");
    is_restored(&up);
    up.press("\x03");
    assert_eq!(up.end(), Some(130));
    assert!(!up.shown().contains("q stop"), "{}", up.shown());
}
