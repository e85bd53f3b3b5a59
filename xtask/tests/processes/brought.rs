//! Words that users bring from other tools, and mistyped names.

use std::time::Duration;

use xtask_test_support::stand::{SERVE, phase, stand};
use xtask_test_support::{Fixture, eventually};

/// Line, exit code, and what the message names.
const LINES: [(&[&str], i32, &str); 22] = [
    (&["help"], 0, "Commands:"),
    (&["help", "down"], 0, "Usage: cargo xtask down"),
    (&["help", "ps"], 0, "Usage: cargo xtask status"),
    (&["help", "graph"], 0, "Usage: cargo xtask graph"),
    (&["--help", "down"], 0, "Usage: cargo xtask down"),
    (&["up", "--with", "--help"], 0, "Usage: cargo xtask up"),
    (&["--stack", "--help"], 0, "Commands:"),
    (&["help", "dance"], 2, "no command is called `dance`"),
    (&["version"], 0, env!("CARGO_PKG_VERSION")),
    (&["list"], 2, "`cargo xtask status --all`"),
    (&["ls"], 2, "`cargo xtask graph`"),
    (&["exec", "base", "sh"], 2, "`cargo xtask run SERVICE -- COMMAND`"),
    (&["watch"], 2, "`cargo xtask up --watch`"),
    (&["up", "--build"], 2, "omit it"),
    (&["ps", "-w"], 2, "`watch cargo xtask status`"),
    (&["down", "-v"], 2, "`cargo xtask down --data`"),
    (&["stauts"], 2, "did you mean `cargo xtask status`?"),
    (&["exprot"], 2, "did you mean `cargo xtask export`?"),
    (&["frobnicate"], 2, "`cargo xtask --help` lists the commands"),
    (&["up", "--containers", "base", "other"], 2, "`--containers=base,other`"),
    (&["ps"], 7, "`cargo xtask up` starts it"),
    (&["stop"], 0, "nothing is running"),
];

fn pair() -> Fixture {
    stand(&[
        ("base", &format!("{SERVE} --tick 10"), "port = 0\n"),
        ("other", SERVE, "port = 0\n[workspace.metadata.services.other.with.postgres]\n"),
    ])
    .write()
}

#[test]
fn words_of_other_tools_work_or_are_answered() {
    let fixture = pair();
    for (line, code, words) in LINES {
        fixture.xtask(line).ends_with(code).says(words);
    }
    assert_eq!(fixture.processes(), []);
    let help = fixture.xtask(&["--help"]).ends_with(0).stdout;
    for word in ["ps", "stop", "start", "help", "list"] {
        assert!(!help.contains(&format!("\n  {word} ")), "{word}\n{help}");
    }
}

#[test]
fn start_ps_logs_and_stop_do_what_others_do() {
    let fixture = pair();
    fixture.xtask(&["start"]).ends_with(0);
    assert_eq!(phase(&fixture, "base"), "ready");
    fixture.xtask(&["ps"]).ends_with(0).says("base");
    let lines = |tail: &str| {
        let shown = fixture.xtask(&["logs", "base", "--tail", tail]).ends_with(0);
        shown.stdout.lines().count()
    };
    eventually(Duration::from_secs(60), "3 lines", || (lines("all") >= 3).then_some(()));
    assert_eq!(lines("1"), 1);
    let follow = fixture.spawn(&["logs", "base", "-w"]);
    follow.says(Duration::from_secs(60), "base");
    follow.signal(libc::SIGINT);
    follow.wait(Duration::from_secs(60)).ends_with(130);
    fixture.xtask(&["stop"]).ends_with(0).says("Down stack");
    fixture.is_quiet();
}

#[test]
fn mistyped_names_get_a_suggestion() {
    let fixture = pair();
    let mistakes: [(&[&str], i32, &str); 8] = [
        (&["up", "bse"], 2, "did you mean `base`?"),
        (&["up", "--with", "postgress"], 2, "did you mean `--with postgres`?"),
        (&["up", "--containers=bse"], 2, "did you mean `base`?"),
        (&["explain", "bse"], 2, "did you mean `base`?"),
        (&["explain", "unknown-srevice"], 2, "did you mean `cargo xtask explain unknown-service`?"),
        (&["env", "othr"], 2, "did you mean `other`?"),
        (&["run", "othr", "--", "true"], 2, "did you mean `other`?"),
        (&["new", "more", "--depends-on", "othr"], 2, "did you mean `other`?"),
    ];
    for (line, code, words) in mistakes {
        fixture.xtask(line).ends_with(code).says(words);
    }
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let of_a_stack: [(&[&str], i32, &str); 7] = [
        (&["restart", "bse", "--no-build"], 2, "did you mean `base`?"),
        (&["wait", "bse"], 2, "did you mean `base`?"),
        (&["down", "bse"], 2, "did you mean `base`?"),
        (&["logs", "bse"], 2, "did you mean `base`?"),
        (&["status", "--stack", "dve"], 7, "did you mean `--stack dev`?"),
        (&["down", "--stack", "dve"], 0, "did you mean `--stack dev`?"),
        (&["wait", "--stack", "testing"], 7, "`cargo xtask up --stack testing` starts it"),
    ];
    for (line, code, words) in of_a_stack {
        fixture.xtask(line).ends_with(code).says(words);
    }
    fixture.file("Cargo.toml", &fixture.text("Cargo.toml").replace("port = 0", "prot = 0"));
    fixture.xtask(&["check"]).ends_with(2).says("did you mean `port`?");
}
