//! `up` and the commands beside it as their users meet them: the foreground, its end,
//! what is said as JSON, logs, and who may hold a stack.
//!
//! What services do to make trouble is tested elsewhere; here they are obedient, but
//! for those that take their time to stop.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Fixture, PackageSpec, SERVICE, alive, eventually, free_port, get, misbehave};

/// How long what takes a moment may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `back` with a port, and `front` that waits for it.
fn pair() -> Fixture {
    let service = "[package.metadata.service]";
    Fixture::new("pair")
        .package(
            PackageSpec::new("crates/back", "back-package")
                .bin("back-server", SERVICE)
                .metadata(&format!("{service}\nname = \"back\"\nport = {}\n", free_port())),
        )
        .package(
            PackageSpec::new("crates/front", "front-package")
                .bin("front-server", SERVICE)
                .metadata(&format!("{service}\nname = \"front\"\ndepends-on = [\"back\"]\n")),
        )
        .write()
}

/// A service that takes `settings`, and the helper program with these arguments.
fn misbehaving(name: &str, arguments: &[&str], settings: &str) -> Fixture {
    let command: Vec<String> = std::iter::once(misbehave().display().to_string())
        .chain(arguments.iter().map(ToString::to_string))
        .collect();
    // A list of texts is spelled alike in JSON and TOML.
    let command = serde_json::to_string(&command).unwrap();
    let table = format!("[workspace.metadata.services.{name}]\ncommand = {command}\n{settings}");
    let library = PackageSpec::new("lib", "some-library").lib("//! Nothing.");
    Fixture::new("odd").package(library).workspace(&table).write()
}

fn events(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

#[test]
fn events_are_one_json_object_a_line_from_the_plan_to_the_end() {
    let fixture = pair();
    let ran = fixture.xtask(&["up", "-d", "--json"]).ends_with(0);
    let events = events(&ran.stdout);
    assert_eq!(events[0]["event"], "plan", "{ran}");
    assert_eq!(events[0]["services"], serde_json::json!(["back", "front"]), "{ran}");
    assert_eq!(events.last().unwrap()["event"], "end", "{ran}");
    assert_eq!(events.last().unwrap()["exit_code"], 0, "{ran}");
    assert_eq!(of_kind(&events, "linked").len(), 2, "{ran}");
    assert_eq!(of_kind(&events, "build-ended")[0]["ok"], true, "{ran}");
    let ready = of_kind(&events, "ready");
    assert_eq!(ready[0]["services"][0]["phase"], "ready", "{ran}");
    let phases: Vec<&Value> =
        of_kind(&events, "phase").into_iter().filter(|event| event["phase"] == "ready").collect();
    assert_eq!(phases.len(), 2, "{ran}");
    assert_eq!((&phases[0]["service"], &phases[1]["service"]), (&"back".into(), &"front".into()));

    let again = fixture.xtask(&["up", "-d", "--json"]).ends_with(0);
    let events = self::events(&again.stdout);
    let ready = of_kind(&events, "ready");
    assert_eq!(ready[0]["already_running"], serde_json::json!(["back", "front"]), "{again}");
}

#[test]
fn the_foreground_prints_prefixed_logs_and_is_watched_by_others() {
    let fixture = pair();
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "back  | listening");
    up.says(PATIENCE, "front | listening");
    let watching = fixture.spawn(&["up"]);
    watching.says(PATIENCE, "leaves it running");
    watching.signal(libc::SIGINT);
    watching.wait(PATIENCE).ends_with(130).says("already running");
    assert_eq!(fixture.status()["state"], "ready");
    up.signal(libc::SIGTERM);
    let ran = up.wait(PATIENCE).ends_with(143);
    let said: Vec<&str> = ran.stderr.lines().map(str::trim_start).collect();
    let place = |line| said.iter().position(|said| *said == line);
    let front = place("Stopped front").unwrap();
    assert!(front < place("Stopped back").unwrap(), "{ran}");
    // What two states skipped is not said.
    assert!(place("Stopping back").is_none_or(|back| front < back), "{ran}");
    assert_eq!(fixture.processes(), []);
}

#[test]
fn a_stack_goes_with_the_foreground_that_started_it_also_by_kill() {
    let fixture = pair();
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "front | listening");
    up.signal(libc::SIGKILL);
    up.wait(PATIENCE);
    eventually(PATIENCE, "everything is gone", || fixture.processes().is_empty().then_some(()));
}

#[test]
fn a_detached_start_that_is_killed_half_way_leaves_nothing() {
    let fixture =
        misbehaving("never", &[], "ready = { log = \"never said\" }\nstart-timeout = \"100s\"");
    let up = fixture.spawn(&["up", "-d"]);
    up.says(PATIENCE, "Starting never");
    up.signal(libc::SIGKILL);
    up.wait(PATIENCE);
    eventually(PATIENCE, "everything is gone", || fixture.processes().is_empty().then_some(()));
}

