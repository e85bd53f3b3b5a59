//! Surroundings that lack something: room, rights, variables, programs, descriptors. A
//! clear word, the right exit code, and nothing left behind; or no difference at all.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::by_hand::ByHand;
use crate::guardian::remains;
use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{
    Fixture, PackageSpec, Ran, SERVICE, eventually, free_port, get_at, misbehave,
};

/// How long a run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A service that is built, in a workspace of that name.
fn shop(name: &str) -> Fixture {
    let metadata = "[package.metadata.service]\nname = \"shop\"\nport = 0\n";
    let package = PackageSpec::new("shop", "shop").bin("shopd", SERVICE).metadata(metadata);
    Fixture::new(name).package(package).write()
}

/// Nothing to build: one service that answers.
fn plain() -> Fixture {
    stand(&[("plain", SERVE, "port = 0\n")]).write()
}

#[track_caller]
fn ran(fixture: &Fixture, args: &[&str], change: impl FnOnce(&mut Command)) -> Ran {
    let ran = fixture.spawn_with(args, change).wait(PATIENCE);
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    ran
}

/// Neither a process nor a socket nor a note.
#[track_caller]
fn nothing_is_left(fixture: &Fixture) {
    eventually(Duration::from_secs(5), "nothing left", || {
        remains(fixture).is_empty().then_some(())
    });
}

fn is_root() -> bool {
    // SAFETY: the call has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn long_path_with_blanks_and_quotes_works() {
    let long = "deep down ".repeat(20);
    for name in [long.trim(), "it's a \"shop\" for $HOME \\ `ls`"] {
        let fixture = shop(name);
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let service = fixture.service("shop");
        let url = service["url"].as_str().unwrap();
        let folder = fixture.root().join("shop").display().to_string();
        assert_eq!(get_at(url, "/cwd").unwrap().body, folder);
        fixture.xtask(&["restart", "shop"]).ends_with(0);
        fixture.xtask(&["logs", "shop"]).ends_with(0).says("listening");
        fixture.xtask(&["down"]).ends_with(0);
        nothing_is_left(&fixture);
    }
}

/// A socket's path has 103 bytes at most, a folder's has thousands.
#[test]
fn overlong_state_and_runtime_folders_work() {
    let fixture = plain();
    let deep = fixture.out().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    let change = |command: &mut Command| {
        command.env("XDG_RUNTIME_DIR", &deep).env("XTASK_STATE_DIR", deep.join("state"));
    };
    ran(&fixture, &["up", "-d"], change).ends_with(0);
    ran(&fixture, &["status"], change).ends_with(0).says("plain");
    ran(&fixture, &["down"], change).ends_with(0);
    nothing_is_left(&fixture);
}

#[test]
fn missing_variables_are_named_or_optional() {
    let fixture = plain();
    for args in [&["up", "-d"][..], &["status"], &["down"], &["logs"]] {
        let homeless = ran(&fixture, args, |command| {
            // Cargo and rustup know their own homes.
            let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
            for (name, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
                if std::env::var_os(name).is_none() {
                    command.env(name, home.join(folder));
                }
            }
            command.env_remove("HOME").env_remove("XTASK_STATE_DIR");
        });
        homeless.ends_with(2).says("set `XTASK_STATE_DIR`");
    }
    nothing_is_left(&fixture);

    // Sockets then lie in the temporary folder.
    let temporary = fixture.out().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let change = |command: &mut Command| {
        command.env_remove("XDG_RUNTIME_DIR").env("TMPDIR", &temporary);
    };
    ran(&fixture, &["up", "-d"], change).ends_with(0);
    let own = fs::read_dir(&temporary).unwrap().next().unwrap().unwrap().file_name();
    assert!(own.to_string_lossy().starts_with("xtask-"), "{own:?}");
    ran(&fixture, &["down"], change).ends_with(0);
    nothing_is_left(&fixture);
}

#[test]
fn missing_cargo_gets_a_hint() {
    let fixture = plain();
    for args in [&["up", "-d"][..], &["explain", "plain"], &["check"], &["test"], &["ci"]] {
        let lost = ran(&fixture, args, |command| {
            command.env("PATH", fixture.out());
        });
        lost.ends_with(2).says("failed to start `cargo`").says("hint:").says("PATH");
    }
    nothing_is_left(&fixture);
}

#[test]
fn missing_toolchain_shows_the_message_of_rustup() {
    let cargo = which::which("cargo").unwrap();
    if !fs::canonicalize(&cargo).is_ok_and(|real| real.ends_with("rustup")) {
        xtask_client::harness::skipped("rustup");
        return;
    }
    let fixture = plain();
    fixture.file("rust-toolchain.toml", "[toolchain]\nchannel = \"1.2.3\"\n");
    for args in [&["up", "-d"][..], &["check"]] {
        let pinned = ran(&fixture, args, |command| {
            // It must not try to fetch it.
            command.env("RUSTUP_DIST_SERVER", "http://127.0.0.1:9");
            command.env("RUSTUP_AUTO_INSTALL", "0").env_remove("RUSTUP_TOOLCHAIN");
        });
        pinned.ends_with(2).says("1.2.3").says("rustup");
    }
    nothing_is_left(&fixture);
}

