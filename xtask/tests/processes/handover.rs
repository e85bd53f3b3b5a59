//! A new run that shares the sockets of the old one replaces it without a refused connection.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xtask_test_support::stand::{phase, pid, port, stand};
use xtask_test_support::{Fixture, alive, eventually, get};

/// How long what takes a moment may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Inherits its socket, says that it is ready, and loses no connection when it stops.
const SERVED: &str = "--inherit --http 200 --polite --drain 20 --notify-after 0";

const SETTINGS: &str = "port = 0\nsocket-activation = true\nstart-timeout = \"20s\"\n";

/// The fewest requests of a client.
const REQUESTS: usize = 300;

/// The pid that answered, or why none did. Each request has a connection of its own.
fn request(port: u16) -> Result<i32, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream.set_read_timeout(Some(SOON)).map_err(failed)?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head.to_owned());
    }
    body.parse().map_err(|_| format!("no pid in {body:?}"))
}

/// The pids that answered while `change` ran, and until there were enough requests.
fn answered_during(port: u16, change: impl FnOnce()) -> BTreeSet<i32> {
    /// Ends the client, also if the change panics.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut pids, mut requests) = (BTreeSet::new(), 0);
            while requests < REQUESTS || !done.load(Ordering::Relaxed) {
                requests += 1;
                match request(port) {
                    Ok(pid) => pids.insert(pid),
                    Err(why) => panic!("request {requests} failed: {why}"),
                };
            }
            pids
        });
        let end = Done(&done);
        change();
        drop(end);
        client.join().unwrap()
    })
}

fn served() -> Fixture {
    let fixture = stand(&[("shop", SERVED, SETTINGS)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture
}

#[test]
fn replacements_refuse_no_connection() {
    let fixture = served();
    let mut pids = BTreeSet::from([pid(&fixture, "shop")]);
    let answered = answered_during(port(&fixture, "shop"), || {
        for _ in 0..4 {
            let ran = fixture.xtask(&["restart", "--no-build", "shop"]).ends_with(0);
            assert!(ran.stderr.contains("Restarted"), "{ran}");
            pids.insert(pid(&fixture, "shop"));
        }
    });
    assert_eq!(pids.len(), 5);
    // A run may serve for less time than the client takes for one request.
    assert!(answered.is_subset(&pids) && answered.len() > 2, "{answered:?} of {pids:?}");
    let last = pid(&fixture, "shop");
    eventually(SOON, "the end of the replaced runs", || {
        pids.iter().all(|pid| *pid == last || !alive(*pid)).then_some(())
    });
}

#[test]
fn changed_settings_are_handed_over() {
    let fixture = served();
    let before = pid(&fixture, "shop");
    fixture.edit("Cargo.toml", "--drain", "--print-args\", \"--drain");
    answered_during(port(&fixture, "shop"), || {
        fixture.xtask(&["up", "-d"]).ends_with(0).says("while its previous run serves");
    });
    assert_ne!(pid(&fixture, "shop"), before);
    fixture.xtask(&["logs", "shop"]).ends_with(0).says("arg: --print-args").says("drained");
}

#[test]
fn candidate_that_exits_leaves_the_old_process_serving() {
    let fixture = served();
    let (before, port) = (pid(&fixture, "shop"), port(&fixture, "shop"));
    // It ends before it accepts anything.
    fixture.edit("Cargo.toml", "--notify-after\",\"0", "--require-env\",\"MISSING");
    answered_during(port, || {
        let ran = fixture.xtask(&["up", "-d"]).ends_with(4);
        ran.says("keeps its previous run")
            .says("exited with status 1")
            .says("`MISSING` is not set");
    });
    let status = fixture.status();
    assert_eq!((&status["state"], pid(&fixture, "shop")), (&"ready".into(), before), "{status:#}");
    let candidate = &fixture.service("shop")["candidate"];
    assert_eq!((&candidate["phase"], &candidate["failure"]), (&"failed".into(), &"start".into()));
    fixture.xtask(&["restart", "shop"]).ends_with(4).says("Kept");
    assert_eq!(pid(&fixture, "shop"), before);
}

#[test]
fn candidate_that_is_never_ready_is_stopped() {
    let fixture = served();
    let (before, port) = (pid(&fixture, "shop"), port(&fixture, "shop"));
    fixture.edit("Cargo.toml", "--notify-after\",\"0", "--ping\",\"60000");
    fixture.edit("Cargo.toml", "\"20s\"", "\"1s\"");
    answered_during(port, || {
        fixture.xtask(&["up", "-d"]).ends_with(4).says("not ready within 1s");
    });
    assert_eq!((pid(&fixture, "shop"), phase(&fixture, "shop")), (before, "ready".to_owned()));
    eventually(SOON, "the end of the candidate", || {
        fixture.service("shop")["stopping"].is_null().then_some(())
    });
    assert_eq!(get(port, "/").map(|answer| answer.status), Some(200));
}

#[test]
fn down_ends_the_candidate_and_the_old_run() {
    let fixture = served();
    let before = pid(&fixture, "shop");
    fixture.edit("Cargo.toml", "--notify-after\",\"0", "--ping\",\"60000");
    let up = fixture.spawn(&["up", "-d"]);
    let candidate = eventually(SOON, "a candidate with a process", || {
        let pid = fixture.service("shop")["candidate"]["pid"].as_i64()?;
        i32::try_from(pid).ok()
    });
    fixture.xtask(&["status"]).ends_with(0).says(&format!("run 2 starts (pid {candidate})"));
    fixture.xtask(&["explain", "shop"]).ends_with(0).says("beside it run 2 starts");
    fixture.xtask(&["down"]).ends_with(0);
    assert!(!alive(before) && !alive(candidate));
    up.wait(SOON);
}

#[test]
fn check_states_how_each_service_is_replaced() {
    let activated = format!("{SETTINGS}ready = {{ notify = true }}\n");
    let silent = "port = 0\nsocket-activation = true\nready = { tcp = true }\n";
    let services =
        [("one", "", activated.as_str()), ("two", "", silent), ("own", "", "port = 0\n")];
    let fixture = stand(&[services[0], services[1], services[2], ("none", "", "")]).write();
    let check = fixture.xtask(&["check"]).ends_with(0);
    assert!(!check.stdout.contains("none"), "{check}");
    check
        .says("  one: by a new run that is ready before the old one stops\n")
        .says("  two: after the old run stopped; callers wait; a handover needs a `notify` probe\n")
        .says("  own: after the old run stopped; callers cannot connect meanwhile; a handover ");
}
