//! The events of changes: which callers get them, and when.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{Request, StatusCode};
use futures_util::TryStreamExt as _;
use kit::auth::Tokens;
use kit::{Database, Settings, Shell};
use serde_json::{Value, json};
use todo::changes::MAX_FOLLOWERS;
use todo::http;
use todo::store::MIGRATIONS;
use tower::ServiceExt as _;

const KEY: &str = "the key of these tests, which is long";

/// The timeout of every wait.
const TIMEOUT: Duration = Duration::from_secs(20);

const ITEMS: &str = "/lists/ann/home/items";

/// One process of the service on this database.
async fn process(url: &str) -> Router {
    let database = Database::open(url, &MIGRATIONS).await.unwrap();
    let settings = Settings::from_pairs([("OPEN_OWNERS", "true")]);
    let shell = Shell::from_settings("todo", &settings).unwrap();
    http::app(database, shell.with_tokens(Tokens::new(KEY)))
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost")
}

/// Sends a request that must succeed, and returns the body.
async fn done(app: &Router, method: &str, path: &str, body: Value) -> Value {
    let request = request(method, path).header("content-type", "application/json");
    let response = app.clone().oneshot(request.body(Body::from(body.to_string())).unwrap());
    let response = response.await.unwrap();
    assert!(response.status().is_success(), "{method} {path}: {}", response.status());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    serde_json::from_slice(&body).unwrap_or(Value::Null)
}

/// Follows the changes of `ann` behind the event with the id `last`.
async fn follow(app: &Router, last: &str) -> BodyDataStream {
    let request = request("GET", "/events/ann").header("last-event-id", last);
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

/// The name and the id of the next event.
async fn next(events: &mut BodyDataStream) -> (String, String) {
    let text = tokio::time::timeout(TIMEOUT, events.try_next()).await.expect("an event");
    let text = String::from_utf8(text.unwrap().expect("no end").to_vec()).unwrap();
    let field = |name: &str| {
        let start = format!("{name}: ");
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
    };
    (field("event"), field("id"))
}

async fn every_change_is_an_event(url: String) {
    let app = process(&url).await;
    let mut events = follow(&app, "").await;
    assert_eq!(next(&mut events).await.0, "hello");
    let changes = [
        ("POST", "/lists/ann", json!({"name": "home"})),
        ("POST", ITEMS, json!({"title": "milk"})),
        ("POST", ITEMS, json!({"title": "bread", "place": 1})),
        ("PATCH", "/lists/ann/home/items/1", json!({"completed": true})),
        ("DELETE", "/lists/ann/home/items/2", Value::Null),
        ("DELETE", ITEMS, Value::Null),
        ("PATCH", "/lists/ann/home", json!({"name": "house"})),
        ("POST", "/lists/ann", json!({"name": "work"})),
        ("DELETE", "/lists/ann/house", Value::Null),
        ("DELETE", "/lists/ann", Value::Null),
    ];
    let mut ids = Vec::new();
    for (method, path, body) in changes {
        done(&app, method, path, body).await;
        let (name, id) = next(&mut events).await;
        assert_eq!(name, "change", "{method} {path}");
        assert!(ids.last() != Some(&id), "{method} {path}: {id}");
        ids.push(id);
    }
}

async fn change_by_another_process_is_an_event(url: String) {
    let (ours, theirs) = (process(&url).await, process(&url).await);
    done(&ours, "POST", "/lists/ann", json!({"name": "home"})).await;
    let mut events = follow(&ours, "").await;
    next(&mut events).await;
    done(&theirs, "POST", ITEMS, json!({"title": "milk"})).await;
    assert_eq!(next(&mut events).await.0, "change");
}

async fn caller_learns_whether_it_missed_something(url: String) {
    let app = process(&url).await;
    done(&app, "POST", "/lists/ann", json!({"name": "home"})).await;
    let (_, id) = next(&mut follow(&app, "").await).await;
    // The lists of others do not matter.
    done(&app, "POST", "/lists/bob", json!({"name": "home"})).await;
    assert_eq!(next(&mut follow(&app, &id).await).await, ("hello".to_owned(), id.clone()));
    done(&app, "POST", ITEMS, json!({"title": "milk"})).await;
    let (name, newer) = next(&mut follow(&app, &id).await).await;
    assert_eq!(name, "change");
    assert_eq!(next(&mut follow(&app, &newer).await).await.0, "hello");
}

async fn lists_name_the_event_behind_them(url: String) {
    let app = process(&url).await;
    let summaries = async |query: &str| {
        let request = request("GET", &format!("/summaries/ann{query}"));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let id = response.headers().get("last-event-id");
        id.map(|id| id.to_str().unwrap().to_owned())
    };
    let changes = [
        ("POST", "/lists/ann", json!({"name": "home"})),
        ("POST", ITEMS, json!({"title": "milk"})),
        ("POST", "/lists/ann", json!({"name": "work"})),
        ("DELETE", "/lists/ann/home", Value::Null),
    ];
    let mut last = summaries("").await.expect("an id without lists");
    for (method, path, body) in changes {
        assert_eq!(next(&mut follow(&app, &last).await).await, ("hello".to_owned(), last.clone()));
        done(&app, method, path, body).await;
        let (name, id) = next(&mut follow(&app, &last).await).await;
        assert_eq!(name, "change", "{method} {path}");
        last = summaries("").await.unwrap();
        assert_eq!(id, last, "{method} {path}");
    }
    // A part of the lists says nothing about all.
    done(&app, "POST", "/lists/ann", json!({"name": "home"})).await;
    assert_eq!(summaries("?limit=1").await, None);
}

async fn followers_are_limited_and_authorized(url: String) {
    let app = process(&url).await;
    let status = async |token: Option<&str>| {
        let mut request = request("GET", "/events/ann");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (response.status().as_u16(), response)
    };
    let token = Tokens::new(KEY).issue("bob", Duration::from_secs(60));
    assert_eq!(status(Some(&token)).await.0, 403);
    assert_eq!(status(Some("a.b.c")).await.0, 401);
    let mut open = Vec::new();
    for _ in 0..MAX_FOLLOWERS {
        open.push(follow(&app, "").await);
    }
    let (refused, response) = status(None).await;
    assert_eq!(refused, 429);
    assert_eq!(response.headers()["retry-after"], "15");
    // A follower that leaves makes room.
    open.pop();
    assert_eq!(status(None).await.0, 200);
}

fn file(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("todo.db").display())
}

postgres_cluster::on_both_databases! {
    super::file;
    every_change_is_an_event,
    change_by_another_process_is_an_event,
    caller_learns_whether_it_missed_something,
    lists_name_the_event_behind_them,
    followers_are_limited_and_authorized,
}