#[test]
fn files_instead_of_folders_are_named() {
    let fixture = shop("files");
    fs::write(fixture.root().join("target"), "").unwrap();
    fixture.xtask(&["up", "-d"]).ends_with(3).says("target");
    nothing_is_left(&fixture);
    fs::remove_file(fixture.root().join("target")).unwrap();

    let file = fixture.out().join("file");
    fs::write(&file, "").unwrap();
    let change = |command: &mut Command| {
        command.env("XTASK_STATE_DIR", &file);
    };
    let shown = file.display().to_string();
    ran(&fixture, &["up", "-d"], change).ends_with(1).says(&shown).says("failed to create");
    ran(&fixture, &["status"], change).ends_with(7);
    ran(&fixture, &["down"], change).ends_with(0);
    nothing_is_left(&fixture);
}

/// A file system of its own on a folder, gone with the value.
struct Mount(PathBuf);

impl Mount {
    /// None, said aloud, where nothing can be mounted.
    fn new(folder: &Path, options: &[&str]) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mounted =
            Command::new("mount").args(options).arg(folder).stderr(Stdio::null()).status();
        if !is_root() || !mounted.is_ok_and(|status| status.success()) {
            xtask_client::harness::skipped("the right to mount");
            return None;
        }
        Some(Self(folder.to_path_buf()))
    }

    fn read_only(&self) {
        let again = Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0).status();
        assert!(again.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

const IN_MEMORY: [&str; 3] = ["-t", "tmpfs", "none"];

#[test]
fn read_only_target_folder_stops_only_builds() {
    let fixture = shop("frozen");
    let Some(target) = Mount::new(&fixture.root().join("target"), &IN_MEMORY) else { return };
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    target.read_only();
    fixture.xtask(&["up", "-d"]).ends_with(3).says("Read-only file system");
    nothing_is_left(&fixture);
    fixture.xtask(&["up", "-d", "--no-build"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    nothing_is_left(&fixture);
}

#[test]
fn read_only_state_folder_stops_only_starts() {
    let fixture = plain();
    let Some(state) = Mount::new(&fixture.state(), &IN_MEMORY) else { return };
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    state.read_only();
    let refused = fixture.xtask(&["up", "-d"]).ends_with(1).says("Read-only file system");
    refused.says(&fixture.state().display().to_string());
    fixture.xtask(&["status"]).ends_with(7);
    fixture.xtask(&["down"]).ends_with(0);
    fixture.xtask(&["graph"]).ends_with(0);
    nothing_is_left(&fixture);
}

#[test]
fn full_disk_is_reported_and_leaves_nothing() {
    let fixture = shop("full");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    for limit in ["nr_inodes=4", "nr_inodes=8", "nr_inodes=10", "nr_inodes=12", "size=40k"] {
        let full = fixture.out().join("full");
        let options = ["-t", "tmpfs", "-o", limit, "none"];
        let Some(_full) = Mount::new(&full, &options) else { return };
        let up = ran(&fixture, &["up", "-d"], |command| {
            command.env("XTASK_STATE_DIR", &full);
        });
        assert!(matches!(up.code, Some(1 | 3 | 4)), "{limit}\n{up}");
        up.says("No space left").says("delete files on that file system, or set `XTASK_STATE_DIR`");
        nothing_is_left(&fixture);
    }
}

#[test]
fn full_target_folder_explains_a_failed_build() {
    let fixture = shop("crammed");
    let options = ["-t", "tmpfs", "-o", "size=200k", "none"];
    let Some(_target) = Mount::new(&fixture.root().join("target"), &options) else { return };
    let up = fixture.xtask(&["up", "-d"]).ends_with(3);
    up.says("has room for only 0 MiB").says("hint: delete files on that file system");
    nothing_is_left(&fixture);
}

#[test]
fn disk_filled_after_a_run_is_named() {
    let fixture = plain();
    let options = ["-t", "tmpfs", "-o", "size=2m", "none"];
    let Some(state) = Mount::new(&fixture.state(), &options) else { return };
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    // Not a byte is left for the log of the supervisor.
    fs::write(state.0.join("filler"), vec![0; 4 << 20]).unwrap_err();
    let up = fixture.xtask(&["up", "-d"]).ends_with(1);
    up.says("No space left").says("hint: delete files on that file system");
    nothing_is_left(&fixture);
}

/// The record and the supervisor's own words share the disk with everything else.
#[test]
fn full_disk_ends_the_record_only() {
    let fixture = plain();
    let options = ["-t", "tmpfs", "-o", "size=2m", "none"];
    let Some(state) = Mount::new(&fixture.state(), &options) else { return };
    let record = state.0.join("run.record");
    fixture.xtask(&["up", "-d", "--record", record.to_str().unwrap()]).ends_with(0);
    let supervisor = fixture.status()["supervisor_pid"].clone();
    let filler = state.0.join("filler");
    let error = fs::write(&filler, vec![0; 4 << 20]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    for _ in 0..5 {
        fixture.xtask(&["restart", "plain"]).ends_with(0);
    }
    let status = fixture.status();
    assert_eq!((&status["state"], &status["supervisor_pid"]), (&"ready".into(), &supervisor));
    fs::remove_file(filler).unwrap();
    fixture.xtask(&["down"]).ends_with(0);
    nothing_is_left(&fixture);
    let record = fixture.xtask(&["replay", record.to_str().unwrap()]);
    record.says("the stack had not ended");
}

#[test]
fn descriptor_exhaustion_is_reported_everywhere() {
    let fixture = plain();
    let mut came_up = false;
    for limit in (5..32).step_by(2) {
        let up = ran(&fixture, &["up", "-d"], |command| {
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            // SAFETY: between fork and exec one system call is made.
            unsafe {
                command.pre_exec(move || {
                    match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                        0 => Ok(()),
                        _ => Err(io::Error::last_os_error()),
                    }
                });
            }
        });
        if up.code == Some(0) {
            came_up = true;
            fixture.xtask(&["down"]).ends_with(0);
        } else {
            // Whose descriptors are out may be cargo itself or the loader of a program.
            let words = ["Too many open files", "os error 24", "Error 24"];
            let said = words.iter().any(|words| up.stderr.contains(words));
            assert!(said && matches!(up.code, Some(1 | 2 | 4)), "limit {limit}\n{up}");
        }
        nothing_is_left(&fixture);
    }
    assert!(came_up, "the last limit is enough");
}

/// What is not in this set root does not get at an exec.
fn without_rights(command: &mut Command) {
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            for right in 0..64 {
                libc::prctl(libc::PR_CAPBSET_DROP, right);
            }
            Ok(())
        });
    }
}

