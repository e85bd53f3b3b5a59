//! The answers while the database server is down or hangs, and the recovery without a restart of
//! the service.
//!
//! These tests run on PostgreSQL only: SQLite has no server.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use kit::{Callers, Database, Limits, Settings, Shell};
use postgres_cluster::test_server::TestServer;
use sqlx::{AnyConnection, Connection as _};
use todo::http;
use todo::store::MIGRATIONS;
use tower::ServiceExt as _;

/// The limit for every answer: the service's own timeout, and a reserve for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The timeout for the service to reconnect.
const RECOVERY_TIME: Duration = Duration::from_secs(30);

fn callers() -> Callers {
    Callers::from_settings("todo", &Settings::from_pairs([("OPEN_OWNERS", "true")])).unwrap()
}

/// The status of the answer. A 503 must have `Retry-After`.
async fn ask(app: &Router, method: &str, path: &str, body: &'static str) -> StatusCode {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.header("content-type", "application/json").body(Body::from(body));
    let asked = Instant::now();
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    assert!(asked.elapsed() < TIMEOUT, "{method} {path} took {:?}", asked.elapsed());
    let status = response.status();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        assert!(response.headers().contains_key("retry-after"), "{method} {path}");
    }
    status
}

async fn get(app: &Router, path: &str) -> StatusCode {
    ask(app, "GET", path, "").await
}

async fn create(app: &Router, body: &'static str) -> StatusCode {
    ask(app, "POST", "/lists/ann", body).await
}

#[tokio::test]
async fn requests_get_503_during_an_outage_and_recover() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = TestServer::in_folder(folder.path(), &["todo"]) else { return };
    let database = Database::open(&server.url("todo"), &MIGRATIONS).await.unwrap();
    let app = http::app(database, Shell::new(callers(), Limits::default()));
    for (end, body) in [
        (TestServer::stop as fn(&mut TestServer), r#"{"name": "before a stop"}"#),
        (TestServer::kill, r#"{"name": "before a kill"}"#),
    ] {
        assert_eq!(create(&app, body).await, StatusCode::CREATED);
        // Opens several connections; all of them break.
        tokio::join!(get(&app, "/lists"), get(&app, "/lists"), get(&app, "/lists"));
        end(&mut server);
        let (ready, read, write, alive) = tokio::join!(
            get(&app, "/readyz"),
            get(&app, "/lists/ann"),
            create(&app, r#"{"name": "lost"}"#),
            get(&app, "/healthz"),
        );
        let down = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!((ready, read, write, alive), (down, down, down, StatusCode::OK));
        server.start();
        let deadline = Instant::now() + RECOVERY_TIME;
        while get(&app, "/readyz").await != StatusCode::OK {
            assert!(Instant::now() < deadline, "the service does not reconnect");
        }
        assert_eq!(get(&app, "/lists/ann").await, StatusCode::OK);
        assert_eq!(create(&app, body).await, StatusCode::CONFLICT);
    }
}

#[tokio::test]
async fn kill_of_the_server_answers_requests_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = TestServer::in_folder(folder.path(), &["todo"]) else { return };
    let url = server.url("todo");
    let database = Database::open(&url, &MIGRATIONS).await.unwrap();
    let app = http::app(database, Shell::new(callers(), Limits::default()));
    // Every request waits for a locked table.
    let mut locker = lock(&url).await;
    let waiting = (0..4).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { create(&app, r#"{"name": "one"}"#).await })
    });
    let waiting: Vec<_> = waiting.collect();
    await_waiting(&mut locker, 4).await;
    server.kill();
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn hanging_server_is_answered_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = TestServer::in_folder(folder.path(), &["todo"]) else { return };
    let url = server.url("todo");
    let app = impatient(&url).await;
    let locker = lock(&url).await;
    assert_eq!(get(&app, "/lists").await, StatusCode::SERVICE_UNAVAILABLE);
    locker.close().await.unwrap();
    let deadline = Instant::now() + RECOVERY_TIME;
    while get(&app, "/lists").await != StatusCode::OK {
        assert!(Instant::now() < deadline, "the service does not recover");
    }
}

#[tokio::test]
async fn hanging_statements_release_their_connections() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = TestServer::in_folder(folder.path(), &["todo"]) else { return };
    let url = server.url("todo");
    let app = impatient(&url).await;
    let _locker = lock(&url).await;
    // More requests than connections. Each times out while its statement still waits.
    let waiting = (0..12).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { get(&app, "/lists").await })
    });
    for answer in waiting.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
    // The table is still locked; requests that do not need it succeed again.
    let deadline = Instant::now() + RECOVERY_TIME;
    while get(&app, "/readyz").await != StatusCode::OK {
        assert!(Instant::now() < deadline, "the connections are not released");
    }
}

/// The application with a short request timeout.
async fn impatient(url: &str) -> Router {
    let database = Database::open(url, &MIGRATIONS).await.unwrap();
    let limits = Limits { request_time: Duration::from_millis(300), ..Limits::default() };
    http::app(database, Shell::new(callers(), limits))
}

/// A connection that locks the table of lists.
async fn lock(url: &str) -> AnyConnection {
    let mut connection = AnyConnection::connect(url).await.unwrap();
    for statement in ["BEGIN", "LOCK TABLE lists"] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection
}

/// Waits until `count` connections wait for a lock.
async fn await_waiting(connection: &mut AnyConnection, count: i64) {
    let deadline = Instant::now() + RECOVERY_TIME;
    let waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *connection).await.unwrap() < count {
        assert!(Instant::now() < deadline, "no connection waits for a lock");
    }
}
