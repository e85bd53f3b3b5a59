//! The HTTP answers of `users`, without a socket, with a fake `todo`.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use kit::client::Timeouts;
use kit::{Callers, Client, Database, Limits, Settings, Shell};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use users::http;
use users::store::MIGRATIONS;
use users::todo::Todo;

const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_millis(300), answer: Duration::from_millis(300) };

async fn app_with_todo(url: &str, todo: &str) -> Router {
    let database = Database::open(url, &MIGRATIONS).await.unwrap();
    let todo = Todo::new(Client::new("TODO_URL", todo, TIMEOUTS).unwrap());
    let callers = Callers::from_settings("users", &Settings::from_pairs([("ALLOWED_HOSTS", "h")]));
    let app = http::app(database, todo, Shell::new(callers.unwrap(), Limits::default()));
    for (username, id, name, verified) in [
        ("saurabh_badhwar", 1, "Saurabh Badhwar", 1),
        ("aniket", 2, "Aniket Sharma", 1),
        ("luckas", 4, "Luckas Friendel", 0),
    ] {
        let body = json!({"username": username, "id": id, "name": name, "verified": verified});
        let (status, _, _) = send(&app, "POST", "/users", body).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    app
}

/// The application with an unreachable `todo`: its port was free a moment ago.
async fn app(url: &str) -> Router {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    app_with_todo(url, &format!("http://127.0.0.1:{port}")).await
}

async fn send(
    app: &Router,
    method: &str,
    path: &str,
    body: Value,
) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::builder().method(method).uri(path).header("host", "h:5000");
    request = request.header("x-request-id", "the-id");
    let body = if body.is_null() {
        Body::empty()
    } else {
        request = request.header("content-type", "application/json");
        Body::from(body.to_string())
    };
    let response = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    if parts.status.as_u16() >= 400 {
        assert_eq!(parts.headers["content-type"], "application/problem+json", "{method} {path}");
    }
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get(app: &Router, path: &str) -> (StatusCode, Value) {
    let (status, _, body) = send(app, "GET", path, Value::Null).await;
    (status, body)
}

/// A fake `todo` that sends these answers, each on a new connection, which it closes without
/// `Connection: close`. `None` closes without an answer. The channel receives the requests.
fn fake_todo(answers: Vec<Option<&'static str>>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            sender.send(read_head(&mut stream)).ok();
            if let Some(answer) = answer {
                stream.write_all(answer.as_bytes()).ok();
            }
        }
    });
    (format!("http://{address}"), requests)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).to_ascii_lowercase()
}

const LISTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 19\r\n\r\n{\"school\":[\"Test\"]}";
const LISTS_BODY: &str = "{\"school\":[\"Test\"]}";

async fn original_paths_keep_their_bodies(url: String) {
    let app = app(&url).await;
    let (status, users) = get(&app, "/users").await;
    assert_eq!(status, StatusCode::OK);
    let expected = r#"{"aniket":{"id":2,"name":"Aniket Sharma","verified":1},"luckas":{"id":4,"name":"Luckas Friendel","verified":0},"saurabh_badhwar":{"id":1,"name":"Saurabh Badhwar","verified":1}}"#;
    assert_eq!(users.to_string(), expected);
    let (status, user) = get(&app, "/users/luckas").await;
    let luckas = json!({"id": 4, "name": "Luckas Friendel", "verified": 0});
    assert_eq!((status, user), (StatusCode::OK, luckas));
    let (status, _) = get(&app, "/users/unknown").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(get(&app, "/").await.0, StatusCode::OK);
}

async fn keys_are_sorted_in_the_text(url: String) {
    let app = app(&url).await;
    let request = Request::get("/users").header("host", "localhost").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let places = ["aniket", "luckas", "saurabh_badhwar"].map(|name| body.find(name).unwrap());
    assert!(places.is_sorted(), "{body}");
}

async fn user_is_created_with_a_number_and_changed(url: String) {
    let app = app(&url).await;
    let new = json!({"username": "ann b", "name": "Ann"});
    let (status, headers, user) = send(&app, "POST", "/users", new.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(user, json!({"id": 5, "name": "Ann", "verified": 0}));
    assert_eq!(headers["location"], "http://h:5000/users/ann%20b");
    let change = json!({"verified": true});
    let (status, _, user) = send(&app, "PATCH", "/users/ann%20b", change).await;
    let changed = json!({"id": 5, "name": "Ann", "verified": 1});
    assert_eq!((status, &user), (StatusCode::OK, &changed));
    assert_eq!(get(&app, "/users/ann%20b").await.1, changed);
    let (status, _, _) = send(&app, "POST", "/users", new).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let same_id = json!({"username": "other", "name": "Other", "id": 5});
    let (status, _, _) = send(&app, "POST", "/users", same_id).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _, _) = send(&app, "PATCH", "/users/unknown", json!({"name": "x"})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

async fn wrong_fields_are_named(url: String) {
    let app = app(&url).await;
    for (method, path, body, field) in [
        ("POST", "/users", json!({"name": "x"}), "username"),
        ("POST", "/users", json!({"username": "x"}), "name"),
        ("POST", "/users", json!({"username": "..", "name": "x"}), "username"),
        ("POST", "/users", json!({"username": "x", "name": "x", "id": 0}), "id"),
        ("POST", "/users", json!({"username": "x", "name": "x", "verified": 2}), "verified"),
        ("PATCH", "/users/aniket", json!({"name": ""}), "name"),
        ("PATCH", "/users/aniket", json!({"username": "y"}), "username"),
    ] {
        let (status, _, problem) = send(&app, method, path, body.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
}

async fn lists_and_request_id_are_forwarded(url: String) {
    let (todo, requests) = fake_todo(vec![Some(LISTS)]);
    let app = app_with_todo(&url, &todo).await;
    let answer = get(&app, "/users/aniket/lists").await;
    assert_eq!(answer, (StatusCode::OK, serde_json::from_str(LISTS_BODY).unwrap()));
    let request = requests.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(request.starts_with("get /lists/aniket http/1.1"), "{request}");
    assert!(request.contains("x-request-id: the-id"), "{request}");
    assert!(request.contains("traceparent: 00-"), "{request}");
}

async fn user_without_lists_has_an_empty_object(url: String) {
    let not_found = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let (todo, _requests) = fake_todo(vec![Some(not_found)]);
    let app = app_with_todo(&url, &todo).await;
    assert_eq!(get(&app, "/users/luckas/lists").await, (StatusCode::OK, json!({})));
    assert_eq!(get(&app, "/users/unknown/lists").await.0, StatusCode::NOT_FOUND);
}

async fn closed_connection_is_replaced(url: String) {
    let (todo, requests) = fake_todo(vec![None, Some(LISTS)]);
    let app = app_with_todo(&url, &todo).await;
    assert_eq!(get(&app, "/users/aniket/lists").await.0, StatusCode::OK);
    assert_eq!(requests.iter().count(), 2);
}

async fn connection_is_replaced_only_once(url: String) {
    let (todo, requests) = fake_todo(vec![None, None, Some(LISTS)]);
    let app = app_with_todo(&url, &todo).await;
    assert_eq!(get(&app, "/users/aniket/lists").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(requests.try_iter().count(), 2);
}

async fn unreachable_todo_is_unavailable_with_retry_after(url: String) {
    let app = app(&url).await;
    let (status, headers, problem) = send(&app, "GET", "/users/aniket/lists", Value::Null).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["retry-after"], "2");
    assert_eq!(problem["detail"], "the service `todo` is not available");
    // The rest of the service does not need it.
    assert_eq!(get(&app, "/readyz").await.0, StatusCode::OK);
}

async fn silent_todo_is_unavailable_in_time(url: String) {
    // The system's queue accepts the connection; no program reads it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let app = app_with_todo(&url, &format!("http://{}", silent.local_addr().unwrap())).await;
    let begin = Instant::now();
    assert_eq!(get(&app, "/users/aniket/lists").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

async fn failing_todo_is_a_bad_gateway(url: String) {
    let failure = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    let (todo, _requests) = fake_todo(vec![Some(failure)]);
    let app = app_with_todo(&url, &todo).await;
    assert_eq!(get(&app, "/users/aniket/lists").await.0, StatusCode::BAD_GATEWAY);
}

async fn user_is_removed_with_lists_unless_todo_is_down(url: String) {
    let (todo, requests) = fake_todo(vec![Some("HTTP/1.1 204 No Content\r\n\r\n")]);
    let app = app_with_todo(&url, &todo).await;
    let (status, _, _) = send(&app, "DELETE", "/users/aniket", Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(requests.recv().unwrap().starts_with("delete /lists/aniket "));
    assert_eq!(get(&app, "/users/aniket").await.0, StatusCode::NOT_FOUND);
    let (status, _, _) = send(&app, "DELETE", "/users/aniket", Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // The fake `todo` has closed its socket.
    let (status, _, _) = send(&app, "DELETE", "/users/luckas", Value::Null).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&app, "/users/luckas").await.0, StatusCode::OK);
}

postgres_cluster::on_both_databases! {
    |_| "sqlite::memory:".to_owned();
    original_paths_keep_their_bodies,
    keys_are_sorted_in_the_text,
    user_is_created_with_a_number_and_changed,
    wrong_fields_are_named,
    lists_and_request_id_are_forwarded,
    user_without_lists_has_an_empty_object,
    closed_connection_is_replaced,
    connection_is_replaced_only_once,
    unreachable_todo_is_unavailable_with_retry_after,
    silent_todo_is_unavailable_in_time,
    failing_todo_is_a_bad_gateway,
    user_is_removed_with_lists_unless_todo_is_down,
}
