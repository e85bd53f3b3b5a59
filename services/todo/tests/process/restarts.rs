//! A hundred restarts under load on an inherited socket, without a failed request.
//!
//! Clients without keep-alive never retry. Clients with keep-alive retry once on a fresh connection
//! when the reused one ended before the first byte of an answer, as every HTTP client does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::{Connection, Failure, Stack, TIMEOUT};

const RESTARTS: u32 = 100;

/// The results of all clients.
#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

struct Load {
    tally: Arc<Tally>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts two clients of each kind. One of those without keep-alive pauses between connecting
    /// and sending, so that the service often has a connection without a request when it stops.
    fn start(address: SocketAddr) -> Self {
        let tally = Arc::new(Tally::default());
        let clients = (0..4).map(|number| {
            let tally = tally.clone();
            std::thread::spawn(move || match number {
                0 => close_each(address, &tally, Duration::ZERO),
                1 => close_each(address, &tally, Duration::from_millis(5)),
                _ => keep_alive(address, &tally),
            })
        });
        let clients = clients.collect();
        Self { tally, clients }
    }

    /// Waits until `count` more requests are answered, so that each run answers some.
    fn wait_for_more(&self, count: u64) {
        let wanted = self.tally.answered.load(Ordering::Relaxed) + count;
        let deadline = Instant::now() + TIMEOUT;
        while self.tally.answered.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < deadline, "requests are not answered");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) -> (u64, u64) {
        self.tally.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
        (self.tally.answered.load(Ordering::Relaxed), self.tally.failed.load(Ordering::Relaxed))
    }
}

impl Tally {
    fn count(&self, status: Result<u16, Failure>) {
        match status {
            Ok(200) => self.answered.fetch_add(1, Ordering::Relaxed),
            other => {
                match other {
                    Ok(status) => eprintln!("a request was answered with {status}"),
                    Err(Failure::Closed) => eprintln!("a connection ended without an answer"),
                    Err(Failure::Lost(error)) => eprintln!("a request was lost: {error}"),
                }
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }

    fn continues(&self) -> bool {
        // A pause between requests leaves CPU time to the service.
        std::thread::sleep(Duration::from_micros(500));
        !self.stop.load(Ordering::Relaxed)
    }
}

fn close_each(address: SocketAddr, tally: &Tally, pause: Duration) {
    while tally.continues() {
        let answer = Connection::open(address).map_err(Failure::Lost).and_then(|mut connection| {
            std::thread::sleep(pause);
            connection.ask("GET /lists", "Connection: close\r\n", "")
        });
        tally.count(answer.map(|answer| answer.status));
    }
}

fn keep_alive(address: SocketAddr, tally: &Tally) {
    let mut kept: Option<Connection> = None;
    while tally.continues() {
        let reused = kept.take();
        let may_retry = reused.is_some();
        let mut result = request(address, reused);
        if may_retry && matches!(result, Err(Failure::Closed)) {
            result = request(address, None);
        }
        tally.count(result.map(|(status, connection)| {
            kept = connection;
            status
        }));
    }
}

fn request(
    address: SocketAddr,
    kept: Option<Connection>,
) -> Result<(u16, Option<Connection>), Failure> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(address).map_err(Failure::Lost)?,
    };
    let answer = connection.ask("GET /lists", "", "")?;
    Ok((answer.status, answer.keep.then_some(connection)))
}

#[test]
fn handover_loses_no_request() {
    let mut stack = Stack::new();
    let mut run = stack.start();
    run.wait_ready();
    let load = Load::start(stack.address);
    for _ in 0..RESTARTS {
        let candidate = stack.start();
        candidate.wait_ready();
        load.wait_for_more(10);
        let old = std::mem::replace(&mut run, candidate);
        old.signal(libc::SIGTERM);
        assert!(old.wait().success());
    }
    let (answered, failed) = load.end();
    println!("overlapping: {answered} requests answered, {failed} failed in {RESTARTS} restarts");
    assert_eq!(failed, 0);
    assert!(answered >= 10 * u64::from(RESTARTS));
}

#[test]
fn restart_queues_callers_and_loses_no_request() {
    let mut stack = Stack::new();
    let mut run = stack.start();
    run.wait_ready();
    let load = Load::start(stack.address);
    for _ in 0..RESTARTS {
        load.wait_for_more(10);
        run.signal(libc::SIGTERM);
        assert!(run.wait().success());
        run = stack.start();
        run.wait_ready();
    }
    let (answered, failed) = load.end();
    println!("queueing: {answered} requests answered, {failed} failed in {RESTARTS} restarts");
    assert_eq!(failed, 0);
    assert!(answered >= 10 * u64::from(RESTARTS));
}
