//! The HTTP answers of `users`, without a socket, with a fake `todo`.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use kit::auth::Tokens;
use kit::client::Timeouts;
use kit::{Callers, Client, Database, Limits, Settings, Shell};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use users::accounts::{ATTEMPT_TIME, MAX_ATTEMPTS};
use users::http;
use users::store::MIGRATIONS;
use users::todo::Todo;

const KEY: &str = "the key of these tests, which is long";

const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_millis(300), answer: Duration::from_millis(300) };

async fn app_with_todo(url: &str, todo: &str) -> Router {
    let database = Database::open(url, &MIGRATIONS).await.unwrap();
    let todo = Todo::new(Client::new("TODO_URL", todo, TIMEOUTS).unwrap());
    let callers = Callers::from_settings(
        "users",
        &Settings::from_pairs([("ALLOWED_HOSTS", "h"), ("OPEN_OWNERS", "true")]),
    );
    let app = http::app(
        database,
        todo,
        Tokens::new(KEY),
        Shell::new(callers.unwrap(), Limits::default()),
    );
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
    send_as(app, None, method, path, body).await
}

/// Sends a request with a token or the secret of a session.
async fn send_as(
    app: &Router,
    secret: Option<&str>,
    method: &str,
    path: &str,
    body: Value,
) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::builder().method(method).uri(path).header("host", "h:5000");
    if let Some(secret) = secret {
        request = request.header("authorization", format!("Bearer {secret}"));
    }
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
        ("POST", "/accounts", json!({"username": "x"}), "password"),
        ("POST", "/accounts", json!({"username": "x", "password": "short"}), "password"),
        (
            "POST",
            "/sessions",
            json!({"username": "x", "passwort": "y", "password": "y"}),
            "passwort",
        ),
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

