//! Every command with invalid arguments: the message contains the reason, the exit code is the
//! documented one, and nothing is started.

use std::time::Duration;

use xtask_test_support::stand::stand;
use xtask_test_support::{Fixture, Ran};

/// Whatever the command: arguments, and what is said about them.
const EVERYWHERE: [(&[&str], &str); 7] = [
    (&["--nonsense"], "'--nonsense'"),
    (&["--stack", "../../etc"], "'../../etc'"),
    (&["--stack", ""], "1 to 64 characters"),
    (&["--stack", "a\nb"], "letters"),
    (&["--color", "purple"], "purple"),
    (&["--manifest-path"], "value is required"),
    (&["--\u{202e}"], "unexpected argument"),
];

/// Command line, exit code, words.
const ONE_BY_ONE: [(&[&str], i32, &str); 53] = [
    (&[], 2, "Usage"),
    (&["dance"], 2, "dance"),
    (&["up", "nobody"], 2, "nobody"),
    (&["up", "idle", "nobody"], 2, "nobody"),
    (&["up", "--ports", "99999"], 2, "99999"),
    (&["up", "-e", "="], 2, "sets no variable"),
    (&["up", "-e", "nokey"], 2, "sets no variable"),
    (&["up", "-e", "missing:KEY=1"], 2, "missing"),
    (&["up", "--with", "nothing"], 2, "nothing"),
    (&["up", "--", "--more"], 2, "need one service"),
    (&["up", "--dry-run", "--containers", "idle"], 2, "`--containers=idle`"),
    (&["up", "--release", "--profile", "dev"], 2, "cannot be used with"),
    (&["up", "--manifest-path", "/no/where/Cargo.toml"], 2, "/no/where/Cargo.toml"),
    (&["up", "--manifest-path", "/"], 2, "manifest"),
    (&["status", "--manifest-path", "/no/where/Cargo.toml"], 2, "/no/where/Cargo.toml"),
    (&["status", "extra"], 2, "extra"),
    (&["status"], 7, "cargo xtask up"),
    (&["down", "nobody"], 0, "nothing is running"),
    (&["logs", "nobody"], 2, "`nobody`"),
    (&["logs", "-n", "-5"], 2, "-5"),
    (&["logs", "-n", "many"], 2, "many"),
    (&["restart"], 2, "SERVICE"),
    (&["restart", "nobody"], 7, "cargo xtask up"),
    (&["wait", "--timeout", "never"], 2, "never"),
    (&["wait", "--timeout", "-1"], 2, "-1"),
    (&["explain"], 2, "SERVICE"),
    (&["explain", "nobody"], 2, "nobody"),
    (&["graph", "--format", "oil"], 2, "oil"),
    (&["check", "nobody"], 2, "nobody"),
    // What a command would not look at.
    (&["check", "--slow", "idle=1s"], 2, "--slow"),
    (&["graph", "--release"], 2, "--release"),
    (&["explain", "idle", "--seed", "1"], 2, "--seed"),
    (&["export", "compose", "--ports", "auto"], 2, "--ports"),
    (&["image", "-e", "LEVEL=1"], 2, "-e"),
    (&["export", "compose", "--containers"], 2, "--containers"),
    (&["up", "--seed", "1"], 2, "--start-order"),
    (&["test-e2e", "--seed", "1"], 2, "--kill-random"),
    // Files and folders.
    (&["up", "--manifest-path", " "], 2, "hint: run it in a workspace"),
    (&["up", "--record", "/no/where/record"], 1, "hint: check the path"),
    (&["up", "--record", "/"], 1, "hint: name a file"),
    (&["replay", "nothing"], 2, "hint: check the path"),
    (&["replay", "/dev/zero"], 2, "is not a record"),
    (&["timings", "--stack", "other"], 7, "hint: `cargo xtask up --stack other`"),
    (&["replay", "Cargo.toml"], 2, "hint: `cargo xtask up --record FILE`"),
    (&["import", "Procfile"], 2, "hint: check the path"),
    (&["import", "."], 2, "hint: import a `Procfile`"),
    (&["import", "Cargo.toml"], 2, "hint: import a `Procfile`"),
    (&["timings", "--output", "/"], 7, "hint: `cargo xtask up`"),
    (&["new", ""], 2, "hint: write lower-case letters"),
    (&["new", "idle"], 2, "hint: choose another name"),
    (&["mcp"], 1, "hint: let an agent or editor start it"),
    (&["status", "--all", "--stack", "a"], 2, "hint: omit one of them"),
    (&["init", "--manifest-path", "/no/where/Cargo.toml"], 2, "hint: run it in a workspace"),
];

fn idle() -> Fixture {
    stand(&[("idle", "", "")]).write()
}

/// Names that cannot be those of a service, each with the words of its message.
const IMPOSSIBLE: [(&str, &str); 5] = [
    ("", "the name of a service is empty"),
    (" ", "the name of a service is empty"),
    ("a b", "`a b`"),
    ("idle.sock", "`idle.sock`"),
    ("x\r\ny", "`x"),
];

/// The commands that the help names.
fn commands(fixture: &Fixture) -> Vec<String> {
    let help = fixture.xtask(&["--help"]).ends_with(0).stdout;
    let begin = help.find("Commands:").unwrap();
    let lines = help[begin..].lines().skip(1).take_while(|line| !line.starts_with('`'));
    let named = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    named.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn is_no_panic(ran: &Ran) {
    assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("backtrace"), "{ran}");
}

