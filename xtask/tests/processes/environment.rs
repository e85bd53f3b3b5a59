//! What a service finds at its start: variables, arguments, folder, standard input.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use xtask_test_support::{Fixture, PackageSpec, Ran, Running, SERVICE, get_at, misbehave};

/// How long a start beside other tests may take.
const START: Duration = Duration::from_secs(120);

/// A service that also answers `/environ` with all its variables, and `/stdin` with
/// what it can read there.
fn reporter() -> String {
    SERVICE.replace(
        "(\"cwd\", _) =>",
        "(\"environ\", _) => (200, std::env::vars().map(|(n, v)| format!(\"{n}={v}\\n\")).collect()),\n\
         (\"stdin\", _) => (200, std::io::read_to_string(std::io::stdin()).unwrap()),\n\
         (\"cwd\", _) =>",
    )
}

/// `asker` is a package and waits for `depot`, which is a program of the system.
fn shelf() -> Fixture {
    let misbehave = misbehave().display().to_string();
    let fixture = Fixture::new("shelf")
        .package(PackageSpec::new("apps/ask", "asker-package").bin("askerd", &reporter()).metadata(
            "[package.metadata.service]\nname = \"asker\"\nports = { http = 0, metrics = 0 }\n\
             socket-activation = true\ndepends-on = [\"depot\"]\nenv-file = \"settings/env\"\n\
             args = [\"--own\", \"${self.port.metrics}\", \"${depot.port}\", \"$$HOME\", \
             \"--api-token=arg-secret\"]\n\n\
             [package.metadata.service.env]\nLEVEL_2 = \"service\"\nLEVEL_3 = \"service\"\n\
             PEER = \"${depot.url}/shelf\"\nMODE = \"near\"\nAPI_TOKEN = \"env-secret\"\n\n\
             [package.metadata.service.with.far]\ndepends-on = [\"extra\"]\n\
             env = { MODE = \"far\" }\n",
        ))
        .workspace(&format!(
            "[workspace.metadata.xtask]\ndefault = [\"asker\"]\n\n\
             [workspace.metadata.xtask.env]\nLEVEL_1 = \"workspace\"\nLEVEL_2 = \"workspace\"\n\
             LEVEL_3 = \"workspace\"\nLEVEL_4 = \"workspace\"\nLEVEL_5 = \"workspace\"\n\
             LEVEL_6 = \"workspace\"\n\n\
             [workspace.metadata.services.depot]\nports = {{ http = 0, metrics = 0 }}\n\
             command = [{misbehave:?}, \"--listen-env\", \"--http\", \"200\", \"--print-env\"]\n\
             ready = {{ http = \"/\" }}\n\n\
             [workspace.metadata.services.extra]\ncommand = [{misbehave:?}]\n"
        ))
        .stack("apart")
        .write();
    fixture.file(
        "apps/ask/settings/env",
        "# What a developer sets.\nLEVEL_3=file\nLEVEL_4=file\nLEVEL_5=file\n\
         LEVEL_6=file\nDB_URL=postgres://app:file-secret@localhost/x\n",
    );
    fixture
}

fn up(fixture: &Fixture, args: &[&str], shell: &[(&str, &str)]) -> Ran {
    let args = [["up", "-d"].as_slice(), args].concat();
    let up = fixture.spawn_with(&args, |command| {
        command.envs(shell.iter().copied());
    });
    up.wait(START)
}

