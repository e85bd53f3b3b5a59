//! What a service inherits from the command that starts it, and what `restart`, `explain` and `env`
//! make of an edit.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::by_hand::ByHand;
use xtask_test_support::stand::pid;
use xtask_test_support::{Fixture, PackageSpec, Ran, SERVICE, eventually, free_port, get};

const PATIENCE: Duration = Duration::from_secs(90);

/// A service that prints what it inherited and what its metadata declares.
const REPORT: &str = "command = [\"sh\", \"-c\", \"echo MODE=$$MODE V=$$V U=$$(umask) N=$$(nice) \
                      F=$$(ulimit -n); echo END; exec sleep 600\"]\n\
                      ready = { log = \"^END$$\" }\nenv = { V = \"one\", SHADE = \"declared\" }\n";

fn pair() -> Fixture {
    let service = |name: &str| format!("[workspace.metadata.services.{name}]\n{REPORT}");
    let idle = PackageSpec::new("libs/idle", "idle").lib("");
    Fixture::new("pair").package(idle).workspace(&service("a")).workspace(&service("b")).write()
}

/// A terminal: its variable, umask, nice value and limit of open files.
#[derive(Clone, Copy)]
struct Terminal(&'static str, u32, i32, u64);

const FIRST: Terminal = Terminal("first", 0o22, 0, 900);
const SECOND: Terminal = Terminal("second", 0o27, 3, 800);

impl Terminal {
    fn runs(self, fixture: &Fixture, args: &[&str]) -> Ran {
        let Self(mode, umask, nice, files) = self;
        let change = move |command: &mut Command| {
            command.env("MODE", mode);
            let files = libc::rlimit { rlim_cur: files, rlim_max: 1000 };
            // SAFETY: between fork and exec only system calls are made.
            unsafe {
                command.pre_exec(move || {
                    libc::umask(umask);
                    libc::setpriority(libc::PRIO_PROCESS, 0, nice);
                    match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files) {
                        0 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    }
                });
            }
        };
        fixture.spawn_with(args, change).wait(PATIENCE)
    }

    fn report(self, value: &str) -> String {
        let Self(mode, umask, nice, files) = self;
        format!("MODE={mode} V={value} U={umask:04o} N={nice} F={files}")
    }
}

/// The report of the last run of a service.
#[track_caller]
fn last_report(fixture: &Fixture, name: &str) -> String {
    let logs = fixture.xtask(&["logs", "--raw", name]).ends_with(0);
    let line = logs.stdout.lines().rfind(|line| line.starts_with("MODE="));
    line.unwrap_or_else(|| panic!("no report\n{logs}")).to_owned()
}

#[test]
fn services_start_in_the_context_of_their_command() {
    let fixture = pair();
    FIRST.runs(&fixture, &["up", "-d", "a"]).ends_with(0);
    SECOND.runs(&fixture, &["up", "-d", "b"]).ends_with(0);
    assert_eq!(last_report(&fixture, "a"), FIRST.report("one"));
    assert_eq!(last_report(&fixture, "b"), SECOND.report("one"));

    // Inherited values replace nothing.
    let before = pid(&fixture, "a");
    SECOND.runs(&fixture, &["up", "-d"]).ends_with(0);
    assert_eq!(pid(&fixture, "a"), before);

    // A crash restarts it in the context of its own command.
    // SAFETY: the call takes two numbers.
    unsafe { libc::kill(before, libc::SIGKILL) };
    eventually(PATIENCE, "the next run", || {
        let service = fixture.service("a");
        (service["phase"] == "ready" && service["run"] == 2).then_some(())
    });
    assert_eq!(last_report(&fixture, "a"), FIRST.report("one"));

    // So does a repetition; a restart takes the context of its command.
    SECOND.runs(&fixture, &["restart", "--no-build", "a"]).ends_with(0);
    assert_eq!(last_report(&fixture, "a"), FIRST.report("one"));
    SECOND.runs(&fixture, &["restart", "a"]).ends_with(0);
    assert_eq!(last_report(&fixture, "a"), SECOND.report("one"));
}