#[test]
fn a_second_ctrl_c_kills_what_is_deaf_to_the_first() {
    let fixture = misbehaving("deaf", &["--ignore-term"], "stop = { timeout = \"100s\" }");
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "deaf");
    eventually(PATIENCE, "it runs", || (fixture.service("deaf")["phase"] == "ready").then_some(()));
    up.signal(libc::SIGINT);
    up.says(PATIENCE, "Stopping deaf");
    let asked = Instant::now();
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130).says("Killing");
    assert!(asked.elapsed() < Duration::from_secs(50));
    assert_eq!(fixture.processes(), []);
}

#[test]
fn a_third_ctrl_c_leaves_at_once_even_if_the_supervisor_does_not_move() {
    let fixture = misbehaving("steady", &[], "");
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "steady");
    let status = fixture.status();
    let supervisor = i32::try_from(status["supervisor_pid"].as_i64().unwrap()).unwrap();
    // SAFETY: a signal to a process of this test's own fixture.
    unsafe { libc::kill(supervisor, libc::SIGSTOP) };
    up.signal(libc::SIGINT);
    // The first one says nothing before the supervisor does: the second must not be
    // taken for the same signal.
    eventually(PATIENCE, "the second one is counted", || {
        up.signal(libc::SIGINT);
        up.said().stderr.contains("Killing").then_some(())
    });
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130).says("Leaving").says("continues to stop the stack");
    // SAFETY: as above.
    unsafe { libc::kill(supervisor, libc::SIGCONT) };
    eventually(PATIENCE, "everything is gone", || fixture.processes().is_empty().then_some(()));
}

#[test]
fn up_waits_for_a_stack_that_is_going_down_and_starts_it_again() {
    let fixture = misbehaving("slow", &["--drain", "1500"], "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = fixture.status()["supervisor_pid"].clone();
    let down = fixture.spawn(&["down"]);
    eventually(PATIENCE, "it goes down", || {
        (fixture.status()["state"] == "stopping").then_some(())
    });
    fixture.xtask(&["up", "-d"]).ends_with(0).says("for the previous shutdown");
    down.wait(PATIENCE).ends_with(0);
    assert_ne!(fixture.status()["supervisor_pid"], before);
}

#[test]
fn a_linked_program_runs_while_the_build_goes_on() {
    let slow = "fn main() { std::thread::sleep(std::time::Duration::from_secs(7)); }";
    let fixture = Fixture::new("early")
        .package(
            PackageSpec::new("quick", "quick")
                .bin("quick", SERVICE)
                .metadata("[package.metadata.service]"),
        )
        .package(
            PackageSpec::new("slow", "slow")
                .bin("slow", SERVICE)
                .metadata("[package.metadata.service]"),
        )
        .write();
    fixture.file("slow/build.rs", slow);
    let up = fixture.spawn(&["up", "-d", "--json"]);
    let ended = || up.said().stdout.contains("\"build-ended\"");
    eventually(PATIENCE, "the quick one is ready", || {
        let said = up.said().stdout;
        said.lines()
            .any(|l| l.contains("\"quick\"") && l.contains("\"phase\":\"ready\""))
            .then_some(())
    });
    let ready = Instant::now();
    assert!(!ended());
    eventually(PATIENCE, "the build ends", || ended().then_some(()));
    let ahead = ready.elapsed();
    assert!(ahead >= Duration::from_secs(3), "only {ahead:?} ahead of the build's end");
    up.wait(PATIENCE).ends_with(0);
}

#[test]
fn without_a_build_the_programs_of_the_last_one_are_started() {
    let fixture = pair();
    let ran = fixture.xtask(&["up", "-d", "--no-build"]).ends_with(3).says("back-server");
    assert!(!ran.stderr.contains("Compiling"), "{ran}");
    assert_eq!(fixture.processes(), []);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let ran = fixture.xtask(&["up", "-d", "--no-build"]).ends_with(0);
    assert!(!ran.stderr.contains("Finished"), "{ran}");
    let dry = fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0).json();
    assert_eq!(dry["build"]["command"][0], "cargo", "{dry}");
    let dry = fixture.xtask(&["up", "--dry-run", "--no-build", "--json"]).ends_with(0).json();
    assert_eq!(dry["build"], Value::Null, "{dry}");
}

#[test]
fn a_failing_build_leaves_what_runs_alone_and_is_code_3() {
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = fixture.service("back")["pid"].clone();
    fixture.file("crates/back/src/bin/back-server.rs", "fn main() { nonsense() }");
    fixture.xtask(&["up", "-d"]).ends_with(3).says("cannot find function `nonsense`");
    assert_eq!(fixture.service("back")["pid"], before);
    assert_eq!(fixture.status()["state"], "ready");
}

