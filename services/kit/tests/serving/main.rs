//! The accept loop on real sockets: limits, errors, and stops.

#![allow(clippy::unwrap_used)]

mod stops;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use kit::client::Timeouts;
use kit::openapi::About;
use kit::serve::{Drain, DrainOutcome, MAX_CONNECTIONS, Serving, serve};
use kit::{BindAddress, Listeners};
use kit::{Callers, Database, Limits, Pool, Routes, Settings, Shell};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A silent caller loses its place within this time.
const SOON: Duration = Duration::from_secs(10);

/// Longer than any test, so that the grace time does not end a wait.
const LONG: Duration = Duration::from_secs(60);

struct Service {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    outcome: JoinHandle<DrainOutcome>,
}

fn start(router: Router, serving: impl Into<Serving>) -> Service {
    let listeners = Listeners::bind(&BindAddress { host: "127.0.0.1".into(), port: 0 }).unwrap();
    start_on(listeners, router, serving.into())
}

fn start_on(listeners: Listeners, router: Router, serving: Serving) -> Service {
    let address = listeners.sockets[0].local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let outcome = tokio::spawn(serve(listeners, router, serving, async {
        stopped.await.ok();
    }));
    Service { address, stop, outcome }
}

/// A service that answers `/` at once, and `/slow` when `slow` is notified.
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

/// Reads until the text arrives or the connection ends.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(wanted) {
        let length = timeout(TIMEOUT, stream.read(&mut buffer)).await.unwrap().unwrap();
        if length == 0 {
            break;
        }
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    text
}

#[tokio::test]
async fn caller_above_the_limit_waits_for_a_place() {
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
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = connect(service.address).await;
        send(&mut stream, "/counted").await;
        busy.push(stream);
    }
    let all = u32::try_from(MAX_CONNECTIONS).unwrap();
    let arrived = timeout(TIMEOUT, inside.acquire_many(all)).await;
    arrived.expect("all are inside").unwrap().forget();
    let mut waiting = connect(service.address).await;
    send(&mut waiting, "/").await;
    // The service is polled many times.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let early = waiting.try_read(&mut [0; 1024]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock));
    slow.notify_one();
    assert!(read_until(&mut waiting, "fast").await.contains("fast"));
}

