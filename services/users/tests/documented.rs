//! Every error that the OpenAPI document names happens, and no other one does.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use kit::auth::Tokens;
use kit::client::Timeouts;
use kit::openapi::{Documented, operations, status_of};
use kit::serve::{Drain, serve};
use kit::{BindAddress, Client, Database, Listeners, Pool, Settings, Shell};
use serde_json::json;
use tower::ServiceExt as _;
use users::accounts::MAX_ATTEMPTS;
use users::http::{self, OPENAPI};
use users::store::MIGRATIONS;
use users::todo::Todo;

const KEY: &str = "the key of these tests, which is long";

/// The service with short timeouts.
async fn app(url: &str, todo: &str, open_owners: &str) -> (Router, Database) {
    let pool =
        Pool { connections: Some(1), acquire_time: Duration::from_millis(100), ..Pool::default() };
    let database = Database::open_with(url, &MIGRATIONS, pool).await.unwrap();
    let settings = [("OPEN_OWNERS", open_owners), ("BODY_TIMEOUT", "50ms")];
    let shell = Shell::from_settings("users", &Settings::from_pairs(settings)).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: Duration::from_secs(5) };
    let todo = Todo::new(Client::new("TODO_URL", todo, timeouts).unwrap());
    (http::app(database.clone(), todo, Tokens::new(KEY), shell), database)
}

/// A `todo` that fails.
fn failing_todo() -> String {
    let listeners = Listeners::bind(&BindAddress { host: "127.0.0.1".into(), port: 0 }).unwrap();
    let url = format!("http://{}", listeners.describe());
    let router = Router::new().fallback(async || StatusCode::INTERNAL_SERVER_ERROR);
    let serving = serve(listeners, router, Drain::default(), std::future::pending());
    tokio::spawn(async move {
        serving.await;
    });
    url
}

async fn send(app: &Router, request: Request<Body>) -> Response {
    app.clone().oneshot(request).await.unwrap()
}

/// Adds a person unless there is one.
async fn add(app: &Router, username: &str) {
    let body = json!({"username": username, "name": "Ann"});
    let request = Request::post("/users").header("host", "localhost");
    let request = request.header("content-type", "application/json");
    let status = send(app, request.body(Body::from(body.to_string())).unwrap()).await.status();
    assert!(matches!(status, StatusCode::CREATED | StatusCode::CONFLICT), "{username}: {status}");
}

async fn errors_are_those_of_the_document(url: String) {
    let todo = failing_todo();
    let ((open, database), (closed, closed_database)) =
        (app(&url, &todo, "true").await, app(&url, &todo, "false").await);
    // The name in the examples.
    add(&open, "ann").await;
    let operations = operations(OPENAPI);
    let mut seen = vec![BTreeSet::new(); operations.len()];
    let mut person = 0;
    for (operation, seen) in operations.iter().zip(&mut seen) {
        for app in [&open, &closed] {
            for index in 0..operation.mistakes(&valid(operation)).len() {
                // A new person each time: some mistakes are none for this operation.
                person += 1;
                let username = format!("person-{person}");
                add(&open, &username).await;
                let target = operation.target(&[("username", &username)]);
                let mistake = operation.mistakes(&target).swap_remove(index);
                seen.insert(status_of(send(app, mistake).await).await);
            }
        }
        let absent = operation.target(&[("username", "stranger")]);
        for target in [absent, valid(operation)] {
            seen.insert(status_of(send(&open, operation.request(&target)).await).await);
        }
        if operation.path == "/sessions" {
            for _ in 0..=MAX_ATTEMPTS {
                seen.insert(status_of(send(&open, operation.request("/sessions")).await).await);
            }
        }
    }
    // All connections are in use.
    let reader = database.reader().acquire().await.unwrap();
    let writer = database.write().await.ok();
    ask_all(&open, &operations, &mut seen).await;
    drop((reader, writer));
    for table in ["sessions", "accounts", "attempts", "users"] {
        let drop = sqlx::AssertSqlSafe(format!("DROP TABLE {table}"));
        let mut write = database.write().await.unwrap();
        sqlx::query(drop).execute(&mut *write).await.unwrap();
        write.commit().await.unwrap();
    }
    ask_all(&open, &operations, &mut seen).await;
    for (operation, seen) in operations.iter().zip(seen) {
        let errors: BTreeSet<u16> = seen.into_iter().filter(|status| *status >= 400).collect();
        assert_eq!(errors, operation.problems, "{} {}", operation.method, operation.path);
    }
    database.close().await;
    closed_database.close().await;
}

/// Sends every operation without a mistake, and with the secret of a session.
async fn ask_all(app: &Router, operations: &[Documented], seen: &mut [BTreeSet<u16>]) {
    for (operation, seen) in operations.iter().zip(seen) {
        let request = || operation.request(&valid(operation));
        let mut with_secret = request();
        with_secret.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
        for request in [request(), with_secret] {
            seen.insert(status_of(send(app, request).await).await);
        }
    }
}

fn valid(operation: &Documented) -> String {
    operation.target(&[("username", "ann")])
}

fn file(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("users.db").display())
}

postgres_cluster::on_both_databases! {
    super::file;
    errors_are_those_of_the_document,
}
