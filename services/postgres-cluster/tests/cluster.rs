//! Clusters in temporary folders, with the installed PostgreSQL.

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
use postgres_cluster::test_server::{TestServer, skipped};

fn program(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_postgres-cluster"));
    program.args(arguments).env_remove("HOST").env_remove("PORT").output().unwrap()
}

/// The folder of a cluster, as an argument; `None` without PostgreSQL.
fn place(folder: &Path) -> Option<String> {
    if Programs::find(None).is_err() {
        skipped();
        return None;
    }
    Some(folder.join("data/postgres").to_str().unwrap().to_owned())
}

#[track_caller]
fn expect(output: &Output, expected: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(text.contains(expected), "{text}");
}

#[test]
fn make_is_idempotent_and_adds_databases() {
    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    // The remains of a killed run.
    fs::create_dir_all(format!("{place}.unfinished/base")).unwrap();
    expect(&program(&["make", &place, "one"]), "created a cluster of PostgreSQL");
    expect(&program(&["make", &place, "one"]), "the cluster is complete");
    expect(&program(&["make", &place, "one", "two"]), "created the databases two");
    expect(&program(&["make", &place, "two", "one"]), "the cluster is complete");
    let entries = fs::read_dir(folder.path().join("data")).unwrap();
    assert_eq!(entries.count(), 1);
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn databases_survive_the_loss_of_their_list() {
    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    expect(&program(&["make", &place, "one"]), "created a cluster of PostgreSQL");
    let one = database_folders(&place);
    // As after a kill or on a full disk.
    fs::write(format!("{place}/databases.made"), "").unwrap();
    expect(&program(&["make", &place, "one"]), "the cluster is complete");
    fs::remove_file(format!("{place}/databases.made")).unwrap();
    expect(&program(&["make", &place, "one", "two"]), "created the databases two");
    let both = database_folders(&place);
    assert!(one.is_subset(&both) && both.len() == one.len() + 1, "{one:?} {both:?}");
}

/// The folders of a cluster's databases: a database that is dropped and recreated gets another.
fn database_folders(place: &str) -> BTreeSet<OsString> {
    let entries = fs::read_dir(format!("{place}/base")).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn cluster_of_a_missing_version_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    fs::create_dir_all(&place).unwrap();
    fs::write(format!("{place}/PG_VERSION"), "7\n").unwrap();
    let output = program(&["make", &place, "one"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("PostgreSQL 7 created the cluster, but only"), "{text}");
    assert!(text.contains("hint: install that version"), "{text}");
}

#[test]
fn errors_have_a_hint() {
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
fn server_ends_with_the_thread_that_started_it() {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};

    use rustix::process::{Signal, set_parent_process_death_signal};

    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    expect(&program(&["make", &place, "one"]), "created a cluster of PostgreSQL");
    let started = std::thread::spawn(move || {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_postgres-cluster"));
        // An address that only this process uses, because the server does not accept port 0.
        let [.., high, low] = std::process::id().to_be_bytes();
        let host = format!("127.{high}.{low}.2");
        serve.args(["serve", &place]).env("HOST", host).env("PORT", "5432");
        serve.stderr(Stdio::piped());
        // As the supervisor does. For root, the account of the server changes after this.
        let set_death_signal = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: the closure makes one system call, which is allowed between fork and exec.
        unsafe { serve.pre_exec(set_death_signal) };
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
fn killed_server_restarts_and_ends_with_the_test() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = TestServer::in_folder(folder.path(), &["one"]) else { return };
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

/// A served cluster on an address that only this process uses.
struct Served {
    server: std::process::Child,
    host: String,
}

impl Served {
    fn start(place: &str) -> Self {
        let [.., high, low] = std::process::id().to_be_bytes();
        let host = format!("127.{high}.{low}.3");
        let mut serve = Command::new(env!("CARGO_BIN_EXE_postgres-cluster"));
        serve.args(["serve", place]).env("HOST", &host).env("PORT", "5432");
        let mut server = serve.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("ready to accept connections")));
        std::thread::spawn(move || lines.count());
        Self { server, host }
    }

    /// The result of a statement of the role `app`.
    fn query(&self, password: &str, statement: &str) -> Result<String, String> {
        let mut psql = Command::new(Programs::find(None).unwrap().path("psql"));
        psql.args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", "--port=5432"]);
        psql.args(["--username=app", "--dbname=one", "--host", &self.host, "--command", statement]);
        let output = psql.env("PGPASSWORD", password).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.server);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).ok();
        self.server.wait().ok();
    }
}

#[test]
fn role_needs_its_password_and_owns_only_databases() {
    let folder = tempfile::tempdir().unwrap();
    let Some(place) = place(folder.path()) else { return };
    let make = |password: &str| {
        let mut make = Command::new(env!("CARGO_BIN_EXE_postgres-cluster"));
        make.args(["make", &place, "one"]).env("APP_PASSWORD", password).output().unwrap()
    };
    // A cluster of an older version has no password.
    expect(&program(&["make", &place, "one"]), "created a cluster of PostgreSQL");
    for (password, before) in [("it's one", ""), ("two", "it's one")] {
        expect(&make(password), "the cluster is complete");
        let served = Served::start(&place);
        assert_eq!(
            served.query(password, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"),
            Ok("f".into())
        );
        let error = served.query(password, "COPY (SELECT 1) TO PROGRAM 'true'").unwrap_err();
        assert!(error.contains("must be superuser"), "{error}");
        let error = served.query(before, "SELECT 1").unwrap_err();
        assert!(error.contains("password"), "{error}");
    }
}
