//! Pages, entity tags and idempotency keys of `todo`.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use kit::once::MAX_KEYS;
use kit::{Callers, Database, Limits, Settings, Shell};
use serde_json::{Value, json};
use todo::http;
use todo::store::MIGRATIONS;
use tower::ServiceExt as _;

const ITEMS: &str = "/lists/ann/home/items";

type Headers<'a> = &'a [(&'a str, &'a str)];

async fn app(url: &str) -> Router {
    let database = Database::open(url, &MIGRATIONS).await.unwrap();
    let open = Settings::from_pairs([("OPEN_OWNERS", "true")]);
    let callers = Callers::from_settings("todo", &open).unwrap();
    http::app(database, Shell::new(callers, Limits::default()))
}

async fn send(
    app: &Router,
    method: &str,
    path: &str,
    headers: Headers<'_>,
    body: Value,
) -> (StatusCode, HeaderMap, Value) {
    let path = path.strip_prefix("http://localhost").unwrap_or(path);
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() {
        Body::empty()
    } else {
        request = request.header("content-type", "application/json");
        Body::from(body.to_string())
    };
    let response = app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get(app: &Router, path: &str, headers: Headers<'_>) -> (StatusCode, HeaderMap, Value) {
    send(app, "GET", path, headers, Value::Null).await
}

async fn post(app: &Router, path: &str, headers: Headers<'_>, body: Value) -> (StatusCode, Value) {
    let (status, _, body) = send(app, "POST", path, headers, body).await;
    (status, body)
}

/// The application with a list of these items.
async fn with_items(url: &str, titles: &[&str]) -> Router {
    let app = app(url).await;
    let list = json!({"name": "home", "items": titles});
    assert_eq!(post(&app, "/lists/ann", &[], list).await.0, StatusCode::CREATED);
    app
}

/// The bodies of all pages, by the links.
async fn pages(app: &Router, path: &str) -> Vec<Value> {
    let (mut path, mut found) = (path.to_owned(), Vec::new());
    loop {
        let (status, headers, body) = get(app, &path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        found.push(body);
        let Some(link) = headers.get("link") else { return found };
        let link = link.to_str().unwrap().strip_prefix('<').unwrap();
        path = link.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
}

async fn pages_contain_every_row_once(url: String) {
    let app = with_items(&url, &["a", "b", "c", "d", "e"]).await;
    for name in ["empty", "work", "zoo"] {
        let list = json!({"name": name, "items": if name == "empty" { vec![] } else { vec!["x"] }});
        assert_eq!(post(&app, "/lists/ann", &[], list).await.0, StatusCode::CREATED);
    }
    let all = get(&app, ITEMS, &[]).await.2;
    for limit in [1, 2, 5, 250] {
        let pages = pages(&app, &format!("{ITEMS}?limit={limit}")).await;
        assert_eq!(pages.len(), 5_usize.div_ceil(limit), "{limit}");
        let rows: Value = pages.iter().flat_map(|page| page.as_array().unwrap().clone()).collect();
        assert_eq!(rows, all, "{limit}");
    }
    let found = pages(&app, "/lists?limit=3").await;
    assert_eq!(found, [json!({"lists": ["home", "empty", "work"]}), json!({"lists": ["zoo"]})]);
    let found = pages(&app, "/lists/ann?limit=2").await;
    let first = json!({"home": ["a", "b", "c", "d", "e"], "empty": []});
    assert_eq!(found, [first, json!({"work": ["x"], "zoo": ["x"]})]);
    let found = pages(&app, "/summaries/ann?limit=3").await;
    let names = |page: &Value| {
        page.as_array().unwrap().iter().map(|row| row["name"].clone()).collect::<Value>()
    };
    let names: Vec<_> = found.iter().map(names).collect();
    assert_eq!(names, [json!(["home", "empty", "work"]), json!(["zoo"])]);
}

async fn rows_behind_a_page_stay_in_order(url: String) {
    let app = with_items(&url, &["a", "b", "c"]).await;
    let (_, headers, page) = get(&app, &format!("{ITEMS}?limit=2"), &[]).await;
    let next = headers["link"].to_str().unwrap()[1..].split('>').next().unwrap().to_owned();
    // The last row that was read is removed, and another is added.
    let (status, _, _) =
        send(&app, "DELETE", page[1]["url"].as_str().unwrap(), &[], Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    post(&app, ITEMS, &[], json!({"title": "d"})).await;
    let (_, headers, page) = get(&app, &next, &[]).await;
    assert_eq!((&page[0]["title"], &page[1]["title"]), (&json!("c"), &json!("d")));
    assert!(!headers.contains_key("link"));
}

async fn invalid_pages_are_malformed_requests(url: String) {
    let app = with_items(&url, &["a"]).await;
    for path in [ITEMS, "/lists", "/lists/ann", "/summaries/ann"] {
        for query in ["limit=0", "limit=251", "limit=-1", "cursor=x", "limit=1&cursor=x"] {
            let (status, headers, problem) = get(&app, &format!("{path}?{query}"), &[]).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}?{query}: {problem}");
            assert_eq!(headers["content-type"], "application/problem+json");
        }
    }
}

async fn known_state_is_not_sent_again(url: String) {
    let app = with_items(&url, &["a"]).await;
    let (status, headers, item) = send(&app, "POST", ITEMS, &[], json!({"title": "b"})).await;
    assert_eq!(status, StatusCode::CREATED);
    let path = item["url"].as_str().unwrap();
    let created = headers["etag"].to_str().unwrap().to_owned();
    for path in [path, ITEMS, "/lists/ann/home", "/lists/ann", "/summaries/ann", "/lists"] {
        let (_, headers, _) = get(&app, path, &[]).await;
        let tag = headers["etag"].to_str().unwrap().to_owned();
        let (status, headers, body) = get(&app, path, &[("if-none-match", &tag)]).await;
        assert_eq!((status, body), (StatusCode::NOT_MODIFIED, Value::Null), "{path}");
        assert_eq!(headers["etag"], tag.as_str());
        let (status, _, _) = get(&app, path, &[("if-none-match", "\"other\"")]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
    let (_, headers, _) = get(&app, path, &[]).await;
    assert_eq!(headers["etag"], created.as_str());
    send(&app, "PATCH", path, &[], json!({"completed": true})).await;
    let (status, _, _) = get(&app, path, &[("if-none-match", &created)]).await;
    assert_eq!(status, StatusCode::OK);
}

async fn lost_update_is_refused(url: String) {
    let app = with_items(&url, &[]).await;
    let (_, headers, item) = send(&app, "POST", ITEMS, &[], json!({"title": "a"})).await;
    let (path, old) = (item["url"].as_str().unwrap(), headers["etag"].to_str().unwrap());
    let change = |title: &str| json!({"title": title});
    let (status, headers, _) = send(&app, "PATCH", path, &[("if-match", old)], change("b")).await;
    assert_eq!(status, StatusCode::OK);
    let new = headers["etag"].to_str().unwrap();
    let (status, headers, _) = send(&app, "PATCH", path, &[("if-match", old)], change("c")).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(headers["content-type"], "application/problem+json");
    let (status, _, _) = send(&app, "DELETE", path, &[("if-match", old)], Value::Null).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(get(&app, path, &[]).await.2["title"], "b");
    let (status, _, _) = send(&app, "DELETE", path, &[("if-match", new)], Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _, _) = send(&app, "PATCH", path, &[("if-match", "*")], change("d")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

async fn repeated_creation_takes_effect_once(url: String) {
    let app = with_items(&url, &[]).await;
    let key = [("idempotency-key", "k1")];
    let new = json!({"title": "a", "order": 5});
    let (status, first) = post(&app, ITEMS, &key, new.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(post(&app, ITEMS, &key, new.clone()).await, (StatusCode::CREATED, first.clone()));
    assert_eq!(get(&app, ITEMS, &[]).await.2, json!([first]));
    // Another body or another path is another request.
    let (status, problem) = post(&app, ITEMS, &key, json!({"title": "b"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    let list = json!({"name": "work", "items": ["x"]});
    assert_eq!(
        post(&app, "/lists/ann", &key, list.clone()).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    // Another owner has other keys.
    let (status, made) = post(&app, "/lists/bob", &key, list.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(post(&app, "/lists/bob", &key, list.clone()).await, (StatusCode::CREATED, made));
    let (status, _) = post(&app, "/lists/bob", &[], list).await;
    assert_eq!(status, StatusCode::CONFLICT);
    // The first answer stays, although the item is gone.
    send(&app, "DELETE", first["url"].as_str().unwrap(), &[], Value::Null).await;
    assert_eq!(post(&app, ITEMS, &key, new).await, (StatusCode::CREATED, first));
    assert_eq!(get(&app, ITEMS, &[]).await.2, json!([]));
}

async fn failed_creation_may_succeed_later(url: String) {
    let app = app(&url).await;
    let key = [("idempotency-key", "k1")];
    let new = json!({"title": "a"});
    assert_eq!(post(&app, ITEMS, &key, new.clone()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(post(&app, "/lists/ann", &[], json!({"name": "home"})).await.0, StatusCode::CREATED);
    assert_eq!(post(&app, ITEMS, &key, new).await.0, StatusCode::CREATED);
    for wrong in ["", "ü", &"x".repeat(256)] {
        let answer = post(&app, ITEMS, &[("idempotency-key", wrong)], json!({"title": "a"})).await;
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

async fn number_of_keys_is_limited(url: String) {
    let app = with_items(&url, &[]).await;
    let make = async |number: i64| {
        let key = number.to_string();
        post(&app, ITEMS, &[("idempotency-key", &key)], json!({"title": "a"})).await.1["id"].clone()
    };
    let first = make(0).await;
    let second = make(1).await;
    for number in 2..=MAX_KEYS {
        make(number).await;
    }
    // The oldest key is forgotten, the next one is not.
    assert_eq!(make(1).await, second);
    assert_ne!(make(0).await, first);
}

async fn concurrent_repetitions_create_one_item(url: String) {
    let app = with_items(&url, &[]).await;
    let repeat = || {
        let app = app.clone();
        let key = [("idempotency-key", "same")];
        tokio::spawn(async move { post(&app, ITEMS, &key, json!({"title": "a"})).await })
    };
    let repeated: Vec<_> = (0..8).map(|_| repeat()).collect();
    for answer in repeated {
        assert_eq!(answer.await.unwrap().0, StatusCode::CREATED);
    }
    assert_eq!(get(&app, ITEMS, &[]).await.2.as_array().unwrap().len(), 1);
}

postgres_cluster::on_both_databases! {
    |_| "sqlite::memory:".to_owned();
    pages_contain_every_row_once,
    rows_behind_a_page_stay_in_order,
    invalid_pages_are_malformed_requests,
    known_state_is_not_sent_again,
    lost_update_is_refused,
    repeated_creation_takes_effect_once,
    failed_creation_may_succeed_later,
    number_of_keys_is_limited,
    concurrent_repetitions_create_one_item,
}