#[test]
fn down_takes_dependents_along_unless_told_otherwise() {
    let fixture = pair();
    fixture.xtask(&["down"]).ends_with(0).says("nothing is running");
    fixture.xtask(&["status"]).ends_with(7);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let phases =
        || (fixture.service("back")["phase"].clone(), fixture.service("front")["phase"].clone());
    fixture.xtask(&["down", "--only", "back"]).ends_with(0);
    assert_eq!(phases(), ("stopped".into(), "ready".into()));
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(phases(), ("ready".into(), "ready".into()));
    fixture.xtask(&["down", "back"]).ends_with(0);
    assert_eq!(phases(), ("stopped".into(), "stopped".into()));
    fixture.xtask(&["down", "nobody"]).ends_with(2).says("back, front");
    fixture.xtask(&["down"]).ends_with(0);
    assert_eq!(fixture.processes(), []);
}

#[test]
fn data_is_deleted_only_when_asked() {
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let data = PathBuf::from(plan_data(&fixture));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("precious"), "x").unwrap();
    fixture.xtask(&["down"]).ends_with(0);
    assert!(data.join("precious").exists());
    fixture.xtask(&["down", "--data"]).ends_with(0).says("1 files, 1 bytes");
    assert!(!data.exists());
}

fn plan_data(fixture: &Fixture) -> String {
    let plan = fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0).json();
    plan["data"].as_str().unwrap().to_string()
}

#[test]
fn logs_are_there_after_the_stack_is_gone() {
    let fixture = misbehaving("loud", &["--ready-line", "\x1b[2Jhello \x1b[31mred"], "");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    eventually(PATIENCE, "a line", || {
        fixture.xtask(&["logs"]).stdout.contains("hello").then_some(())
    });
    fixture.xtask(&["down"]).ends_with(0);
    let ran = fixture.xtask(&["logs", "loud", "-n", "1"]).ends_with(0);
    assert_eq!(ran.stdout, "loud | hello red\n", "{ran}");
    let line = fixture.xtask(&["logs", "--json"]).json();
    assert_eq!((&line["service"], &line["run"]), (&"loud".into(), &1.into()));
    fixture.xtask(&["logs", "nobody"]).ends_with(2).says("loud");
}

#[test]
fn restart_gives_one_service_a_new_process_and_says_so() {
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let pids = || (fixture.service("back")["pid"].clone(), fixture.service("front")["pid"].clone());
    let before = pids();
    fixture.xtask(&["restart", "back"]).ends_with(0).says("Restarted back");
    let after = pids();
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1);
    fixture.xtask(&["wait"]).ends_with(0);
    fixture.xtask(&["wait", "nobody"]).ends_with(2);
}

#[test]
fn wait_gives_up_when_told_to() {
    let fixture =
        misbehaving("never", &[], "ready = { log = \"never said\" }\nstart-timeout = \"100s\"");
    let up = fixture.spawn(&["up", "-d"]);
    eventually(PATIENCE, "it starts", || {
        let status = fixture.xtask(&["status", "--json"]);
        status.stdout.contains("\"starting\"").then_some(())
    });
    fixture.xtask(&["wait", "--timeout", "0.2"]).ends_with(4).says("never");
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130);
    assert_eq!(fixture.processes(), []);
}

#[test]
fn a_stack_ends_with_the_process_that_it_is_for() {
    let fixture = pair();
    let mut owner =
        std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = owner.id().to_string();
    fixture.xtask(&["up", "-d", "--until-pid", &pid]).ends_with(0);
    let back = fixture.service("back");
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually(PATIENCE, "everything is gone", || fixture.processes().is_empty().then_some(()));
    assert!(!alive(i32::try_from(back["pid"].as_i64().unwrap()).unwrap()));
}

#[test]
fn the_control_socket_is_private_and_survives_nonsense() {
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let endpoint = find_endpoint(&fixture);
    let socket = PathBuf::from(endpoint["socket"].as_str().unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&socket) & 0o777, 0o600);
    assert_eq!(mode(socket.parent().unwrap()) & 0o777, 0o700);
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"\xff\xfe nonsense\n").unwrap();
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

#[test]
fn it_works_from_a_subfolder_and_through_a_manifest_path() {
    let fixture = pair();
    fixture
        .spawn_with(&["up", "-d"], |command| {
            command.current_dir(fixture.root().join("crates/back/src"));
        })
        .wait(PATIENCE)
        .ends_with(0);
    let manifest = fixture.root().join("crates/front/Cargo.toml").display().to_string();
    let ran = fixture
        .spawn_with(&["status", "--json", "--manifest-path", &manifest], |command| {
            command.current_dir("/");
        })
        .wait(PATIENCE)
        .ends_with(0);
    assert_eq!(ran.json()["services"][1]["phase"], "ready", "{ran}");
    let url = ran.json()["services"][0]["url"].as_str().unwrap().to_string();
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(
        get(port, "/cwd").unwrap().body,
        fixture.root().join("crates/back").display().to_string()
    );
}
