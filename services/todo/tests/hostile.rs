//! Texts of callers reach the database as parameters only.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use kit::{Callers, Database, Limits, Settings, Shell};
use serde_json::{Value, json};
use todo::http;
use todo::store::MIGRATIONS;
use tower::ServiceExt as _;

async fn send(app: &Router, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost:5001");
    let request = request.header("content-type", "application/json");
    let answer =
        app.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    let status = answer.status();
    let bytes = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn statements_in_texts_are_only_texts(url: String) {
    let settings = Settings::from_pairs([("OPEN_OWNERS", "true")]);
    let callers = Callers::from_settings("todo", &settings).unwrap();
    let database = Database::open(&url, &MIGRATIONS).await.unwrap();
    let app = http::app(database, Shell::new(callers, Limits::default()));
    let kept = json!({ "name": "kept", "items": ["x"] });
    assert_eq!(send(&app, "POST", "/lists/alice", &kept).await.0, StatusCode::CREATED);
    let before = send(&app, "GET", "/lists/alice", &Value::Null).await;
    for text in ["'; DROP TABLE lists; --", "\" OR \"\"=\"", "%27 or 1=1", "$1", "?1", "\\'; --"] {
        let body = json!({ "name": text, "items": [text] });
        let (status, list) = send(&app, "POST", "/lists/mallory", &body).await;
        assert_eq!((status, &list["name"]), (StatusCode::CREATED, &json!(text)));
        let url = list["url"].as_str().unwrap();
        let path = url.strip_prefix("http://localhost:5001").unwrap();
        let read = send(&app, "GET", path, &Value::Null).await.1;
        assert_eq!(read["items"][0]["title"], text);
        let removed = send(&app, "DELETE", path, &Value::Null).await.0;
        assert_eq!(removed, StatusCode::NO_CONTENT);
    }
    assert_eq!(send(&app, "GET", "/lists/alice", &Value::Null).await, before);
}

postgres_cluster::on_both_databases! {
    |_| "sqlite::memory:".to_owned();
    statements_in_texts_are_only_texts,
}
