//! The program as a process: its socket, its signals, its end, and what it promised before.

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
fn a_probe_that_was_queued_before_the_start_is_answered_first() {
    let mut stack = Stack::new();
    let mut queued = Connection::open(stack.address).unwrap();
    queued.send("GET /readyz HTTP/1.1\r\nHost: test\r\n\r\n");
    let run = stack.start();
    assert_eq!(queued.answer().unwrap().status, 200);
    run.wait_ready();
    assert!(stack.database().try_exists().unwrap());
}

#[test]
fn a_request_in_flight_at_the_signal_is_completed_and_idle_connections_end_in_order() {
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
        "POST /lists/ann/home/items HTTP/1.1\r\nHost: test\r\n{JSON}Content-Length: {length}\r\n\r\n"
    ));
    // The unused connection has been accepted by now, since later ones were answered.
    let signalled = Instant::now();
    run.signal(libc::SIGTERM);
    run.wait_message("STOPPING=1");
    // One that was accepted and sends its request only now is still answered, and told to go.
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
fn without_connections_a_stop_takes_no_grace_time() {
    let mut stack = Stack::new();
    // The best of some, since other tests run beside this one.
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
        let deadline = Instant::now() + support::PATIENCE;
        while acknowledged.lock().unwrap().len() < (round + 1) * 40 {
            assert!(Instant::now() < deadline, "writes are not answered");
            std::thread::sleep(Duration::from_millis(1));
        }
        run.signal(libc::SIGKILL);
        assert!(!run.wait().success());
        // Nobody answers a connection of the killed run, so every writer ends.
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
fn a_service_without_an_inherited_socket_binds_its_own_and_can_be_probed() {
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
    let deadline = Instant::now() + support::PATIENCE;
    while !probe() {
        assert!(Instant::now() < deadline, "the service does not get ready");
    }
    assert!(!program().args(["--probe", "/nothing"]).status().unwrap().success());
    service.kill().unwrap();
    service.wait().unwrap();
}

#[test]
fn a_setting_that_cannot_be_used_is_named() {
    let stack = Stack::new();
    for (name, value, expected) in [
        ("PORT", "70000", "todo: `PORT` is `70000`, expected a port from 0 to 65535"),
        ("DATABASE_URL", "mysql://u:secret@h/d", "todo: `DATABASE_URL` is `mysql://***@h/d`"),
        ("DATABASE_URL", "sqlite:/dev/null/x/y.db", "todo: preparing the folder `/dev/null/x`"),
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
