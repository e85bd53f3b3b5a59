//! The program as a process: its socket, signals, exit, and the durability of its writes.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{self, Connection, Stack};

const JSON: &str = "Content-Type: application/json\r\n";

fn create_list(connection: &mut Connection) {
    let answer = connection.ask("POST /lists/ann", JSON, r#"{"name": "home"}"#).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.body);
}

#[test]
fn request_queued_before_the_start_is_answered() {
    let mut stack = Stack::new();
    let mut queued = Connection::open(stack.address).unwrap();
    queued.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let run = stack.start();
    assert_eq!(queued.answer().unwrap().status, 200);
    run.wait_ready();
    assert!(stack.database().try_exists().unwrap());
}

#[test]
fn stop_completes_requests_and_closes_idle_connections() {
    let mut stack = Stack::new();
    let run = stack.start();
    run.wait_ready();
    let mut idle = Connection::open(stack.address).unwrap();
    assert_eq!(idle.ask("GET /lists", "", "").unwrap().status, 200);
    let mut unused = Connection::open(stack.address).unwrap();
    let mut slow = Connection::open(stack.address).unwrap();
    create_list(&mut slow);
    let body = r#"{"title": "slow"}"#;
    let length = body.len();
    slow.send(&format!(
        "POST /lists/ann/home/items HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: {length}\r\n\r\n"
    ));
    // A later connection was answered, so the unused one has been accepted.
    let signalled = Instant::now();
    run.signal(libc::SIGTERM);
    run.wait_message("STOPPING=1");
    // A request on an accepted connection is answered after the signal, with `close`.
    let answer = unused.ask("GET /lists", "", "").unwrap();
    assert_eq!((answer.status, answer.keep), (200, false));
    idle.expect_end();
    assert!(signalled.elapsed() >= Duration::from_millis(200), "{:?}", signalled.elapsed());
    slow.send(body);
    let answer = slow.answer().unwrap();
    assert_eq!((answer.status, answer.keep), (201, false));
    assert!(run.wait().success());
}

#[test]
fn stop_without_connections_skips_the_grace_time() {
    let mut stack = Stack::new();
    // The best of ten, because other tests run at the same time.
    let stops = (0..10).map(|_| {
        let run = stack.start();
        run.wait_ready();
        let begin = Instant::now();
        run.signal(libc::SIGTERM);
        assert!(run.wait().success());
        begin.elapsed()
    });
    let best = stops.min().unwrap();
    assert!(best < Duration::from_millis(200), "{best:?}");
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let mut stack = Stack::new();
    let mut run = stack.start();
    run.wait_ready();
    create_list(&mut Connection::open(stack.address).unwrap());
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    for round in 0..5 {
        let writers = (0..4).map(|writer| {
            let (acknowledged, address) = (acknowledged.clone(), stack.address);
            std::thread::spawn(move || {
                let Ok(mut connection) = Connection::open(address) else { return };
                for number in 0.. {
                    let title = format!("{round}-{writer}-{number}");
                    let body = format!(r#"{{"title": "{title}"}}"#);
                    match connection.ask("POST /lists/ann/home/items", JSON, &body) {
                        Ok(answer) if answer.status == 201 => {
                            acknowledged.lock().unwrap().insert(title);
                        }
                        Ok(answer) => panic!("{}: {}", answer.status, answer.body),
                        Err(_) => return,
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let deadline = Instant::now() + support::TIMEOUT;
        while acknowledged.lock().unwrap().len() < (round + 1) * 40 {
            assert!(Instant::now() < deadline, "writes are not answered");
            std::thread::sleep(Duration::from_millis(1));
        }
        run.signal(libc::SIGKILL);
        assert!(!run.wait().success());
        // The connections of the killed run are closed, so every writer ends.
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        run = stack.start();
        run.wait_ready();
    }
    let answer = Connection::open(stack.address).unwrap().ask("GET /lists/ann", "", "").unwrap();
    let lists: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let titles = lists["home"].as_array().unwrap().iter();
    let found: BTreeSet<String> = titles.map(|title| title.as_str().unwrap().to_owned()).collect();
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    println!("{} writes acknowledged, {} found", acknowledged.len(), found.len());
    assert!(lost.is_empty(), "lost: {lost:?}");
}

#[test]
fn service_without_inherited_socket_binds_and_answers_probes() {
    let stack = Stack::new();
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port().to_string()
    };
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_todo"));
        stack.configure(&mut command);
        command.env("PORT", &port).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let probe = || program().args(["--probe", "/readyz"]).status().unwrap().success();
    assert!(!probe());
    let mut service = program().spawn().unwrap();
    let deadline = Instant::now() + support::TIMEOUT;
    while !probe() {
        assert!(Instant::now() < deadline, "the service did not become ready");
    }
    assert!(!program().args(["--probe", "/nothing"]).status().unwrap().success());
    service.kill().unwrap();
    service.wait().unwrap();
}

#[test]
fn invalid_setting_is_named() {
    let stack = Stack::new();
    for (name, value, expected) in [
        ("PORT", "70000", "todo: `PORT` is `70000`, expected a port from 0 to 65535"),
        ("DATABASE_URL", "mysql://u:secret@h/d", "todo: `DATABASE_URL` is `mysql://***@h/d`"),
        (
            "DATABASE_URL",
            "sqlite:/dev/null/x/y.db",
            "todo: failed to prepare the folder `/dev/null/x`",
        ),
        ("LOG_FORMAT", "xml", "todo: `LOG_FORMAT` is `xml`"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_todo"));
        stack.configure(&mut command);
        let output = command.env("PORT", "0").env(name, value).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}={value}");
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn inherited_descriptor_must_be_a_socket() {
    let stack = Stack::new();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$0\" 3</dev/null", env!("CARGO_BIN_EXE_todo")]);
    stack.configure(command.env("LISTEN_FDS", "1"));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("todo: failed to use inherited socket 1 of 1"), "{text}");
}
