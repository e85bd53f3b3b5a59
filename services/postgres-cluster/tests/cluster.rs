//! Clusters in folders of the test's, with the PostgreSQL that is installed here.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use postgres_cluster::Programs;
use postgres_cluster::lend::{Lent, skipped};

fn program(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_postgres-cluster"));
    program.args(arguments).env_remove("HOST").env_remove("PORT").output().unwrap()
}

/// The folder of a cluster, as an argument; `None` where there is no PostgreSQL.
fn place(folder: &Path) -> Option<String> {
    if Programs::find(None).is_err() {
        skipped();
        return None;
    }
    Some(folder.join("data/postgres").to_str().unwrap().to_owned())
}

#[track_caller]
fn expect(output: &Output, said: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(text.contains(said), "{text}");
}

#[test]
fn making_is_safe_to_repeat_and_adds_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    // What a run that was killed has left.
    fs::create_dir_all(format!("{place}.unfinished/base")).unwrap();
    expect(&program(&["make", &place, "one"]), "a cluster of PostgreSQL");
    expect(&program(&["make", &place, "one"]), "nothing to do");
    expect(&program(&["make", &place, "one", "two"]), "the databases two were made");
    expect(&program(&["make", &place, "two", "one"]), "nothing to do");
    let entries = fs::read_dir(folder.path().join("data")).unwrap();
    assert_eq!(entries.count(), 1);
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn databases_outlive_the_note_that_they_were_made() {
    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    expect(&program(&["make", &place, "one"]), "a cluster of PostgreSQL");
    let one = databases_below(&place);
    // As a kill or a full disk may leave it.
    fs::write(format!("{place}/databases.made"), "").unwrap();
    expect(&program(&["make", &place, "one"]), "nothing to do");
    fs::remove_file(format!("{place}/databases.made")).unwrap();
    expect(&program(&["make", &place, "one", "two"]), "the databases two were made");
    let both = databases_below(&place);
    assert!(one.is_subset(&both) && both.len() == one.len() + 1, "{one:?} {both:?}");
}

/// The folders of a cluster's databases: one that is dropped and made again gets another.
fn databases_below(place: &str) -> BTreeSet<OsString> {
    let entries = fs::read_dir(format!("{place}/base")).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn a_cluster_of_a_version_that_is_not_installed_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    fs::create_dir_all(&place).unwrap();
    fs::write(format!("{place}/PG_VERSION"), "7\n").unwrap();
    let output = program(&["make", &place, "one"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("made by PostgreSQL 7, and installed is"), "{text}");
    assert!(text.contains("hint: install that version"), "{text}");
}

#[test]
fn what_cannot_be_done_is_said_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("none");
    let place = place.to_str().unwrap();
    for (arguments, code, expected) in [
        (&["make"][..], 2, "hint: usage:"),
        (&["serve", place], 1, "`PORT` is not set"),
        (&["make", place, "a\"b"], 1, "`a\"b` cannot be the name of a database"),
    ] {
        let output = program(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let mut serve = Command::new(env!("CARGO_BIN_EXE_postgres-cluster"));
    let output = serve.args(["serve", place]).env("HOST", "127.0.0.1").env("PORT", "1").output();
    let text = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(text.contains("there is no cluster in"), "{text}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_goes_with_the_thread_that_started_it() {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};

    use rustix::process::{Signal, set_parent_process_death_signal};

    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    expect(&program(&["make", &place, "one"]), "a cluster of PostgreSQL");
    let started = std::thread::spawn(move || {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_postgres-cluster"));
        // An address of this process alone, since the server takes no port 0.
        let [.., high, low] = std::process::id().to_be_bytes();
        let host = format!("127.{high}.{low}.2");
        serve.args(["serve", &place]).env("HOST", host).env("PORT", "5432");
        serve.stderr(Stdio::piped());
        // As the supervisor asks for it; root's server changes its account after this.
        let tie = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: a system call, which may be made between fork and exec.
        unsafe { serve.pre_exec(tie) };
        let mut child = serve.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("ready to accept connections")));
        child
    });
    let mut child = started.join().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let ended = loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            ended => break ended,
        }
    };
    child.kill().ok();
    assert_eq!(ended.and_then(|status| status.signal()), Some(9));
}

#[test]
fn a_server_that_was_killed_is_started_again_and_none_is_left_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = Lent::in_folder(folder.path(), &["one"]) else { return };
    for _ in 0..3 {
        server.kill();
        server.start();
    }
    server.stop();
    server.start();
    let pid = fs::read_to_string(folder.path().join("cluster/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().to_owned();
    drop(server);
    assert!(!Path::new("/proc").join(pid).exists());
}