#[test]
fn no_command_takes_nonsense() {
    let fixture = idle();
    let commands = commands(&fixture);
    assert!(commands.len() >= 12, "{commands:?}");
    for command in &commands {
        for (arguments, words) in EVERYWHERE {
            let line: Vec<&str> = [&[command.as_str()], arguments].concat();
            let ran = fixture.xtask(&line).ends_with(2);
            is_no_panic(&ran);
            assert!(ran.stderr.contains(words), "`{words}` is not said\n{ran}");
            assert_eq!(ran.stdout, "", "{ran}");
        }
    }
    assert_eq!(fixture.processes(), []);
}

#[test]
fn each_mistake_has_its_code_and_message() {
    let fixture = idle();
    for (line, code, words) in ONE_BY_ONE {
        let ran = fixture.xtask(line).ends_with(code);
        is_no_panic(&ran);
        let has_way_out = ["hint: ", "--help", "nothing is running"];
        assert!(has_way_out.iter().any(|text| ran.stderr.contains(text)), "no way out\n{ran}");
        ran.says(words);
    }
    assert_eq!(fixture.processes(), []);
    let kept = std::fs::read_dir(fixture.state()).unwrap().flatten();
    let stacks: Vec<_> =
        kept.map(|entry| entry.path().join("dev")).filter(|p| p.exists()).collect();
    assert_eq!(stacks, Vec::<std::path::PathBuf>::new(), "no stack was made");
}

#[test]
fn line_break_in_an_argument_forges_no_line() {
    let fixture = idle();
    let forged = "x\nerror: forged";
    for line in [
        &[forged][..],
        &["--stack", forged, "status"],
        &["logs", "--since", forged],
        &["up", forged],
        &["explain", forged],
        &["up", "-e", forged],
    ] {
        let ran = fixture.xtask(line).ends_with(2);
        assert!(!ran.stderr.lines().any(|line| line.starts_with("error: forged")), "{ran}");
    }
}

/// A hint must not propose to declare a name that the metadata refuses.
#[test]
fn impossible_name_is_not_proposed() {
    let fixture = idle();
    for (name, words) in IMPOSSIBLE {
        let (variable, slow) = (format!("{name}:A=1"), format!("{name}=1s"));
        let containers = format!("--containers={name}");
        let mut lines: Vec<Vec<&str>> = ["up", "explain", "env", "graph", "image", "verify-deps"]
            .map(|command| vec![command, name])
            .into();
        lines.extend([
            vec!["run", name, "--", "true"],
            vec!["export", "compose", name],
            vec!["up", "--slow", &slow],
            vec!["up", &containers],
        ]);
        if !name.is_empty() {
            lines.push(vec!["up", "-e", &variable]);
        }
        for line in lines {
            let ran = fixture.xtask(&line).ends_with(2);
            is_no_panic(&ran);
            ran.says(words).says("hint: name one of them, or remove it here");
        }
        let overlay = fixture.xtask(&["up", "--with", name]).ends_with(2);
        overlay.says("hint: declare one: `[package.metadata.service.with.NAME]`");
    }
}

#[test]
fn import_declares_no_service_twice() {
    let fixture = idle();
    let manifests = || {
        let files = ["Cargo.toml", "idle/Cargo.toml"].map(|file| fixture.root().join(file));
        files.map(|file| std::fs::read_to_string(file).unwrap_or_default())
    };
    let before = manifests();
    for (text, words) in [
        ("web: a\nweb: b\n", "two of the proposed services are called `web`"),
        ("idle: a\n", "the workspace declares a service `idle` already"),
    ] {
        fixture.file("Procfile", text);
        let import = fixture.xtask(&["import", "--yes", "Procfile"]).ends_with(2);
        import.says(words).says("hint: rename or remove one");
        assert_eq!(manifests(), before);
    }
    fixture.file("Procfile of 2025", "web: a\n");
    let import = fixture.xtask(&["import", "Procfile of 2025"]).ends_with(0);
    import.says("`cargo xtask import 'Procfile of 2025' --yes`");
}

/// What a running stack is asked for in vain changes nothing there.
#[test]
fn queries_leave_a_running_stack_alone() {
    let fixture = idle();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = fixture.service("idle");
    let mistakes: [(&[&str], i32, &str); 7] = [
        (&["down", "nobody"], 2, "nobody"),
        (&["wait", "--timeout", "0"], 4, "hint: wait longer"),
        (&["restart", "nobody"], 2, "idle"),
        (&["restart", "idle", "nobody"], 2, "nobody"),
        (&["wait", "nobody"], 2, "nobody"),
        (&["logs", "nobody"], 2, "nobody"),
        (&["up", "nobody"], 2, "nobody"),
    ];
    for (line, code, words) in mistakes {
        fixture.xtask(line).ends_with(code).says(words);
    }
    let follower = fixture.spawn(&["logs", "--follow", "nobody"]);
    follower.says(Duration::from_secs(10), "hint: its services are idle");
    drop(follower);
    let after = fixture.service("idle");
    assert_eq!((&before["pid"], &before["run"]), (&after["pid"], &after["run"]));
}
