//! `up --record` and `replay`: a recorded run replays to the same effects, and an incomplete,
//! changed or foreign file is refused or reported.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, Ran};

const LISTENS: &str = "port = 0\nenv = { API_TOKEN = \"hunter2\" }\n";

/// A stack of two services, brought up, restarted and taken down under a record.
fn recorded() -> (Fixture, PathBuf) {
    let on = format!("{LISTENS}depends-on = [\"base\"]\n");
    let fixture = stand(&[("base", SERVE, LISTENS), ("front", SERVE, &on)]).write();
    let file = fixture.out().join("run.record");
    // What lay there before is overwritten, and was readable by others.
    fs::write(&file, "something else").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    fixture.xtask(&["up", "-d", "--record", file.to_str().unwrap()]).ends_with(0);
    fixture.xtask(&["restart", "base"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    (fixture, file)
}

fn replay(fixture: &Fixture, file: &Path) -> Ran {
    fixture.xtask(&["replay", file.to_str().unwrap()])
}

/// The record with its text changed.
fn changed(file: &Path, change: impl FnOnce(&str) -> String) -> PathBuf {
    let other = file.with_extension("changed");
    fs::write(&other, change(&fs::read_to_string(file).unwrap())).unwrap();
    other
}

#[test]
fn replay_repeats_a_record_and_reports_changes() {
    let (fixture, file) = recorded();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the file contains secrets");

    let same = replay(&fixture, &file).ends_with(0);
    let same = same.says("apply a plan of base, front").says("-> the end");
    let same = same.says("events replayed: the effects are the same\n");
    assert!(!same.stdout.contains("hunter2"), "{same}");

    let json = fixture.xtask(&["replay", "--json", file.to_str().unwrap()]).ends_with(0);
    let lines: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.last().unwrap();
    assert_eq!((&end["outcome"], &end["ended"]), (&"same".into(), &true.into()), "{end}");
    assert_eq!(lines[0]["effects"], lines[0]["replayed"]);

    // What the metadata declares; the shell may override it at the start.
    let declared = |value: &str| format!("\"declared\":[\"{value}\"]");
    let other = changed(&file, |text| text.replacen(&declared("hunter2"), &declared("hunter3"), 1));
    let differs = replay(&fixture, &other).ends_with(1);
    let differs = differs.says("difference: line ").says("`command.env.0.1` was `********`");
    assert!(!differs.stdout.contains("-> the end"), "it continues after the difference: {differs}");

    let half = changed(&file, |text| text[..text.len() * 2 / 3].to_owned());
    let cut = replay(&fixture, &half).ends_with(1).says("the effects are the same");
    cut.says("the stack had not ended").says("the record ends in the middle of line ");

    let spoilt = changed(&file, |text| text.replace("\"event\":\"shutdown\"", "\"event\":\"x\""));
    replay(&fixture, &spoilt).ends_with(1).says("is malformed: unknown variant `x`");

    let newer = changed(&file, |text| text.replacen("\"version\":2", "\"version\":7", 1));
    let newer = replay(&fixture, &newer).ends_with(1).says("-> the end");
    newer.says("the record has version 7 of the format, and this tool reads version 2");
}

#[test]
fn file_of_another_format_is_refused() {
    let fixture = stand(&[]).write();
    for text in ["", "something\n", "{\"check\":\"rest\"}\n", "\u{0}\u{1}"] {
        let file = fixture.out().join("file");
        fs::write(&file, text).unwrap();
        replay(&fixture, &file).ends_with(2).says("is not a record").says("up --record FILE");
    }
    for nothing in [fixture.out().join("nowhere"), fixture.out()] {
        replay(&fixture, &nothing).ends_with(2).says("failed to read the record");
    }
}

#[test]
fn running_stack_cannot_be_recorded() {
    let fixture = stand(&[("base", "", "")]).write();
    let nowhere = fixture.out().join("nowhere/run.record");
    let refused = fixture.xtask(&["up", "-d", "--record", nowhere.to_str().unwrap()]);
    refused.ends_with(1).says("failed to write the record").says("No such file or directory");
    fixture.is_quiet();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let file = fixture.out().join("run.record");
    let late = fixture.xtask(&["up", "-d", "--record", file.to_str().unwrap()]).ends_with(2);
    late.says("a record must begin with the stack").says("cargo xtask down");
    assert_eq!(fixture.service("base")["phase"], "ready");
}

#[test]
fn simulation_trace_is_a_record() {
    let fixture = stand(&[]).write();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/traces");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        replay(&fixture, &path).ends_with(0).says("no effects were recorded");
    }
}

/// A seed in which a promise is broken on purpose, by a checker and by a panic.
#[test]
fn failing_seed_leaves_a_replayable_record() {
    let fixture = stand(&[]).write();
    for (broken, checker) in [("objection", "on purpose"), ("panic", "no panic")] {
        // The whole workspace, so that its features are those of every other build.
        let simulated = Command::new(env!("CARGO"))
            .args(["test", "--offline", "--workspace", "--test", "simulation", "--"])
            .arg("no_seed_violates_a_property")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
            .env("XTASK_BREAK", broken)
            .env("XTASK_SEEDS", "20")
            .env_remove("XTASK_SEED")
            .env_remove("XTASK_FIRST_SEED")
            .output()
            .unwrap();
        let said = String::from_utf8([simulated.stdout, simulated.stderr].concat()).unwrap();
        assert!(!simulated.status.success(), "{said}");
        assert!(said.contains(&format!("checker `{checker}`: broken on purpose")), "{said}");
        let path = |before: &str| {
            let line = said.lines().find_map(|line| line.split_once(before));
            PathBuf::from(line.unwrap_or_else(|| panic!("no `{before}` in:\n{said}")).1)
        };
        let whole = replay(&fixture, &path("cargo xtask replay ")).ends_with(0);
        whole.says("apply a plan of").says("25 events replayed: the effects are the same");
        replay(&fixture, &path("a case for tests/traces: ")).ends_with(0);
    }
}
