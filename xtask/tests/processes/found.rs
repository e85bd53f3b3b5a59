//! Which stack a command finds: without a readable manifest, after a rename of the workspace, and
//! after its files were deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;

use crate::guardian::mark;
use xtask_test_support::stand::{SERVE, pid, stand};
use xtask_test_support::{Fixture, Ran, alive, eventually};

/// How long one command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service that appends a line to its data at each start.
fn writing() -> Fixture {
    let command = r#"["sh", "-c", "echo started; echo x >> $$D/file; exec sleep 600"]"#;
    Fixture::new("first")
        .workspace(&format!(
            "[workspace.metadata.services.writer]\ncommand = {command}\n\
             env = {{ D = \"${{stack.data}}\" }}"
        ))
        .write()
}

fn plain() -> Fixture {
    stand(&[("plain", SERVE, "port = 0\n")]).write()
}

fn in_folder(fixture: &Fixture, folder: &Path, args: &[&str]) -> Ran {
    let run = fixture.spawn_with(args, |command| {
        command.current_dir(folder);
    });
    run.wait(PATIENCE)
}

/// The folder of the state of the only workspace.
fn state(fixture: &Fixture) -> PathBuf {
    let mut entries = fs::read_dir(fixture.state()).unwrap();
    let folder = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    folder
}

fn lines(fixture: &Fixture) -> usize {
    fs::read_to_string(state(fixture).join("dev/data/file")).unwrap().lines().count()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// With a `PATH` without cargo, from a subfolder.
#[test]
fn stack_is_found_without_cargo_and_manifests() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let good = fixture.text("Cargo.toml");
    let manifest = fixture.root().join("Cargo.toml");
    let run = |args: &[&str]| {
        let run = fixture.spawn_with(args, |command| {
            command.current_dir(fixture.root().join("libs/idle/src"));
            command.env("PATH", "/no/where").env_remove("CARGO");
        });
        run.wait(PATIENCE)
    };
    let broken = format!("{good}\nnonsense");
    let conflict = format!("<<<<<<< HEAD\n{good}");
    for text in [Some(&good), Some(&broken), Some(&conflict), None] {
        match text {
            Some(text) => fs::write(&manifest, text).unwrap(),
            None => fs::remove_file(&manifest).unwrap(),
        }
        run(&["status"]).ends_with(0).says("plain");
        run(&["wait"]).ends_with(0);
        run(&["logs", "-n", "1", "plain"]).ends_with(0);
        run(&["restart", "--no-build", "plain"]).ends_with(0).says("Restarted plain");
    }
    let plain = pid(&fixture, "plain");
    run(&["down"]).ends_with(0).says("Down");
    assert!(!alive(plain));
    run(&["status"]).ends_with(7);
}

#[test]
fn renamed_workspace_keeps_its_stack_and_data() {
    let fixture = writing();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let writer = pid(&fixture, "writer");
    let (old, new) = (fixture.root(), fixture.root().with_file_name("second"));
    fs::rename(&old, &new).unwrap();
    let run = |args: &[&str]| in_folder(&fixture, &new, args);

    let status = run(&["status"]).ends_with(0).says("ready");
    status.says(&format!("`{}`, which is now `{}`", shown(&old), shown(&new)));
    let refused = run(&["up", "-d"]).ends_with(1).says(&shown(&old)).says(&shown(&new));
    refused.says("hint: `cargo xtask down` stops it");
    let explained = run(&["explain", "writer"]).ends_with(0);
    explained.says(&format!("as process {writer}"));
    run(&["restart", "writer"]).ends_with(1).says(&shown(&old));
    assert!(alive(writer));
    run(&["down"]).ends_with(0).says("Down").says(&shown(&old));
    assert!(!alive(writer));
    run(&["status"]).ends_with(7);

    let up = run(&["up", "-d"]).ends_with(0);
    up.says(&format!("Moved state of stacks dev from `{}` to `{}`", shown(&old), shown(&new)));
    assert_eq!(lines(&fixture), 2);
    let status = run(&["status"]).ends_with(0);
    assert!(!status.stderr.contains("Moved"), "{status}");
    run(&["down"]).ends_with(0);
    // The same on the way back, while the stack is down.
    fs::rename(&new, &old).unwrap();
    fixture.xtask(&["logs"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0).says("Moved state");
    assert_eq!(lines(&fixture), 3);
}

/// A move to another file system is a copy and a deletion.
#[test]
fn start_names_data_of_other_folders() {
    let fixture = writing();
    let (old, new) = (fixture.root(), fixture.root().with_file_name("second"));
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let data = state(&fixture).join("dev/data");
    let copy = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
        assert!(copied.success());
    };
    copy(&old, &new);
    fs::remove_dir_all(&old).unwrap();
    let up = in_folder(&fixture, &new, &["up", "-d"]).ends_with(0);
    let up = up.says("where the stack still runs").says(&shown(&data));
    up.says(&format!("starts without data; workspace `{}`, which no longer exists", shown(&old)));
    in_folder(&fixture, &new, &["down"]).ends_with(0);

    copy(&new, &old);
    fixture.xtask(&["down"]).ends_with(0);
    let up = fixture.xtask(&["up", "-d"]).ends_with(0);
    up.says(&format!("uses the data in `{}`, of another folder that was", shown(&data)));
    let again = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(!again.stderr.contains("another folder"), "{again}");
    fixture.xtask(&["down"]).ends_with(0);
}

