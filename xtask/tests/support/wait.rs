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

/// Fails the test if `remains` finds something a second from now.
///
/// The second is a hundred naps: on a machine that lets everybody wait they are longer, for
/// this process as for those that it waits for. Else a test beside others would measure these.
/// Returns how long it took by the clock.
#[track_caller]
pub(crate) fn within_a_second(what: &str, remains: impl Fn() -> Vec<String>) -> Duration {
    let since = Instant::now();
    for _ in 0..100 {
        if remains().is_empty() {
            return since.elapsed();
        }
        thread::sleep(Duration::from_millis(10));
    }
    let left = remains();
    assert!(left.is_empty(), "left a second after {what}: {left:#?}");
    since.elapsed()
}

/// A port that nothing listens on at this moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
