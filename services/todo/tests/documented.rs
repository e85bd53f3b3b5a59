//! Every error that the OpenAPI document names happens, and no other one does.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use kit::openapi::{Documented, operations, status_of};
use kit::{Database, Pool, Settings, Shell};
use serde_json::{Value, json};
use todo::bodies::{MAX_ITEMS, MAX_NEW_ITEMS};
use todo::changes::MAX_FOLLOWERS;
use todo::http::{self, OPENAPI};
use todo::store::MIGRATIONS;
use tower::ServiceExt as _;

/// The service with short timeouts.
async fn app(url: &str, open_owners: &str) -> (Router, Database) {
    let pool =
        Pool { connections: Some(1), acquire_time: Duration::from_millis(100), ..Pool::default() };
    let database = Database::open_with(url, &MIGRATIONS, pool).await.unwrap();
    let settings = [("OPEN_OWNERS", open_owners), ("BODY_TIMEOUT", "50ms")];
    let shell = Shell::from_settings("todo", &Settings::from_pairs(settings)).unwrap();
    (http::app(database.clone(), shell), database)
}

async fn send(app: &Router, request: Request<Body>) -> Response {
    app.clone().oneshot(request).await.unwrap()
}

/// Creates something, and returns it.
async fn create(app: &Router, path: &str, body: Value) -> Value {
    let request = Request::post(path).header("host", "localhost");
    let request = request.header("content-type", "application/json");
    let response = send(app, request.body(Body::from(body.to_string())).unwrap()).await;
    assert_eq!(response.status(), StatusCode::CREATED, "{path}");
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
}

/// The address of the operation for a new user with the lists that the examples name.
async fn target(app: &Router, operation: &Documented, user: usize) -> String {
    let user = format!("user-{user}");
    let path = format!("/lists/{user}");
    create(app, &path, json!({"name": "house"})).await;
    let list = create(app, &path, json!({"name": "home", "items": ["milk"]})).await;
    let id = list["items"][0]["id"].to_string();
    operation.target(&[("username", &user), ("list", "home"), ("id", &id)])
}

/// Fills a list, and returns the address of its items.
async fn full_list(app: &Router, database: &Database) -> &'static str {
    let half = vec!["milk"; MAX_NEW_ITEMS];
    create(app, "/lists/full", json!({"name": "home", "items": half})).await;
    let double = "INSERT INTO items (list_id, title, completed, position) \
                  SELECT list_id, title, completed, position FROM items \
                  WHERE list_id = (SELECT id FROM lists WHERE username = 'full')";
    let mut write = database.write().await.unwrap();
    let done = sqlx::query(double).execute(&mut *write).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(2 * done.rows_affected(), MAX_ITEMS as u64);
    "/lists/full/home/items"
}

async fn errors_are_those_of_the_document(url: String) {
    let ((open, database), (closed, closed_database)) =
        (app(&url, "true").await, app(&url, "false").await);
    let full = full_list(&open, &database).await;
    let operations = operations(OPENAPI);
    let mut seen = vec![BTreeSet::new(); operations.len()];
    let mut user = 0;
    for (operation, seen) in operations.iter().zip(&mut seen) {
        for app in [&open, &closed] {
            for index in 0..operation.mistakes(&valid(operation)).len() {
                // A new user each time: some mistakes are none for this operation.
                user += 1;
                let target = target(&open, operation, user).await;
                let mistake = operation.mistakes(&target).swap_remove(index);
                seen.insert(status_of(send(app, mistake).await).await);
            }
        }
        let absent = operation.target(&[("username", "ann"), ("list", "none"), ("id", "99")]);
        seen.insert(status_of(send(&open, operation.request(&absent)).await).await);
        if operation.path.ends_with("/items") && operation.method == "POST" {
            seen.insert(status_of(send(&open, operation.request(full)).await).await);
        }
        if operation.path.starts_with("/events") {
            let request = || operation.request("/events/ann");
            let mut open_streams = Vec::new();
            for _ in 0..MAX_FOLLOWERS {
                open_streams.push(send(&open, request()).await);
            }
            seen.insert(status_of(send(&open, request()).await).await);
        }
    }
    // All connections are in use.
    let reader = database.reader().acquire().await.unwrap();
    let writer = database.write().await.ok();
    for (operation, seen) in operations.iter().zip(&mut seen) {
        seen.insert(status_of(send(&open, operation.request(&valid(operation))).await).await);
    }
    drop((reader, writer));
    for table in ["items", "lists"] {
        let mut write = database.write().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE {table}")))
            .execute(&mut *write)
            .await
            .unwrap();
        write.commit().await.unwrap();
    }
    for (operation, seen) in operations.iter().zip(&mut seen) {
        seen.insert(status_of(send(&open, operation.request(&valid(operation))).await).await);
    }
    for (operation, seen) in operations.iter().zip(seen) {
        let errors: BTreeSet<u16> = seen.into_iter().filter(|status| *status >= 400).collect();
        assert_eq!(errors, operation.problems, "{} {}", operation.method, operation.path);
    }
    database.close().await;
    closed_database.close().await;
}

fn valid(operation: &Documented) -> String {
    operation.target(&[("username", "ann"), ("list", "home"), ("id", "1")])
}

fn file(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("todo.db").display())
}

postgres_cluster::on_both_databases! {
    super::file;
    errors_are_those_of_the_document,
}