#[test]
fn shell_values_of_declared_variables_replace_nothing() {
    let fixture = pair();
    let shade = |value: &'static str| {
        move |command: &mut Command| {
            command.env("SHADE", value);
        }
    };
    let up = ["up", "-d", "a"];
    fixture.spawn_with(&up, shade("blue")).wait(PATIENCE).ends_with(0);
    let first = pid(&fixture, "a");
    fixture.xtask(&up).ends_with(0);
    fixture.spawn_with(&up, shade("red")).wait(PATIENCE).ends_with(0);
    assert_eq!(pid(&fixture, "a"), first);
    fixture.xtask(&["explain", "a"]).ends_with(0).says("SHADE=blue");

    // The declared value still counts.
    fixture.edit("Cargo.toml", "SHADE = \"declared\"", "SHADE = \"edited\"");
    fixture.xtask(&up).ends_with(0);
    assert_ne!(pid(&fixture, "a"), first);
    fixture.xtask(&["explain", "a"]).ends_with(0).says("SHADE=edited");
}

fn saying(text: &str) -> String {
    format!(
        "fn main() {{ println!(\"says {text}\"); \
         std::thread::sleep(std::time::Duration::from_secs(600)) }}"
    )
}

/// A service that is built and says `one`.
fn speaker() -> Fixture {
    let metadata = "[package.metadata.service]\nname = \"speaker\"\nready = { log = \"says\" }\n\
                    env = { V = \"one\" }\n";
    let package = PackageSpec::new("speaker", "speaker").bin("speakerd", &saying("one"));
    Fixture::new("speaking").package(package.metadata(metadata)).write()
}

const SOURCE: &str = "speaker/src/bin/speakerd.rs";

#[test]
fn restart_applies_edits_of_source_and_metadata() {
    let fixture = speaker();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.file(SOURCE, &saying("two"));
    fixture.edit("speaker/Cargo.toml", "V = \"one\"", "V = \"two\"");
    fixture.xtask(&["restart", "speaker"]).ends_with(0).says("Restarted speaker");
    fixture.xtask(&["logs", "-n", "1"]).ends_with(0).says("says two");
    fixture.xtask(&["explain", "speaker"]).ends_with(0).says("V=two");
}

#[test]
fn broken_source_or_manifest_leaves_the_run_serving() {
    let fixture = speaker();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let first = pid(&fixture, "speaker");

    fixture.edit("speaker/Cargo.toml", "V = \"one\"", "V = \"two\"");
    fixture.file(SOURCE, "fn main() { broken }");
    let broken = fixture.xtask(&["restart", "speaker"]).ends_with(3);
    broken.says("Kept the running services");
    assert_eq!(pid(&fixture, "speaker"), first);
    // The settings of the failed restart are not applied by a crash.
    // SAFETY: the call takes two numbers.
    unsafe { libc::kill(first, libc::SIGKILL) };
    eventually(PATIENCE, "the next run", || {
        let service = fixture.service("speaker");
        (service["phase"] == "ready" && service["run"] == 2).then_some(())
    });
    fixture.xtask(&["explain", "speaker"]).ends_with(0).says("V=one");

    let second = pid(&fixture, "speaker");
    fixture.edit("speaker/Cargo.toml", "V = \"two\"", "V = [");
    fixture.xtask(&["restart", "speaker"]).ends_with(2);
    assert_eq!(pid(&fixture, "speaker"), second);
    // Nor a member that cargo refuses, which `--no-build` does not read.
    fixture.xtask(&["restart", "--no-build", "speaker"]).ends_with(0);
    assert_ne!(pid(&fixture, "speaker"), second);
    fixture.xtask(&["logs", "-n", "1"]).ends_with(0).says("says one");
}

#[test]
fn unusable_program_leaves_the_run_serving() {
    let fixture = pair();
    let shell = fixture.out().join("sh");
    std::fs::copy("/bin/sh", &shell).unwrap();
    let command = |program: &str| format!("command = [\"{program}\"");
    let present = shell.display().to_string();
    fixture.edit("Cargo.toml", &command("sh"), &command(&present));
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let first = pid(&fixture, "a");

    std::fs::remove_file(&shell).unwrap();
    for command in [&["restart", "--no-build", "a"][..], &["restart", "a"]] {
        let refused = fixture.xtask(command).ends_with(1);
        refused.says("`a` is not replaced").says(&format!("`{present}` cannot be executed"));
        assert_eq!(pid(&fixture, "a"), first);
    }
    fixture.edit("Cargo.toml", &command(&present), &command("absent-shell"));
    let refused = fixture.xtask(&["up", "-d"]).ends_with(1);
    refused.says("`a` is not replaced").says("it is in no folder of `PATH`");
    assert_eq!(pid(&fixture, "a"), first);
}