async fn lists_that_the_caller_knows_are_not_sent(url: String) {
    let tagged = "HTTP/1.1 200 OK\r\netag: \"of lists\"\r\ncontent-length: 2\r\n\r\n{}";
    let not_found = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let answers = [tagged, tagged, not_found, not_found].map(Some);
    let (todo, _requests) = fake_todo(answers.to_vec());
    let app = app_with_todo(&url, &todo).await;
    let path = "/users/luckas/lists";
    for _ in 0..2 {
        let (status, headers, _) = send(&app, "GET", path, Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        let again = Request::get(path).header("host", "h:5000");
        let again = again.header("if-none-match", &headers["etag"]).body(Body::empty()).unwrap();
        let answer = app.clone().oneshot(again).await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    }
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

async fn session_gives_a_token_until_sign_out(url: String) {
    let app = app(&url).await;
    let new = json!({"username": "ann", "name": "Ann", "password": "correct horse"});
    let (status, _, first) = send(&app, "POST", "/accounts", new.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    let sign_in = json!({"username": "ann", "password": "correct horse"});
    let (status, _, second) = send(&app, "POST", "/sessions", sign_in).await;
    assert_eq!((status, &second["name"]), (StatusCode::CREATED, &json!("Ann")));
    assert_ne!(first["session"], second["session"]);
    let session = async |made: &Value, method: &str| {
        let secret = made["session"].as_str().unwrap();
        send_as(&app, Some(secret), method, "/session", Value::Null).await
    };
    let (status, _, body) = session(&first, "GET").await;
    assert_eq!((status, &body["username"]), (StatusCode::OK, &json!("ann")));
    let token = body["token"].as_str().unwrap();
    assert_eq!(Tokens::new(KEY).verify(token).as_deref(), Some("ann"));
    for _ in 0..2 {
        assert_eq!(session(&first, "DELETE").await.0, StatusCode::NO_CONTENT);
    }
    assert_eq!(session(&first, "GET").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(session(&second, "GET").await.0, StatusCode::OK);
    let (status, headers, _) = send(&app, "GET", "/session", Value::Null).await;
    assert_eq!(
        (status, &headers["www-authenticate"]),
        (StatusCode::UNAUTHORIZED, &"Bearer".parse().unwrap())
    );
    // Neither an account nor a person without one is replaced.
    for username in ["ann", "luckas"] {
        let again = json!({"username": username, "password": "another one"});
        assert_eq!(send(&app, "POST", "/accounts", again).await.0, StatusCode::CONFLICT);
    }
}

async fn attempts_to_sign_in_are_limited(url: String) {
    let app = app(&url).await;
    let new = json!({"username": "ann", "password": "correct horse"});
    assert_eq!(send(&app, "POST", "/accounts", new.clone()).await.0, StatusCode::CREATED);
    let wrong = json!({"username": "ann", "password": "wrong"});
    for number in 0..MAX_ATTEMPTS + 1 {
        let (status, _, problem) = send(&app, "POST", "/sessions", wrong.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(problem["detail"], "the username or the password is wrong");
        // A correct password forgets the attempts before.
        if number == 0 {
            assert_eq!(send(&app, "POST", "/sessions", new.clone()).await.0, StatusCode::CREATED);
        }
    }
    // Now the correct one is refused, too.
    let (status, headers, _) = send(&app, "POST", "/sessions", new).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=ATTEMPT_TIME.as_secs()).contains(&wait), "{wait}");
    // Others are not affected, and a name without an account gets the same answer.
    let other = json!({"username": "stranger", "password": "x"});
    let (status, _, problem) = send(&app, "POST", "/sessions", other).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(problem["detail"], "the username or the password is wrong");
}

async fn account_is_changed_only_by_its_person(url: String) {
    let (todo, requests) = fake_todo(vec![Some(LISTS), Some("HTTP/1.1 204 No Content\r\n\r\n")]);
    let app = app_with_todo(&url, &todo).await;
    let new = json!({"username": "ann", "password": "correct horse"});
    let (_, _, made) = send(&app, "POST", "/accounts", new).await;
    let tokens = Tokens::new(KEY);
    let minute = Duration::from_secs(60);
    let (ann, bob) = (tokens.issue("ann", minute), tokens.issue("bob", minute));
    for (method, path, body) in [
        ("PATCH", "/users/ann", json!({"name": "x"})),
        ("GET", "/users/ann/lists", Value::Null),
        ("DELETE", "/users/ann", Value::Null),
    ] {
        for (secret, expected) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some("a.b.c"), StatusCode::UNAUTHORIZED),
            (Some(&*bob), StatusCode::FORBIDDEN),
        ] {
            let (status, _, _) = send_as(&app, secret, method, path, body.clone()).await;
            assert_eq!(status, expected, "{method} {path} {secret:?}");
        }
        let (status, _, _) = send_as(&app, Some(&ann), method, path, body).await;
        assert!(status.is_success(), "{method} {path}: {status}");
    }
    let forwarded = format!("authorization: bearer {}", ann.to_ascii_lowercase());
    for request in requests.try_iter() {
        assert!(request.contains(&forwarded), "{request}");
    }
    // The sessions end with the person.
    let secret = made["session"].as_str();
    let (status, _, _) = send_as(&app, secret, "GET", "/session", Value::Null).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

async fn pages_tags_and_keys_are_served(url: String) {
    let app = app(&url).await;
    let ask = async |method: &str, path: &str, header: (&str, &str), body: Value| {
        let mut request = Request::builder().method(method).uri(path).header("host", "h:5000");
        request = request.header("content-type", "application/json").header(header.0, header.1);
        let response = app.clone().oneshot(request.body(Body::from(body.to_string())).unwrap());
        let (parts, body) = response.await.unwrap().into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    };
    let (_, headers, page) = send(&app, "GET", "/users?limit=2", Value::Null).await;
    assert_eq!(page.as_object().unwrap().keys().collect::<Vec<_>>(), ["aniket", "luckas"]);
    let next = headers["link"].to_str().unwrap()["<http://h:5000".len()..].split('>').next();
    let (_, headers, page) = send(&app, "GET", next.unwrap(), Value::Null).await;
    assert_eq!(page.as_object().unwrap().keys().collect::<Vec<_>>(), ["saurabh_badhwar"]);
    assert!(!headers.contains_key("link"));
    assert_eq!(get(&app, "/users?limit=0").await.0, StatusCode::BAD_REQUEST);

    let (_, headers, _) = send(&app, "GET", "/users/luckas", Value::Null).await;
    let old = headers["etag"].to_str().unwrap();
    let known = ask("GET", "/users/luckas", ("if-none-match", old), Value::Null).await;
    assert_eq!(known.0, StatusCode::NOT_MODIFIED);
    let change = json!({"name": "L"});
    let changed = ask("PATCH", "/users/luckas", ("if-match", old), change.clone()).await;
    assert_eq!(changed.0, StatusCode::OK);
    for (method, body) in [("PATCH", change), ("DELETE", Value::Null)] {
        let refused = ask(method, "/users/luckas", ("if-match", old), body).await;
        assert_eq!(refused.0, StatusCode::PRECONDITION_FAILED, "{method}");
    }

    let key = ("idempotency-key", "k");
    let new = json!({"username": "ann", "name": "Ann"});
    let first = ask("POST", "/users", key, new.clone()).await;
    let second = ask("POST", "/users", key, new).await;
    assert_eq!((first.0, &first.2), (StatusCode::CREATED, &second.2));
    assert_eq!(second.0, StatusCode::CREATED);
    let other = ask("POST", "/users", key, json!({"username": "bob", "name": "Bob"})).await;
    assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY);
}

postgres_cluster::on_both_databases! {
    |_| "sqlite::memory:".to_owned();
    original_paths_keep_their_bodies,
    keys_are_sorted_in_the_text,
    user_is_created_with_a_number_and_changed,
    wrong_fields_are_named,
    lists_and_request_id_are_forwarded,
    user_without_lists_has_an_empty_object,
    lists_that_the_caller_knows_are_not_sent,
    closed_connection_is_replaced,
    connection_is_replaced_only_once,
    unreachable_todo_is_unavailable_with_retry_after,
    silent_todo_is_unavailable_in_time,
    failing_todo_is_a_bad_gateway,
    user_is_removed_with_lists_unless_todo_is_down,
    session_gives_a_token_until_sign_out,
    attempts_to_sign_in_are_limited,
    account_is_changed_only_by_its_person,
    pages_tags_and_keys_are_served,
}
