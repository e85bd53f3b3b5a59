//! What the processes of a stack hold and release: descriptors of the caller, the connection of a
//! client, locks.

use std::fs;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::guardian::sweeper;
use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, Running, eventually};

/// How long a run may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Nothing to build: one service that answers.
fn plain() -> Fixture {
    stand(&[("plain", SERVE, "port = 0\n")]).write()
}

/// A script that reads to the end of a pipe waits for `up -d` and not for its stack.
#[test]
fn stack_inherits_no_open_descriptors() {
    let fixture = plain();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let number = writer.as_raw_fd();
    let up = fixture.spawn_with(&["up", "-d"], |command| {
        // SAFETY: between fork and exec one system call is made.
        unsafe {
            command.pre_exec(move || match libc::fcntl(number, libc::F_SETFD, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
    });
    up.wait(PATIENCE).ends_with(0);
    drop(writer);
    let (sender, end) = mpsc::channel();
    thread::spawn(move || sender.send(reader.read_to_end(&mut Vec::new()).unwrap()));
    assert_eq!(end.recv_timeout(PATIENCE), Ok(0), "the stack holds the pipe");
    assert_eq!(fixture.status()["state"], "ready");
}

/// A user's last logout takes the folder of the sockets away, and leaves the stack.
#[test]
fn stop_works_without_the_control_socket() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let supervisor = pid(&fixture.status(), "supervisor_pid");
    let runtime = fixture.state().with_file_name("run/xtask");
    fs::remove_dir_all(&runtime).unwrap();
    for args in [&["status"][..], &["up", "-d"], &["restart", "plain"]] {
        let told = fixture.xtask(args).ends_with(1);
        told.says("cannot be reached").says(&format!("`kill {supervisor}`"));
    }
    fixture.xtask(&["down"]).ends_with(0).says(&format!("by a signal to supervisor {supervisor}"));
    fixture.is_quiet();
    fixture.xtask(&["status"]).ends_with(7);
    fixture.xtask(&["up", "-d"]).ends_with(0);
}

#[test]
fn down_now_kills_without_the_control_socket() {
    let settings = "stop = { timeout = \"600s\" }\n";
    let fixture = stand(&[("deaf", "--ignore-term --ready-line up", settings)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fs::remove_dir_all(fixture.state().with_file_name("run/xtask")).unwrap();
    fixture.xtask(&["down", "--now"]).ends_with(0).says("by a signal to supervisor");
    fixture.is_quiet();
}

/// A sweep may take seconds, and a sweeper that is stopped takes for ever.
#[test]
fn client_notices_the_supervisors_death_before_the_sweep() {
    let fixture = plain();
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "plain");
    eventually(PATIENCE, "a stack", || (fixture.xtask(&["status"]).code == Some(0)).then_some(()));
    let status = fixture.status();
    let sweeper = sweeper(&fixture).unwrap();
    signal(sweeper, libc::SIGSTOP);
    let both = [pid(&status, "guardian_pid"), pid(&status, "supervisor_pid")];
    // At the same instant, so that neither can answer to the death of the other.
    for number in [libc::SIGSTOP, libc::SIGKILL] {
        both.into_iter().for_each(|pid| signal(pid, number));
    }
    up.wait(PATIENCE);
    signal(sweeper, libc::SIGCONT);
    eventually(PATIENCE, "the end", || fixture.processes().is_empty().then_some(()));
}

#[test]
fn down_names_the_process_still_cleaning_up() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let guardian = pid(&fixture.status(), "guardian_pid");
    signal(guardian, libc::SIGSTOP);
    let down = fixture.spawn(&["down"]);
    down.says(PATIENCE, &format!("for process {guardian}, which cleans up"));
    signal(guardian, libc::SIGCONT);
    down.wait(PATIENCE).ends_with(0);
}

/// Suspending the machine or attaching a debugger can stop it.
#[test]
fn stopped_supervisor_is_named_with_hints() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let supervisor = pid(&fixture.status(), "supervisor_pid");
    let wakes = format!("which is stopped: `kill -CONT {supervisor}` resumes it");
    for all in [
        &[&["status"][..], &["up", "-d"], &["restart", "plain"], &["explain", "plain"]][..],
        &[&["down"]],
    ] {
        signal(supervisor, libc::SIGSTOP);
        let asking: Vec<Running> = all.iter().map(|args| fixture.spawn(args)).collect();
        for asks in &asking {
            asks.says(PATIENCE, &wakes);
        }
        signal(supervisor, libc::SIGCONT);
        for asks in asking {
            asks.wait(PATIENCE)
                .ends_with(0)
                .says(&format!("`kill -9 {supervisor}` kills the whole stack"));
        }
    }
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let supervisor = pid(&fixture.status(), "supervisor_pid");
    signal(supervisor, libc::SIGSTOP);
    let waited = fixture.xtask(&["wait", "--timeout", "2s"]).ends_with(4);
    waited.says("Timed out waiting for the supervisor of stack `dev`");
    let asks = fixture.spawn(&["status"]);
    asks.says(PATIENCE, &format!("`kill -9 {supervisor}` kills the whole stack"));
    signal(supervisor, libc::SIGKILL);
    asks.wait(PATIENCE).ends_with(7);
    eventually(PATIENCE, "the end", || fixture.processes().is_empty().then_some(()));
}

/// The process that a status names so.
fn pid(status: &Value, name: &str) -> i32 {
    i32::try_from(status[name].as_i64().unwrap()).unwrap()
}

fn signal(pid: i32, number: i32) {
    // SAFETY: the call takes two numbers; the process is one that the fixture started.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
}

#[test]
fn data_is_kept_while_a_start_waits() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let workspace = fs::read_dir(fixture.state()).unwrap().next().unwrap().unwrap().path();
    let data = workspace.join("dev/data");
    for name in ["launch.lock", "lock"] {
        let path = workspace.join("dev").join(name);
        let starting = fs::File::open(&path).unwrap();
        starting.lock().unwrap();
        let down = fixture.spawn(&["down", "--data"]);
        eventually(PATIENCE, "a process that waits for the lock", || {
            let inode = format!(":{} ", starting.metadata().unwrap().ino());
            let locks = fs::read_to_string("/proc/locks").unwrap();
            let waits = locks.lines().any(|line| line.contains("->") && line.contains(&inode));
            assert!(data.exists(), "it is deleted under a held `{name}`");
            waits.then_some(())
        });
        drop(starting);
        down.wait(PATIENCE).ends_with(0);
        assert!(!data.exists());
        fs::create_dir(&data).unwrap();
    }
}