#[test]
fn restart_starts_what_a_service_newly_needs() {
    let fixture = pair();
    fixture.xtask(&["up", "-d", "a"]).ends_with(0);
    fixture.edit("Cargo.toml", "services.a]\n", "services.a]\ndepends-on = [\"b\"]\n");
    fixture.xtask(&["restart", "a"]).ends_with(0);
    let needed = pid(&fixture, "b");
    // What it needs and already runs keeps its run, whatever changed.
    fixture.edit("Cargo.toml", "V = \"one\"", "V = \"two\"");
    fixture.xtask(&["restart", "a"]).ends_with(0);
    assert_eq!(pid(&fixture, "b"), needed);
    assert!(last_report(&fixture, "a").contains("V=two"));
    assert!(last_report(&fixture, "b").contains("V=one"));
}

#[test]
fn explain_marks_values_that_the_manifests_no_longer_have() {
    let fixture = pair();
    fixture.xtask(&["up", "-d", "a", "-e", "a:API_TOKEN=hunter2"]).ends_with(0);
    fixture.edit("Cargo.toml", "V = \"one\", SHADE = \"declared\"", "V = \"two\", NEW = \"yes\"");
    let explained = fixture.xtask(&["explain", "a"]).ends_with(0);
    let explained = explained.says("cargo xtask restart a").says("; now `two`");
    let explained = explained.says("NEW=yes").says("; not in the running process");
    let row = explained.stdout.lines().find(|row| row.contains("SHADE=declared")).unwrap();
    assert!(row.ends_with("; not in the manifests"), "{explained}");
    assert!(!explained.stdout.contains("hunter2"), "{explained}");
    let json = fixture.xtask(&["explain", "a", "--json"]).ends_with(0).json();
    assert_eq!(json["env"]["V"]["value"], "one");
    assert_eq!(json["manifests"]["env"]["V"]["value"], "two");

    fixture.xtask(&["restart", "a"]).ends_with(0);
    let json = fixture.xtask(&["explain", "a", "--json"]).ends_with(0).json();
    assert_eq!((&json["env"]["V"]["value"], &json["manifests"]), (&"two".into(), &Value::Null));
}

#[test]
fn restart_waits_for_dependents_that_restart_along() {
    // The dependent is deaf to its stop signal, so that the service has to wait for its end.
    let deaf = "[workspace.metadata.services.b]\n\
                command = [\"sh\", \"-c\", \"trap '' TERM; echo END; while :; do sleep 1; done\"]\n\
                ready = { log = \"^END$$\" }\nstop = { timeout = \"300ms\" }\n\
                depends-on = { a = { restart = true } }\n";
    let idle = PackageSpec::new("libs/idle", "idle").lib("");
    let fixture = Fixture::new("along").package(idle);
    let fixture = fixture.workspace(&format!("[workspace.metadata.services.a]\n{REPORT}\n{deaf}"));
    let fixture = fixture.write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = ["a", "b"].map(|name| pid(&fixture, name));
    fixture.xtask(&["restart", "a"]).ends_with(0).says("Restarted a");
    let after = ["a", "b"].map(|name| pid(&fixture, name));
    assert!(before[0] != after[0] && before[1] != after[1], "{before:?} {after:?}");
}

#[test]
fn restart_keeps_a_run_whose_new_port_is_held() {
    let (fixture, [port, _]) = counter();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pid(&fixture, "front");
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = held.local_addr().unwrap().port();
    fixture.edit("front/Cargo.toml", &format!("port = {port}"), &format!("port = {number}"));
    let kept = fixture.xtask(&["restart", "front"]).ends_with(5);
    kept.says("Kept front").says(&number.to_string());
    assert_eq!(pid(&fixture, "front"), before);
}

