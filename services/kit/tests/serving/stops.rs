//! The effect of a stop on each kind of connection.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kit::serve::{Drain, DrainOutcome, Serving, Stopping};
use kit::{Listeners, Origin};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::{LONG, TIMEOUT, answering, connect, read_until, send, start, start_on};

/// Waits until the address refuses connections.
async fn wait_until_refused(address: SocketAddr) {
    let deadline = Instant::now() + TIMEOUT;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "the service still accepts");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn request_after_the_stop_is_answered_with_close() {
    let drain = Drain { grace: LONG, limit: LONG };
    let service = start(answering(&Arc::default()), drain);
    let mut unused = connect(service.address).await;
    let mut kept = connect(service.address).await;
    send(&mut kept, "/").await;
    assert!(!read_until(&mut kept, "fast").await.contains("connection: close"));
    service.stop.send(()).unwrap();
    wait_until_refused(service.address).await;
    for stream in [&mut unused, &mut kept] {
        send(stream, "/").await;
        assert!(read_until(stream, "fast").await.contains("connection: close"));
        assert_eq!(read_until(stream, "more").await, "");
    }
    // After the last connection the drain does not wait for the rest of the grace time.
    assert_eq!(timeout(TIMEOUT, service.outcome).await.unwrap().unwrap(), DrainOutcome::Complete);
}

#[tokio::test]
async fn grace_time_ends_idle_connections_not_answers() {
    let slow = Arc::new(Notify::new());
    let drain = Drain { grace: Duration::from_millis(20), limit: LONG };
    let service = start(answering(&slow), drain);
    let mut idle = connect(service.address).await;
    send(&mut idle, "/").await;
    read_until(&mut idle, "fast").await;
    let mut busy = connect(service.address).await;
    send(&mut busy, "/slow").await;
    // A later request is answered, so this one has been read.
    let mut later = connect(service.address).await;
    send(&mut later, "/").await;
    read_until(&mut later, "fast").await;
    service.stop.send(()).unwrap();
    assert_eq!(read_until(&mut idle, "anything").await, "");
    slow.notify_one();
    let answer = read_until(&mut busy, "slow").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert_eq!(timeout(TIMEOUT, service.outcome).await.unwrap().unwrap(), DrainOutcome::Complete);
}

#[tokio::test]
async fn first_request_may_come_behind_the_grace_time() {
    // A machine may be too busy for one attempt.
    for _ in 0..20 {
        let drain = Drain { grace: Duration::from_millis(20), limit: LONG };
        let service = start(answering(&Arc::default()), drain);
        let mut idle = connect(service.address).await;
        send(&mut idle, "/").await;
        read_until(&mut idle, "fast").await;
        let begin = Instant::now();
        let mut late = connect(service.address).await;
        // A later connection is answered, so this one is accepted.
        let mut later = connect(service.address).await;
        send(&mut later, "/").await;
        read_until(&mut later, "fast").await;
        service.stop.send(()).unwrap();
        assert_eq!(read_until(&mut idle, "the grace time is over").await, "");
        send(&mut late, "/").await;
        let answer = read_until(&mut late, "fast").await;
        if begin.elapsed() < Duration::from_secs(1) {
            assert!(answer.contains("connection: close") && answer.ends_with("fast"), "{answer}");
            let outcome = timeout(TIMEOUT, service.outcome).await;
            assert_eq!(outcome.unwrap().unwrap(), DrainOutcome::Complete);
            return;
        }
    }
    panic!("no attempt took less than a second");
}

#[tokio::test]
async fn unfinished_answer_is_dropped_at_the_limit() {
    let drain = Drain { grace: Duration::from_millis(10), limit: Duration::from_millis(50) };
    let slow = Arc::new(Notify::new());
    let service = start(answering(&slow), drain);
    let mut busy = connect(service.address).await;
    send(&mut busy, "/slow").await;
    let mut later = connect(service.address).await;
    send(&mut later, "/").await;
    read_until(&mut later, "fast").await;
    service.stop.send(()).unwrap();
    assert_eq!(timeout(TIMEOUT, service.outcome).await.unwrap().unwrap(), DrainOutcome::CutOff);
}

/// Asks until a connection is refused. Returns the connections that ended without an answer.
fn ask_until_refused(address: SocketAddr) -> usize {
    let mut cut = 0;
    while let Ok(mut stream) = std::net::TcpStream::connect_timeout(&address, TIMEOUT) {
        let request = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let (sent, mut text) = (stream.write_all(request), String::new());
        let answered = sent.is_ok() && stream.read_to_string(&mut text).is_ok();
        cut += usize::from(!answered || !text.ends_with("fast"));
    }
    cut
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_during_the_stop_is_answered_or_refused() {
    let stops = (0..200).map(|after| async move {
        let service = start(answering(&Arc::default()), Drain::default());
        let address = service.address;
        let ask = || tokio::task::spawn_blocking(move || ask_until_refused(address));
        let callers: Vec<_> = (0..2).map(|_| ask()).collect();
        tokio::time::sleep(Duration::from_millis(3 * after)).await;
        service.stop.send(()).unwrap();
        for caller in callers {
            assert_eq!(timeout(TIMEOUT, caller).await.unwrap().unwrap(), 0, "stop {after}");
        }
        assert_eq!(service.outcome.await.unwrap(), DrainOutcome::Complete);
    });
    futures_util::future::join_all(stops).await;
}

#[tokio::test]
async fn caller_between_two_runs_is_answered_by_the_next() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let inherit = || {
        let socket = tokio::net::TcpListener::from_std(socket.try_clone().unwrap()).unwrap();
        Listeners { sockets: vec![socket], origin: Origin::Inherited }
    };
    let first = start_on(inherit(), answering(&Arc::default()), Serving::default());
    let address = first.address;
    first.stop.send(()).unwrap();
    assert_eq!(timeout(TIMEOUT, first.outcome).await.unwrap().unwrap(), DrainOutcome::Complete);
    let mut queued = connect(address).await;
    send(&mut queued, "/").await;
    let _second = start_on(inherit(), answering(&Arc::default()), Serving::default());
    assert!(read_until(&mut queued, "fast").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn endless_answer_ends_when_the_service_stops() {
    let entered = Arc::new(Notify::new());
    let handler = {
        let entered = entered.clone();
        async move |stopping: Stopping| {
            entered.notify_one();
            stopping.begun().await;
            "ended"
        }
    };
    let router = Router::new().route("/endless", get(handler));
    // Only the signal ends the answer before the limit.
    let drain = Drain { grace: Duration::from_millis(10), limit: TIMEOUT * 10 };
    let service = start(router, drain);
    let mut stream = connect(service.address).await;
    send(&mut stream, "/endless").await;
    entered.notified().await;
    service.stop.send(()).unwrap();
    read_until(&mut stream, "ended").await;
    assert_eq!(timeout(TIMEOUT, service.outcome).await.unwrap().unwrap(), DrainOutcome::Complete);
}
