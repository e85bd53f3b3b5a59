//! Waiting for values, never for a time in the hope that something has happened.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

/// Asks until there is an answer, and fails the test when there is none in time.
#[track_caller]
pub(crate) fn eventually<T>(within: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A port that nothing listens on at this moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