/// The state of a stack's service.
fn service(fixture: &Fixture, stack: &str, name: &str) -> Value {
    let status = fixture.xtask(&["status", "--json", "--stack", stack]).ends_with(0).json();
    let found = status["services"].as_array().unwrap().iter().find(|s| s["name"] == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {status:#}")).clone()
}

fn asked(fixture: &Fixture, stack: &str, path: &str) -> String {
    get_at(service(fixture, stack, "asker")["url"].as_str().unwrap(), path).unwrap().body
}

fn environ(fixture: &Fixture, stack: &str) -> BTreeMap<String, String> {
    let all = asked(fixture, stack, "/environ");
    let pairs = all.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The six levels as `asker` sees them.
fn levels(fixture: &Fixture, stack: &str) -> Vec<String> {
    let mut environ = environ(fixture, stack);
    (1..=6).map(|n| environ.remove(&format!("LEVEL_{n}")).unwrap_or_default()).collect()
}

const SHELL: [(&str, &str); 4] =
    [("LEVEL_4", "shell"), ("LEVEL_5", "shell"), ("LEVEL_6", "shell"), ("UNPLANNED", "kept")];

const FLAGS: [&str; 6] = ["-e", "LEVEL_5=flag", "-e", "LEVEL_6=flag", "-e", "asker:LEVEL_6=own"];

#[test]
fn each_variable_source_overrides_the_previous() {
    let fixture = shelf();
    let started = up(&fixture, &FLAGS, &SHELL).ends_with(0);
    let seen = levels(&fixture, "dev");
    assert_eq!(seen, ["workspace", "service", "file", "shell", "flag", "own"], "{started}");
    assert_eq!(environ(&fixture, "dev")["UNPLANNED"], "kept");
    let depot = fixture.xtask(&["logs", "depot"]).ends_with(0);
    let depot = depot.says("env: LEVEL_2=workspace").says("env: LEVEL_4=shell");
    depot.says("env: LEVEL_5=flag").says("env: LEVEL_6=flag");

    // Both services get it, and it is said once; what a flag decides is not said.
    let said = started.stderr.lines().filter(|line| line.contains("the shell"));
    let said: Vec<&str> = said.collect();
    assert!(matches!(said[..], [line] if line.contains("`LEVEL_4`")), "{started}");
}

#[test]
fn isolated_stack_ignores_shell_values_of_the_plan() {
    let fixture = shelf();
    let stray = [("PORT", "1"), ("HOST", "x"), ("DB_URL", "sqlite:/dev/null")];
    let shell = [SHELL.as_slice(), &stray].concat();
    let started =
        up(&fixture, &[["--stack", "apart"].as_slice(), &FLAGS].concat(), &shell).ends_with(0);
    assert!(!started.stderr.contains("the shell"), "{started}");
    let seen = levels(&fixture, "apart");
    assert_eq!(seen, ["workspace", "service", "file", "file", "flag", "own"]);
    let environ = environ(&fixture, "apart");
    assert_eq!(environ["DB_URL"], "postgres://app:file-secret@localhost/x");
    assert_eq!(environ["HOST"], "127.0.0.1");
}

#[test]
fn addresses_never_come_from_the_shell() {
    let fixture = shelf();
    let wrong = ["PORT", "HOST", "DEPOT_URL", "DEPOT_PORT", "METRICS_PORT", "PEER"];
    let started = up(&fixture, &[], &wrong.map(|name| (name, "1"))).ends_with(0);
    assert!(!started.stderr.contains("the shell"), "{started}");

    let (asker, depot) = (service(&fixture, "dev", "asker"), service(&fixture, "dev", "depot"));
    let port = |service: &Value, name: &str| service["ports"][name].as_u64().unwrap().to_string();
    let (http, metrics) = (port(&asker, "http"), port(&asker, "metrics"));
    let (depot_http, depot_metrics) = (port(&depot, "http"), port(&depot, "metrics"));
    let depot_url = format!("http://127.0.0.1:{depot_http}");
    assert_eq!(depot["url"], *depot_url);
    let expected = [
        ("HOST", "127.0.0.1"),
        ("PORT", &http),
        ("HTTP_PORT", &http),
        ("METRICS_PORT", &metrics),
        ("DEPOT_URL", &depot_url),
        ("DEPOT_HOST", "127.0.0.1"),
        ("DEPOT_PORT", &depot_http),
        ("DEPOT_HTTP_PORT", &depot_http),
        ("DEPOT_METRICS_PORT", &depot_metrics),
        ("DEPOT_METRICS_URL", &format!("http://127.0.0.1:{depot_metrics}")),
        ("PEER", &format!("{depot_url}/shelf")),
        ("LISTEN_FDS", "2"),
        ("LISTEN_FDNAMES", "http:metrics"),
    ];
    let environ = environ(&fixture, "dev");
    for (name, value) in expected {
        assert_eq!(environ.get(name).map(String::as_str), Some(value), "{name}");
    }
    let args = format!("--own\n{metrics}\n{depot_http}\n$HOME\n--api-token=arg-secret");
    assert_eq!(asked(&fixture, "dev", "/args"), args);
}

#[test]
fn service_starts_with_a_clean_environment() {
    let fixture = shelf();
    // A shell that ignores signals, below a supervisor and a cargo of its own.
    let outer = [
        ("CARGO", "/nowhere/cargo"),
        ("CARGO_PKG_NAME", "outer"),
        ("CARGO_MANIFEST_DIR", "/nowhere"),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDS", "9"),
        ("LISTEN_FDNAMES", "outer"),
        ("NOTIFY_SOCKET", "/nowhere/notify"),
        ("WATCHDOG_USEC", "1"),
        ("JOURNAL_STREAM", "1:1"),
        ("XTASK_MARK", "outer"),
    ];
    // These only look like the others, and belong to the user.
    let own = [
        ("LISTEN_ADDR", "1"),
        ("WATCHDOG_DIR", "2"),
        ("OUT_DIR", "/nowhere"),
        ("CARGO_REGISTRIES_MINE_INDEX", "3"),
        ("XTASK_OWN", "4"),
        ("INVOCATION_ID", "5"),
    ];
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' INT TERM HUP QUIT; unset CARGO; exec \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_cargo-services")).current_dir(fixture.root()).env_clear();
    let model = fixture.command();
    command
        .envs(model.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .envs(outer)
        .envs(own);
    Running::start(command, &["up", "-d"], fixture.out().join("outer")).wait(START).ends_with(0);

    let environ = environ(&fixture, "dev");
    for (name, value) in outer {
        assert_ne!(environ.get(name).map(String::as_str), Some(value), "{name}");
    }
    let folder = fixture.root().join("apps/ask").display().to_string();
    assert_eq!(environ["CARGO_MANIFEST_DIR"], folder);
    for (name, value) in own {
        assert_eq!(environ.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(asked(&fixture, "dev", "/cwd"), folder);
    assert_eq!(asked(&fixture, "dev", "/stdin"), "");

    let pid = service(&fixture, "dev", "asker")["pid"].to_string();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let signals = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    // Rust's own start ignores SIGPIPE, number 13.
    assert_eq!(signals("SigIgn:") & !(1 << 12), 0, "{status}");
    assert_eq!(signals("SigBlk:"), 0, "{status}");
}

#[test]
fn overlay_adds_dependencies_and_replaces_values() {
    let fixture = shelf();
    up(&fixture, &[], &[]).ends_with(0);
    assert_eq!(environ(&fixture, "dev")["MODE"], "near");
    let names = |fixture: &Fixture| {
        let status = fixture.status();
        let services = status["services"].as_array().unwrap();
        services.iter().filter(|s| s["phase"] == "ready").count()
    };
    assert_eq!(names(&fixture), 2);

    up(&fixture, &["--with", "far"], &[]).ends_with(0);
    assert_eq!(environ(&fixture, "dev")["MODE"], "far");
    assert_eq!(names(&fixture), 3);
    assert_eq!(service(&fixture, "dev", "extra")["phase"], "ready");

    up(&fixture, &["--with", "fra"], &[]).ends_with(2).says("did you mean `--with far`?");
}

#[test]
fn trailing_arguments_go_to_the_named_service() {
    let fixture = shelf();
    up(&fixture, &["asker", "--", "--flag", "two words", "${literal}"], &[]).ends_with(0);
    let args = asked(&fixture, "dev", "/args");
    assert!(args.ends_with("--api-token=arg-secret\n--flag\ntwo words\n${literal}"), "{args}");

    up(&fixture, &["asker", "depot", "--", "--flag"], &[]).ends_with(2).says("one");
    up(&fixture, &["-e", "nonsense"], &[]).ends_with(2).says("nonsense").says("KEY=VALUE");
    up(&fixture, &["-e", "askr:A=1"], &[]).ends_with(2).says("did you mean `asker`?");
}

#[test]
fn plans_mask_secrets_and_name_sources() {
    let fixture = shelf();
    let flags = ["-e", "asker:ADMIN_PASSWORD=flag-secret"];
    let shown = |args: &[&str]| {
        let shown = fixture.xtask(&[args, &flags].concat()).ends_with(0);
        for secret in ["env-secret", "arg-secret", "file-secret", "flag-secret"] {
            assert!(!format!("{}{}", shown.stdout, shown.stderr).contains(secret), "{shown}");
        }
        shown.says("API_TOKEN").says("ADMIN_PASSWORD").says("DB_URL")
    };
    shown(&["up", "--dry-run"]);
    shown(&["up", "--dry-run", "--json"]);
    shown(&["explain", "asker", "--json"]);
    let explained = shown(&["explain", "asker"]);
    let line = |file: &str, text: &str| {
        let place = fixture.text(file).lines().position(|line| line.contains(text)).unwrap();
        format!("{file}:{}", place + 1)
    };
    for (name, place) in [
        ("LEVEL_1=workspace", line("Cargo.toml", "LEVEL_1")),
        ("LEVEL_2=service", line("apps/ask/Cargo.toml", "LEVEL_2")),
        ("LEVEL_3=file", line("apps/ask/settings/env", "LEVEL_3")),
        ("  '$HOME' ", line("apps/ask/Cargo.toml", "args")),
        ("ADMIN_PASSWORD=", "-e asker:ADMIN_PASSWORD".to_owned()),
    ] {
        let row = explained.stdout.lines().find(|row| row.contains(name));
        let row = row.unwrap_or_else(|| panic!("no `{name}`\n{explained}"));
        assert!(row.contains(&place), "`{place}` is not in `{row}`\n{explained}");
    }
    up(&fixture, &flags, &[]).ends_with(0);
    let environ = environ(&fixture, "dev");
    assert_eq!(environ["ADMIN_PASSWORD"], "flag-secret");
    assert_eq!(environ["API_TOKEN"], "env-secret");
}
