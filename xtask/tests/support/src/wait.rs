//! Waiting for values, never for a time in the hope that something has happened.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Asks until there is an answer, and fails the test when there is none in time.
#[track_caller]
pub fn eventually<T>(within: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
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
/// The second is a hundred naps of 10 ms. On a busy machine a nap is longer, for this process as
/// for the processes that it waits for. Returns how long it took by the clock.
#[track_caller]
pub fn within_a_second(what: &str, remains: impl Fn() -> Vec<String>) -> Duration {
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

/// A port without a listener. It is below the ports that the system uses for outgoing connections
/// and the tool for services that bind by themselves, so no process gets it before the test does.
/// Parallel tests begin at different places.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let outgoing: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let width = outgoing.saturating_sub(10_000).saturating_sub(FIRST);
    if width == 0 {
        // No room below: the system's choice is as good as any.
        return TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    }
    // Neighbours in number are neighbours in time: they are far apart here.
    let begin = std::process::id().wrapping_mul(257) % u32::from(width);
    let mut to_try = (0..width).map(|_| {
        let next = u32::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        FIRST + u16::try_from((begin + next) % u32::from(width)).unwrap()
    });
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    to_try.find(free).expect("a port that nothing listens on")
}
