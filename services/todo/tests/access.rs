//! Who may read and write which lists of `todo`: hosts, origins and tokens.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::request::Builder;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use kit::auth::Tokens;
use kit::{Database, Settings, Shell};
use serde_json::{Value, json};
use todo::http;
use todo::store::MIGRATIONS;
use tower::ServiceExt as _;

const KEY: &str = "the key of these tests, which is long";

const MINUTE: Duration = Duration::from_secs(60);

/// The application, with owners that are open for callers without a token or not, and its key.
async fn app(url: &str, open: &str) -> (Router, Tokens) {
    let database = Database::open(url, &MIGRATIONS).await.unwrap();
    let settings = Settings::from_pairs([("OPEN_OWNERS", open)]);
    let (shell, tokens) = (Shell::from_settings("todo", &settings).unwrap(), Tokens::new(KEY));
    (http::app(database, shell.with_tokens(tokens.clone())), tokens)
}

async fn ask(app: &Router, request: Builder, body: Value) -> (StatusCode, HeaderMap, Value) {
    let request = request.header("content-type", "application/json");
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let mut request = request.body(body).unwrap();
    request.headers_mut().entry("host").or_insert(HeaderValue::from_static("localhost:5001"));
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    if !parts.status.is_success() {
        assert_eq!(parts.headers["content-type"], "application/problem+json");
    }
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Sends a request with a token, or without one.
async fn send_as(
    app: &Router,
    token: Option<&str>,
    method: &str,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (status, _, body) = ask(app, request, body).await;
    (status, body)
}

async fn foreign_hosts_and_origins_are_refused(url: String) {
    let (app, tokens) = app(&url, "false").await;
    let token = tokens.issue("ann", MINUTE);
    let list = json!({"name": "home"});
    let made = send_as(&app, Some(&token), "POST", "/lists/ann", list).await;
    assert_eq!(made.0, StatusCode::CREATED);
    for (header, value, expected) in [
        ("host", "rebind.evil.example:5001", StatusCode::MISDIRECTED_REQUEST),
        ("origin", "https://evil.example", StatusCode::FORBIDDEN),
    ] {
        let request = Request::delete("/lists/ann/home").header(header, value);
        let request = request.header("authorization", format!("Bearer {token}"));
        let (status, headers, _) = ask(&app, request, Value::Null).await;
        assert_eq!(status, expected);
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    let home = send_as(&app, Some(&token), "GET", "/lists/ann/home", Value::Null).await;
    assert_eq!(home.0, StatusCode::OK);
}

async fn closed_owners_need_a_token(url: String) {
    let (app, _) = app(&url, "false").await;
    for (method, path) in [
        ("GET", "/lists"),
        ("GET", "/lists/ann"),
        ("POST", "/lists/ann"),
        ("GET", "/summaries/ann"),
        ("DELETE", "/lists/ann/home"),
        ("PATCH", "/lists/ann/home/items/1"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let (status, headers, _) = ask(&app, request, Value::Null).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(headers["www-authenticate"], "Bearer");
    }
    assert_eq!(send_as(&app, None, "GET", "/healthz", Value::Null).await.0, StatusCode::OK);
}

async fn person_reads_and_writes_only_own_lists(url: String) {
    let (app, tokens) = app(&url, "true").await;
    let (ann, bob) = (tokens.issue("ann", MINUTE), tokens.issue("bob", MINUTE));
    let list = json!({"name": "home", "items": ["secret"]});
    let (status, made) = send_as(&app, Some(&ann), "POST", "/lists/ann", list).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(made["url"], "http://localhost:5001/lists/ann/home");
    let expired = tokens.issue("ann", Duration::ZERO);
    let forged = Tokens::new("another key").issue("ann", MINUTE);
    for path in ["/lists/ann", "/lists/ann/home", "/lists/ann/home/items", "/summaries/ann"] {
        let read = async |token: &str| send_as(&app, Some(token), "GET", path, Value::Null).await;
        assert_eq!(read(&ann).await.0, StatusCode::OK, "{path}");
        assert_eq!(read(&bob).await.0, StatusCode::FORBIDDEN, "{path}");
        for token in [&expired, &forged, ""] {
            assert_eq!(read(token).await.0, StatusCode::UNAUTHORIZED, "{path}");
        }
    }
    // An open owner of the same name has other lists, and no name reaches those of the account.
    let open =
        async |method: &str, path: &str, body: Value| send_as(&app, None, method, path, body).await;
    for (method, path) in
        [("GET", "/lists/ann"), ("GET", "/lists/%01ann"), ("DELETE", "/lists/ann")]
    {
        assert_eq!(open(method, path, Value::Null).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(open("GET", "/lists", Value::Null).await.1, json!({"lists": []}));
    let made = open("POST", "/lists/ann", json!({"name": "home"})).await;
    assert_eq!(made.0, StatusCode::CREATED);
    let own = send_as(&app, Some(&ann), "GET", "/lists/ann", Value::Null).await;
    assert_eq!(own.1, json!({"home": ["secret"]}));
}

postgres_cluster::on_both_databases! {
    |_| "sqlite::memory:".to_owned();
    foreign_hosts_and_origins_are_refused,
    closed_owners_need_a_token,
    person_reads_and_writes_only_own_lists,
}
