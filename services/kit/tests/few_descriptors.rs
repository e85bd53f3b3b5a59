//! A stop while the process runs out of descriptors. The limit is per process, so this test has a
//! binary of its own.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kit::serve::{Drain, DrainOutcome, serve};
use kit::{BindAddress, Listeners};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(20);

/// Longer than the test.
const LONG: Duration = Duration::from_secs(60);

/// Lowers the limit so that `room` more descriptors can be opened.
fn limit_descriptors(room: u64) {
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    let current = Some(u64::try_from(next).unwrap() + room);
    setrlimit(Resource::Nofile, Rlimit { current, ..getrlimit(Resource::Nofile) }).unwrap();
}

#[tokio::test]
async fn stop_answers_the_queue_despite_few_descriptors() {
    let listeners = Listeners::bind(&BindAddress { host: "127.0.0.1".into(), port: 0 }).unwrap();
    let address = listeners.sockets[0].local_addr().unwrap();
    // No connection is accepted before the first await of this thread.
    let callers = (0..10).map(|_| {
        let mut caller = std::net::TcpStream::connect(address).unwrap();
        caller.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        caller.set_nonblocking(true).unwrap();
        TcpStream::from_std(caller).unwrap()
    });
    let callers: Vec<TcpStream> = callers.collect();
    limit_descriptors(2);
    let router = Router::new().route("/", get(async || "answered"));
    let immediate_stop = std::future::ready(());
    let drain = Drain { grace: LONG, limit: LONG };
    let service = tokio::spawn(serve(listeners, router, drain, immediate_stop));
    for mut caller in callers {
        let mut answer = String::new();
        timeout(TIMEOUT, caller.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.ends_with("answered"), "{answer}");
    }
    assert_eq!(timeout(TIMEOUT, service).await.unwrap().unwrap(), DrainOutcome::Complete);
}
