//! What callers are told while the database server is away, and that they need not wait for a
//! restart of the service when it is back.
//!
//! SQLite is never away, so these run on PostgreSQL only.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use kit::Limits;
use postgres_cluster::lend::Lent;
use sqlx::{AnyConnection, Connection as _};
use todo::http;
use todo::store::Store;
use tower::ServiceExt as _;

/// No answer of the service may take longer: its own limit, and some for a machine that has
/// other things to do.
const PATIENCE: Duration = Duration::from_secs(15);

/// For the service to find the server again.
const RECOVERY_TIME: Duration = Duration::from_secs(30);

/// The status of an answer; one of 503 must say when to come again.
async fn ask(app: &Router, method: &str, path: &str, body: &'static str) -> StatusCode {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", "application/json").body(Body::from(body));
    let asked = Instant::now();
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    assert!(asked.elapsed() < PATIENCE, "{method} {path} took {:?}", asked.elapsed());
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
async fn requests_are_told_to_come_again_while_the_server_is_away_and_succeed_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = Lent::in_folder(folder.path(), &["todo"]) else { return };
    let store = Store::open(&server.url("todo")).await.unwrap();
    let app = http::app(store, Limits::default());
    for (end, body) in [
        (Lent::stop as fn(&mut Lent), r#"{"name": "before a stop"}"#),
        (Lent::kill, r#"{"name": "before a kill"}"#),
    ] {
        assert_eq!(create(&app, body).await, StatusCode::CREATED);
        // Several connections are open, and each of them breaks.
        tokio::join!(get(&app, "/lists"), get(&app, "/lists"), get(&app, "/lists"));
        end(&mut server);
        let (ready, read, write, alive) = tokio::join!(
            get(&app, "/readyz"),
            get(&app, "/lists/ann"),
            create(&app, r#"{"name": "lost"}"#),
            get(&app, "/healthz"),
        );
        let away = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!((ready, read, write, alive), (away, away, away, StatusCode::OK));
        server.start();
        let deadline = Instant::now() + RECOVERY_TIME;
        while get(&app, "/readyz").await != StatusCode::OK {
            assert!(Instant::now() < deadline, "the service does not find the server again");
        }
        assert_eq!(get(&app, "/lists/ann").await, StatusCode::OK);
        assert_eq!(create(&app, body).await, StatusCode::CONFLICT);
    }
}

#[tokio::test]
async fn requests_in_flight_when_the_server_is_killed_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut server) = Lent::in_folder(folder.path(), &["todo"]) else { return };
    let url = server.url("todo");
    let store = Store::open(&url).await.unwrap();
    let app = http::app(store, Limits::default());
    // A table that somebody else holds keeps each of them waiting.
    let mut holder = hold(&url).await;
    let waiting = (0..4).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { create(&app, r#"{"name": "one"}"#).await })
    });
    let waiting: Vec<_> = waiting.collect();
    await_waiting(&mut holder, 4).await;
    server.kill();
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Lent::in_folder(folder.path(), &["todo"]) else { return };
    let url = server.url("todo");
    let app = impatient(&url).await;
    let holder = hold(&url).await;
    assert_eq!(get(&app, "/lists").await, StatusCode::SERVICE_UNAVAILABLE);
    holder.close().await.unwrap();
    let deadline = Instant::now() + RECOVERY_TIME;
    while get(&app, "/lists").await != StatusCode::OK {
        assert!(Instant::now() < deadline, "the service does not recover");
    }
}

#[tokio::test]
async fn statements_that_hang_are_ended_and_leave_their_connections_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Lent::in_folder(folder.path(), &["todo"]) else { return };
    let url = server.url("todo");
    let app = impatient(&url).await;
    let _holder = hold(&url).await;
    // More than there are connections; each is given up, and its statement waits on.
    let waiting = (0..12).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { get(&app, "/lists").await })
    });
    for answer in waiting.collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
    // The table is held all the time, and what does not need it works again.
    let deadline = Instant::now() + RECOVERY_TIME;
    while get(&app, "/readyz").await != StatusCode::OK {
        assert!(Instant::now() < deadline, "the connections do not come back");
    }
}

/// The application, which gives requests up soon.
async fn impatient(url: &str) -> Router {
    let store = Store::open(url).await.unwrap();
    let limits = Limits { request_time: Duration::from_millis(300), ..Limits::default() };
    http::app(store, limits)
}

/// A connection that holds the table of lists.
async fn hold(url: &str) -> AnyConnection {
    let mut connection = AnyConnection::connect(url).await.unwrap();
    for statement in ["BEGIN", "LOCK TABLE lists"] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection
}

/// Waits until as many connections wait for something that is held.
async fn await_waiting(connection: &mut AnyConnection, count: i64) {
    let deadline = Instant::now() + RECOVERY_TIME;
    let waiting = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *connection).await.unwrap() < count {
        assert!(Instant::now() < deadline, "nobody waits");
    }
}