#[tokio::test]
async fn idle_connections_make_room_for_callers() {
    let service = start(answering(&Arc::default()), Drain::default());
    let mut kept = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
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
async fn connections_without_a_request_give_way() {
    let serving = Serving { connections: 4, head_time: LONG, ..Serving::default() };
    let service = start(answering(&Arc::default()), serving);
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(connect(service.address).await);
        slow.last_mut().unwrap().write_all(b"GET / HTTP/1.1\r\nHos").await.unwrap();
    }
    let mut caller = connect(service.address).await;
    send(&mut caller, "/").await;
    assert!(read_until(&mut caller, "fast").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn idle_connection_gives_way_not_a_busy_one() {
    let serving = Serving { connections: 3, head_time: LONG, ..Serving::default() };
    let slow = Arc::new(Notify::new());
    let service = start(answering(&slow), serving);
    let [mut busy, mut idle] = [connect(service.address).await, connect(service.address).await];
    send(&mut busy, "/slow").await;
    send(&mut idle, "/").await;
    assert!(!read_until(&mut idle, "fast").await.contains("connection: close"));
    let _silent = connect(service.address).await;
    let mut other = connect(service.address).await;
    send(&mut other, "/").await;
    assert!(read_until(&mut other, "fast").await.ends_with("fast"));
    assert_eq!(read_until(&mut idle, "anything").await, "");
    slow.notify_one();
    assert!(read_until(&mut busy, "slow").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn silent_callers_lose_their_place_in_time() {
    let service = start(answering(&Arc::default()), Drain::default());
    let [mut silent, mut half] = [connect(service.address).await, connect(service.address).await];
    half.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    for stream in [&mut silent, &mut half] {
        let ended = timeout(SOON, read_until(stream, "anything")).await;
        assert_eq!(ended.expect("the connection ends in time"), "");
    }
}

#[tokio::test]
async fn caller_that_reads_nothing_is_disconnected() {
    // More than the buffers of both sockets.
    let large = get(async || "x".repeat(32 * 1024 * 1024));
    let drain = Drain { grace: Duration::from_millis(10), limit: LONG };
    let service = start(answering(&Arc::default()).route("/large", large), drain);
    let mut stuck = connect(service.address).await;
    send(&mut stuck, "/large").await;
    assert!(read_until(&mut stuck, "x").await.starts_with("HTTP/1.1 200"));
    service.stop.send(()).unwrap();
    let outcome = timeout(SOON, service.outcome).await.expect("the drain ends in time");
    assert_eq!(outcome.unwrap(), DrainOutcome::Complete);
}

const ABOUT: About = About { name: "test", version: "1.0.0", description: "A test." };

kit::body! {
    /// A body that has no field.
    struct NoFields {}
}

/// A complete application with small limits.
async fn limited() -> Service {
    let limits = Limits {
        body_bytes: 100,
        body_time: Duration::from_millis(50),
        request_time: Duration::from_millis(200),
    };
    let callers = Callers::from_settings("test", &Settings::from_pairs([]));
    let database = Database::open("sqlite::memory:", &[]).await.unwrap();
    let routes = Routes::new(ABOUT)
        .post("/echo", "Read a body", async |_: NoFields| StatusCode::OK)
        .get("/panic", "Panic", async || -> &'static str { panic!("expected by the test") })
        .get("/never", "Never answer", async || std::future::pending::<StatusCode>().await);
    start(
        routes.into_app((), database, "{}", Shell::new(callers.unwrap(), limits)),
        Drain::default(),
    )
}

#[tokio::test]
async fn missing_body_is_a_request_timeout() {
    let service = limited().await;
    let mut stream = connect(service.address).await;
    let head = "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
        Content-Length: 10\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

/// A proxy could read another end of the first request than the service does.
#[tokio::test]
async fn ambiguous_and_oversized_requests_are_refused() {
    let service = limited().await;
    let long = format!("X: {}\r\n", "x".repeat(1 << 20));
    let many = "X: x\r\n".repeat(1000);
    for headers in [
        "Content-Length: 2\r\nContent-Length: 40\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 2, 40\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length : 2\r\n",
        "X: a\r\n b: c\r\nContent-Length 2\r\n",
        "X: \0\r\n",
        &long,
        &many,
    ] {
        let mut stream = connect(service.address).await;
        let smuggled = "{}GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
        let request = format!("POST /echo HTTP/1.1\r\nHost: test\r\n{headers}\r\n{smuggled}");
        // The service may close the connection before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let shown: String = headers.chars().take(60).collect();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{shown:?}: {answer}");
        assert!(!answer.contains("alive"), "{shown:?} is answered twice: {answer}");
    }
    let mut stream = connect(service.address).await;
    let body = "x".repeat(101);
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(read_until(&mut stream, "}").await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn slow_answer_is_unavailable() {
    let service = limited().await;
    let mut stream = connect(service.address).await;
    send(&mut stream, "/never").await;
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
}

#[tokio::test]
async fn panicking_handler_is_an_internal_error() {
    let service = limited().await;
    let mut stream = connect(service.address).await;
    send(&mut stream, "/panic").await;
    let answer = read_until(&mut stream, "}").await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    send(&mut stream, "/healthz").await;
    assert!(read_until(&mut stream, "alive").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn client_reads_the_answer_to_a_large_body() {
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
    // The connection can be reused.
    send(&mut stream, "/healthz").await;
    assert!(read_until(&mut stream, "alive").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn own_router_gets_health_and_problems() {
    let settings = Settings::from_pairs([("REQUEST_TIMEOUT", "100ms"), ("BODY_LIMIT", "8")]);
    let shell = Shell::from_settings("test", &settings).unwrap();
    let router = Router::new()
        .route("/page", get(async || "page"))
        .route("/body", post(async |_: NoFields| StatusCode::OK))
        .route("/never", get(async || std::future::pending::<()>().await));
    let service = start(shell.around(router, None), Drain::default());
    let mut stream = connect(service.address).await;
    for (path, status, text) in [
        ("/page", "200", "page"),
        ("/healthz", "200", "alive"),
        ("/readyz", "200", "ready"),
        ("/metrics", "200", "_count{route=\"/readyz\",method=\"GET\",status=\"200\"} 1\n"),
        ("/nothing", "404", "nothing is at `/nothing`"),
        ("/never", "503", "no answer within 100ms"),
    ] {
        send(&mut stream, path).await;
        let answer = read_until(&mut stream, text).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains("x-request-id: "), "{path}: {answer}");
    }
    let mut stream = connect(service.address).await;
    let post = "POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
        Content-Length: 9\r\n\r\n[1, 2, 3]";
    stream.write_all(post.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "8 bytes").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn settings_of_limits_and_pools_are_checked() {
    let settings = |name, value| Settings::from_pairs([(name, value)]);
    let limits = Limits::from_settings(&settings("BODY_TIMEOUT", "2s")).unwrap();
    assert_eq!(limits.body_time, Duration::from_secs(2));
    let serving = Serving::from_settings(&settings("DRAIN_TIMEOUT", "1m")).unwrap();
    assert_eq!(serving.drain.limit, Duration::from_secs(60));
    let pool = Pool::from_settings(&settings("DATABASE_CONNECTIONS", "3")).unwrap();
    assert_eq!(pool.connections, Some(3));
    let timeouts = Timeouts::from_settings(&settings("CALL_TIMEOUT", "900ms")).unwrap();
    assert_eq!(timeouts.answer, Duration::from_millis(900));
    for (name, wrong) in [("MAX_CONNECTIONS", "0"), ("HEAD_TIMEOUT", "5")] {
        let error = Serving::from_settings(&settings(name, wrong)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{name}` is `{wrong}`")), "{error}");
    }
    let error = Pool::from_settings(&settings("DATABASE_CONNECTIONS", "0")).unwrap_err();
    assert!(error.to_string().contains("from 1 to 1000"), "{error}");
}