/// `front` calls `stock` and has a secret; both have fixed ports.
fn counter() -> (Fixture, [u16; 2]) {
    let ports = [free_port(), free_port()];
    let front = format!(
        "[package.metadata.service]\nname = \"front\"\nport = {}\ndepends-on = [\"stock\"]\n\
         env = {{ API_TOKEN = \"it's hunter2\", GOODS = \"${{stack.data}}/goods\" }}\n",
        ports[0]
    );
    let stock = format!("[package.metadata.service]\nname = \"stock\"\nport = {}\n", ports[1]);
    let package = |name: &str, metadata: &str| {
        PackageSpec::new(name, name).bin(&format!("{name}d"), SERVICE).metadata(metadata)
    };
    let fixture = Fixture::new("counter").package(package("front", &front));
    (fixture.package(package("stock", &stock)).write(), ports)
}

#[test]
fn env_prints_what_a_start_by_hand_needs() {
    let (fixture, [port, stock]) = counter();
    fixture.xtask(&["up", "-d", "stock"]).ends_with(0);
    let env = fixture.xtask(&["env", "front"]).ends_with(0);
    assert!(!env.stderr.contains("hunter2"), "{env}");
    let mut cargo = Command::new("sh");
    let script = format!("{}\nexec cargo run --quiet --offline -p front", env.stdout);
    cargo.args(["-c", &script]).current_dir(fixture.root()).env_remove("CARGO_TARGET_DIR");
    let mut copy = ByHand::listening(cargo, port);
    let answer = |path: &str| get(port, path).unwrap().body;
    assert_eq!(answer("/env/API_TOKEN"), "it's hunter2");
    assert_eq!(answer("/env/STOCK_URL"), format!("http://127.0.0.1:{stock}"));
    assert!(std::path::Path::new(&answer("/env/GOODS")).parent().unwrap().is_dir());

    fixture.xtask(&["up", "-d"]).ends_with(0).says("Adopted front");
    fixture.xtask(&["down"]).ends_with(0);
    assert!(copy.is_alive());
    copy.child.kill().unwrap();
}

/// As the error of a program proposes that misses the variable.
#[test]
fn copy_with_the_url_alone_is_adopted() {
    let (fixture, [port, stock]) = counter();
    fixture.xtask(&["up", "-d", "stock"]).ends_with(0);
    let env = fixture.xtask(&["env", "front", "--json"]).ends_with(0).json();
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--offline", "-p", "front"]).current_dir(fixture.root());
    cargo.env("STOCK_URL", format!("http://127.0.0.1:{stock}")).env("PORT", port.to_string());
    cargo.env("GOODS", env["GOODS"].as_str().unwrap()).env_remove("CARGO_TARGET_DIR");
    let mut copy = ByHand::listening(cargo, port);
    fixture.xtask(&["up", "-d"]).ends_with(0).says("Adopted front");
    assert!(copy.is_alive());
}

#[test]
fn env_leaves_out_ports_that_are_not_chosen() {
    let (fixture, _) = counter();
    let env = fixture.xtask(&["env", "front", "--stack", "other"]).ends_with(0);
    let env = env.says("STOCK_URL").says("export API_TOKEN='it'\\''s hunter2'");
    assert!(!env.stdout.contains("STOCK_URL"), "{env}");
    let json = fixture.xtask(&["env", "front", "--json"]).ends_with(0).json();
    assert_eq!(json["API_TOKEN"], "it's hunter2");
    fixture.xtask(&["env", "nothing"]).ends_with(2).says("no service is called `nothing`");
}

#[test]
fn files_of_a_stack_are_private() {
    let fixture = pair();
    let open = Terminal("open", 0, 0, 900);
    open.runs(&fixture, &["up", "-d"]).ends_with(0);
    let raw = fixture.xtask(&["logs", "--raw", "a"]).ends_with(0);
    assert!(raw.stdout.contains("U=0000"), "{raw}");
    let mut folders = vec![fixture.state()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let found = entry.metadata().unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions());
            if found.is_dir() {
                folders.push(entry.path());
            }
            // A link has no mode of its own, and programs keep cargo's.
            if entry.path().components().any(|c| c.as_os_str() == "programs") {
                assert!(!found.is_dir() || mode & 0o022 == 0, "{mode:o}");
                continue;
            } else if found.is_symlink() {
                continue;
            }
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
            count += 1;
        }
    }
    assert!(count > 5, "{count} files");
}
