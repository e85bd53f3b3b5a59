//! A stop while the process runs out of descriptors. One test alone, since the limit is for all.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kit::listener::{Address, Listeners};
use kit::serve::{Drain, Ended, serve};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than the test takes.
const LONG: Duration = Duration::from_secs(60);

/// Leaves room for so many descriptors.
fn leave(room: u64) {
    let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    let current = Some(u64::try_from(next).unwrap() + room);
    setrlimit(Resource::Nofile, Rlimit { current, ..getrlimit(Resource::Nofile) }).unwrap();
}

#[tokio::test]
async fn a_stop_answers_all_who_wait_in_the_queue_though_descriptors_run_out() {
    let listeners = Listeners::bind(&Address { host: "127.0.0.1".into(), port: 0 }).unwrap();
    let address = listeners.sockets[0].local_addr().unwrap();
    // Nobody accepts before this thread first waits.
    let callers = (0..10).map(|_| {
        let mut caller = std::net::TcpStream::connect(address).unwrap();
        caller.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        caller.set_nonblocking(true).unwrap();
        TcpStream::from_std(caller).unwrap()
    });
    let callers: Vec<TcpStream> = callers.collect();
    leave(2);
    let router = Router::new().route("/", get(async || "answered"));
    let stopped_at_once = std::future::ready(());
    let drain = Drain { grace: LONG, limit: LONG };
    let ended = tokio::spawn(serve(listeners, router, drain, stopped_at_once));
    for mut caller in callers {
        let mut answer = String::new();
        timeout(PATIENCE, caller.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.ends_with("answered"), "{answer}");
    }
    assert_eq!(timeout(PATIENCE, ended).await.unwrap().unwrap(), Ended::Drained);
}