/// As one has that got a right with its file, such as that to a port below 1024.
#[test]
fn undumpable_program_becomes_ready() {
    let hidden = format!("{SERVE} --hide");
    let fixture = stand(&[("hidden", &hidden, "port = 0\nstart-timeout = \"20s\"\n")]).write();
    ran(&fixture, &["up", "-d"], without_rights).ends_with(0);
    assert_eq!(fixture.service("hidden")["phase"], "ready");
    fixture.xtask(&["down"]).ends_with(0);
    nothing_is_left(&fixture);
}

/// Without CAP_SYS_PTRACE, root sees no more of other processes than any user.
#[test]
fn uninspectable_port_holder_is_named_by_user() {
    if !is_root() {
        xtask_client::harness::skipped("root");
        return;
    }
    let port = free_port();
    let fixture = stand(&[("plain", SERVE, &format!("port = {port}\n"))]).write();
    let mut holder = Command::new(misbehave());
    holder.arg("--listen-env").env("PORT", port.to_string()).uid(65534);
    let Ok(holder) = ByHand::started(holder) else {
        xtask_client::harness::skipped("a program for another user");
        return;
    };
    eventually(Duration::from_secs(10), "a holder", || {
        TcpListener::bind(("127.0.0.1", port)).err()
    });
    let blind = ran(&fixture, &["up", "-d"], |command| {
        without_rights(command);
    });
    let blind = blind.ends_with(5).says(&format!("port {port} is held by a program of user"));
    blind.says("`cargo xtask up --ports auto`");
    nothing_is_left(&fixture);
    let seeing = fixture.xtask(&["up", "-d"]).ends_with(5);
    seeing.says(&format!("(pid {}, user ", holder.pid()));
}

#[test]
fn invalid_utf8_output_is_shown_lossily() {
    let fixture = stand(&[]).workspace(
        "[workspace.metadata.services.odd]\n\
         command = [\"printf\", 'a\\377\\376b\\033]0;title\\007c\\n']\nkind = \"job\"\n",
    );
    let fixture = fixture.write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let logs = fixture.xtask(&["logs"]).ends_with(0);
    assert_eq!(logs.stdout, "odd | a\u{fffd}\u{fffd}bc\n", "{logs}");
    let line = fixture.xtask(&["logs", "--json"]).ends_with(0).json();
    // As data nothing is taken out that a program could miss.
    assert!(line["text"].as_str().unwrap().starts_with("a\u{fffd}\u{fffd}b"), "{line}");
}

#[test]
fn escapes_need_a_terminal_or_a_request() {
    let fixture = plain();
    let colours = |args: &[&str], ci: bool| {
        let ran = ran(&fixture, args, |command| {
            if ci {
                command.env("CI", "true");
            }
        });
        ran.stdout.contains('\x1b') || ran.stderr.contains('\x1b')
    };
    for ci in [false, true] {
        assert!(!colours(&["up", "-d"], ci));
        assert!(!colours(&["status"], ci));
        assert!(!colours(&["down"], ci));
    }
    assert!(colours(&["up", "-d", "--color", "always"], false));
}
