//! The accept loop on real sockets: what a stop does to each kind of connection, and the limits.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kit::listener::{Address, Listeners, Origin};
use kit::serve::{Drain, Ended, MOST_CONNECTIONS, serve};
use kit::{Database, Fields, Limits, Problem, Routes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

/// Within this time a caller who does nothing has to make room.
const SOON: Duration = Duration::from_secs(10);

/// Longer than any test takes, so that only what the test waits for can end the grace time.
const LONG: Duration = Duration::from_secs(60);

struct Service {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Ended>,
}

fn start(router: Router, drain: Drain) -> Service {
    let listeners = Listeners::bind(&Address { host: "127.0.0.1".into(), port: 0 }).unwrap();
    start_on(listeners, router, drain)
}

fn start_on(listeners: Listeners, router: Router, drain: Drain) -> Service {
    let address = listeners.sockets[0].local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(serve(listeners, router, drain, async {
        stopped.await.ok();
    }));
    Service { address, stop, ended }
}

/// A service that answers `/` at once, and `/slow` when it is told to.
fn answering(slow: &Arc<Notify>) -> Router {
    let slow = slow.clone();
    let wait = move || async move {
        slow.notified().await;
        "slow"
    };
    Router::new().route("/", get(async || "fast")).route("/slow", get(wait))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

async fn send(stream: &mut TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

/// Reads until the text has come, or the connection has ended.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(wanted) {
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        if length == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    text
}

/// Waits until nobody takes connections any more.
async fn wait_until_refused(address: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < deadline, "the service goes on accepting");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_that_asks_only_after_the_stop_is_answered_and_told_to_go() {
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
    // With the last connection gone nothing waits for the rest of the grace time.
    assert_eq!(timeout(PATIENCE, service.ended).await.unwrap().unwrap(), Ended::Drained);
}

#[tokio::test]
async fn a_caller_for_whom_there_is_no_place_waits_until_another_goes() {
    let (slow, inside) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let counted = (slow.clone(), inside.clone());
    let wait = move || {
        let (slow, inside) = counted.clone();
        async move {
            inside.add_permits(1);
            slow.notified().await;
            "slow"
        }
    };
    let router = answering(&Arc::default()).route("/counted", get(wait));
    let service = start(router, Drain::default());
    let mut busy = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        let mut stream = connect(service.address).await;
        send(&mut stream, "/counted").await;
        busy.push(stream);
    }
    let all = u32::try_from(MOST_CONNECTIONS).unwrap();
    let arrived = timeout(PATIENCE, inside.acquire_many(all)).await;
    arrived.expect("all are inside").unwrap().forget();
    let mut waiting = connect(service.address).await;
    send(&mut waiting, "/").await;
    // The service has its turn many times over.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let early = waiting.try_read(&mut [0; 1024]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock));
    slow.notify_one();
    assert!(read_until(&mut waiting, "fast").await.contains("fast"));
}

#[tokio::test]
async fn connections_that_are_only_kept_open_keep_nobody_out() {
    let service = start(answering(&Arc::default()), Drain::default());
    let mut kept = Vec::new();
    for _ in 0..MOST_CONNECTIONS {
        kept.push(connect(service.address).await);
    }
    for stream in &mut kept {
        send(stream, "/").await;
        assert!(read_until(stream, "fast").await.starts_with("HTTP/1.1 200"));
    }
    let mut other = connect(service.address).await;
    send(&mut other, "/").await;
    assert!(read_until(&mut other, "fast").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn callers_who_send_nothing_or_half_a_head_keep_others_out_for_a_moment_only() {
    let service = start(answering(&Arc::default()), Drain::default());
    let mut silent = Vec::new();
    for number in 0..MOST_CONNECTIONS {
        let mut stream = connect(service.address).await;
        if number % 2 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
        }
        silent.push(stream);
    }
    let mut other = connect(service.address).await;
    send(&mut other, "/").await;
    let answer = timeout(SOON, read_until(&mut other, "fast")).await.expect("there is room soon");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_caller_who_takes_nothing_of_its_answer_is_let_go() {
    // More than the system keeps for the two of them.
    let large = get(async || "x".repeat(32 * 1024 * 1024));
    let drain = Drain { grace: Duration::from_millis(10), limit: LONG };
    let service = start(answering(&Arc::default()).route("/large", large), drain);
    let mut stuck = connect(service.address).await;
    send(&mut stuck, "/large").await;
    assert!(read_until(&mut stuck, "x").await.starts_with("HTTP/1.1 200"));
    service.stop.send(()).unwrap();
    let ended = timeout(SOON, service.ended).await.expect("the stop waits for nobody");
    assert_eq!(ended.unwrap(), Ended::Drained);
}

#[tokio::test]
async fn after_the_grace_time_idle_connections_end_and_answers_in_the_making_do_not() {
    let slow = Arc::new(Notify::new());
    let drain = Drain { grace: Duration::from_millis(20), limit: LONG };
    let service = start(answering(&slow), drain);
    let mut idle = connect(service.address).await;
    send(&mut idle, "/").await;
    read_until(&mut idle, "fast").await;
    let mut busy = connect(service.address).await;
    send(&mut busy, "/slow").await;
    // The request has been read once a later one was answered.
    let mut later = connect(service.address).await;
    send(&mut later, "/").await;
    read_until(&mut later, "fast").await;
    service.stop.send(()).unwrap();
    assert_eq!(read_until(&mut idle, "anything").await, "");
    slow.notify_one();
    let answer = read_until(&mut busy, "slow").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert_eq!(timeout(PATIENCE, service.ended).await.unwrap().unwrap(), Ended::Drained);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up_at_the_limit() {
    let drain = Drain { grace: Duration::from_millis(10), limit: Duration::from_millis(50) };
    let slow = Arc::new(Notify::new());
    let service = start(answering(&slow), drain);
    let mut busy = connect(service.address).await;
    send(&mut busy, "/slow").await;
    let mut later = connect(service.address).await;
    send(&mut later, "/").await;
    read_until(&mut later, "fast").await;
    service.stop.send(()).unwrap();
    assert_eq!(timeout(PATIENCE, service.ended).await.unwrap().unwrap(), Ended::CutOff);
}

#[tokio::test]
async fn callers_who_come_between_two_runs_of_an_inherited_socket_are_answered_by_the_next() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let inherit = || {
        let socket = tokio::net::TcpListener::from_std(socket.try_clone().unwrap()).unwrap();
        Listeners { sockets: vec![socket], origin: Origin::Inherited }
    };
    let first = start_on(inherit(), answering(&Arc::default()), Drain::default());
    let address = first.address;
    first.stop.send(()).unwrap();
    assert_eq!(timeout(PATIENCE, first.ended).await.unwrap().unwrap(), Ended::Drained);
    let mut queued = connect(address).await;
    send(&mut queued, "/").await;
    let _second = start_on(inherit(), answering(&Arc::default()), Drain::default());
    assert!(read_until(&mut queued, "fast").await.starts_with("HTTP/1.1 200"));
}

/// A whole application with small limits.
async fn limited() -> Service {
    let limits = Limits {
        body_bytes: 100,
        body_time: Duration::from_millis(50),
        request_time: Duration::from_millis(200),
    };
    let database = Database::open("sqlite::memory:", |_| &[]).await.unwrap();
    let routes = Routes::new()
        .post("/echo", async |fields: Fields| fields.finish())
        .get("/panic", async || -> &'static str { panic!("as the test wants") })
        .get("/never", async || std::future::pending::<Result<(), Problem>>().await);
    start(routes.into_app((), database, "{}", limits), Drain::default())
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_request_timeout() {
    let service = limited().await;
    let mut stream = connect(service.address).await;
    let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
        Content-Length: 10\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_unavailable() {
    let service = limited().await;
    let mut stream = connect(service.address).await;
    send(&mut stream, "/never").await;
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
}

#[tokio::test]
async fn a_handler_that_panics_is_an_internal_error_and_no_more() {
    let service = limited().await;
    let mut stream = connect(service.address).await;
    send(&mut stream, "/panic").await;
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    send(&mut stream, "/healthz").await;
    assert!(read_until(&mut stream, "alive").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_too_large_is_read_on_so_that_the_client_sees_the_answer() {
    let service = limited().await;
    let mut stream = connect(service.address).await;
    let body = "x".repeat(1500);
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
        Content-Length: 1500\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // The connection is in order and can be used again.
    send(&mut stream, "/healthz").await;
    assert!(read_until(&mut stream, "alive").await.starts_with("HTTP/1.1 200"));
}