#[test]
fn stack_without_state_is_named_and_stopped() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let supervisor = fixture.supervisor();
    let (folder, plain) = (state(&fixture).join("dev"), pid(&fixture, "plain"));
    fs::remove_dir_all(fixture.state()).unwrap();
    let deleted = format!("its folder `{}` was deleted", shown(&folder));
    for _ in 0..2 {
        fixture.xtask(&["status"]).ends_with(0).says("ready").says(&deleted);
        let refused = fixture.xtask(&["up", "-d"]).ends_with(1).says(&deleted);
        refused.says(&format!("process {supervisor}")).says("hint: `cargo xtask down` stops it");
    }
    assert!(alive(plain));
    fixture.xtask(&["down"]).ends_with(0).says("Down");
    fixture.is_quiet();
    fixture.xtask(&["up", "-d"]).ends_with(0);
}

#[test]
fn down_needs_neither_state_nor_socket() {
    let fixture = plain();
    let new = fixture.root().with_file_name("second");
    for is_renamed in [false, true] {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        fs::remove_dir_all(fixture.state()).unwrap();
        fs::remove_dir_all(fixture.state().with_file_name("run/xtask")).unwrap();
        if is_renamed {
            fs::rename(fixture.root(), &new).unwrap();
            let down = in_folder(&fixture, &new, &["down"]).ends_with(0);
            down.says("by a signal to supervisor").says(&shown(&fixture.root()));
            fs::rename(&new, fixture.root()).unwrap();
        } else {
            fixture.xtask(&["down"]).ends_with(0).says("by a signal to supervisor").says("Down");
        }
        fixture.is_quiet();
    }
}

/// The services would fail or start over without their data.
#[test]
fn up_refuses_while_running_services_lack_their_data() {
    let fixture = writing();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fs::remove_dir_all(state(&fixture).join("dev/data")).unwrap();
    fixture.xtask(&["status"]).ends_with(0).says("dev/data` was deleted");
    fixture.xtask(&["up", "-d"]).ends_with(1).says("dev/data` was deleted");
    fixture.xtask(&["down"]).ends_with(0);
}

struct Orphan(Child);

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As after the death of supervisor, guardian and sweeper.
#[test]
fn marked_process_without_records_is_ended_and_named() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let mark = String::from_utf8(mark(pid(&fixture, "plain")).unwrap()).unwrap();
    fixture.xtask(&["down"]).ends_with(0);
    for args in [&["down"][..], &["up", "-d"]] {
        fs::remove_dir_all(fixture.state()).unwrap();
        let mut command = Command::new("sleep");
        let mut orphan = Orphan(command.arg("600").env("XTASK_MARK", &mark).spawn().unwrap());
        let pid = orphan.0.id();
        eventually(PATIENCE, "the mark", || {
            let environment = fs::read_to_string(format!("/proc/{pid}/environ")).ok()?;
            environment.contains("XTASK_MARK").then_some(())
        });
        let ran = fixture.xtask(args).ends_with(0);
        ran.says(&format!("killed leftover process {pid}: `sleep 600`"));
        assert!(orphan.0.try_wait().unwrap().is_some());
    }
}

#[test]
fn nested_workspace_uses_the_stack_around_it() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let nested = "[workspace]\n[package]\nname = \"nested\"\n";
    fixture.file("fuzz/Cargo.toml", nested);
    fixture.file("worktree/Cargo.toml", nested);
    fixture.file("worktree/.git", "");
    let status = in_folder(&fixture, &fixture.root().join("fuzz"), &["status"]).ends_with(0);
    status.says(&format!("stack `dev` of `{}`, which contains", shown(&fixture.root())));
    in_folder(&fixture, &fixture.root().join("worktree"), &["status"]).ends_with(7);
    in_folder(&fixture, &fixture.root().join("worktree"), &["down"]).ends_with(0);
    assert_eq!(fixture.status()["state"], "ready");
}

#[test]
fn all_lists_and_stops_stacks_of_every_workspace() {
    let first = stand(&[("plain", SERVE, "port = 0\n")]).stack("kept").write();
    let service = "[workspace.metadata.services.idle]\ncommand = [\"sleep\", \"600\"]";
    let second = Fixture::new("second").sharing(&first).workspace(service).write();
    first.xtask(&["status", "--all"]).ends_with(7).says("no stack of any workspace is running");
    first.xtask(&["up", "-d"]).ends_with(0);
    first.xtask(&["up", "-d", "--stack", "kept"]).ends_with(0);
    second.xtask(&["up", "-d"]).ends_with(0);
    first.xtask(&["down"]).ends_with(0);
    fs::remove_dir_all(second.root()).unwrap();

    let all = in_folder(&first, Path::new("/"), &["status", "--all", "--json"]).ends_with(0).json();
    let (one, two) = (shown(&first.root()), shown(&second.root()));
    let mut listed: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|stack| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&stack["workspace"]), text(&stack["stack"]), text(&stack["status"]["state"]))
        })
        .collect();
    listed.sort();
    let stack = |root: &str, name: &str, state: &str| (root.into(), name.into(), state.into());
    let mut expected =
        [stack(&one, "dev", ""), stack(&one, "kept", "ready"), stack(&two, "dev", "ready")];
    expected.sort();
    assert_eq!(listed, expected);
    let table = in_folder(&first, Path::new("/"), &["status", "--all"]).ends_with(0);
    table.says("kept").says("the workspace was moved or deleted");
    in_folder(&first, Path::new("/"), &["status", "--all", "--stack", "kept"]).ends_with(2);

    let down = in_folder(&first, Path::new("/"), &["down", "--all"]).ends_with(0);
    down.says(&format!("stack `kept` of `{one}`")).says(&format!("stack `dev` of `{two}`"));
    first.is_quiet();
    in_folder(&first, Path::new("/"), &["down", "--all"]).ends_with(0).says("no stack");
}
