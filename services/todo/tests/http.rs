//! The HTTP answers of `todo`, without a socket.

#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use kit::{Callers, Database, Limits, MAX_INTEGER, Settings, Shell};
use serde_json::{Value, json};
use todo::bodies::MAX_ITEMS;
use todo::http;
use todo::store::{MAX_LISTS, MIGRATIONS};
use tower::ServiceExt as _;

const HOME: &str = "/lists/saurabh_badhwar/home";
const ITEMS: &str = "/lists/saurabh_badhwar/home/items";

/// Pages of every origin may call.
fn callers() -> Callers {
    Callers::from_settings("todo", &Settings::from_pairs([("OPEN_OWNERS", "true")])).unwrap()
}

async fn empty(url: String) -> Router {
    let database = Database::open(&url, &MIGRATIONS).await.unwrap();
    http::app(database, Shell::new(callers(), Limits { body_bytes: 2048, ..Limits::default() }))
}

/// The original's sample data.
async fn sample(url: String) -> Router {
    let app = empty(url).await;
    let milk = ["Buy milk", "Look for pest control service", "Get a new carpet"];
    let blog = ["Complete the blogpost", "Create presentation for meeting"];
    let school = ["Complete homework", "Prepare for test"];
    for (user, list, items) in [
        ("saurabh_badhwar", "home", &milk[..]),
        ("saurabh_badhwar", "work", &blog[..]),
        ("aniket", "school", &school[..]),
    ] {
        let body = json!({"name": list, "items": items});
        let (status, _) = send(&app, "POST", &format!("/lists/{user}"), body).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    app
}

async fn ask(app: &Router, mut request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    request.headers_mut().entry("host").or_insert(HeaderValue::from_static("localhost:5001"));
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, to_bytes(body, 4 << 20).await.unwrap().to_vec())
}

async fn send(app: &Router, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(path);
    let body = if body.is_null() {
        Body::empty()
    } else {
        request = request.header("content-type", "application/json");
        Body::from(body.to_string())
    };
    let (status, headers, body) = ask(app, request.body(body).unwrap()).await;
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(headers["content-type"], "application/problem+json");
    }
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get(app: &Router, path: &str) -> (StatusCode, Value) {
    send(app, "GET", path, Value::Null).await
}

async fn original_paths_keep_their_bodies(url: String) {
    let app = sample(url).await;
    let (status, _, text) = ask(&app, Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!((status, text.as_slice()), (StatusCode::OK, &b"The todo service is up.\n"[..]));
    let (status, lists) = get(&app, "/lists").await;
    assert_eq!((status, lists), (StatusCode::OK, json!({"lists": ["home", "work", "school"]})));
    let (status, lists) = get(&app, "/lists/aniket").await;
    let expected = json!({"school": ["Complete homework", "Prepare for test"]});
    assert_eq!((status, lists), (StatusCode::OK, expected));
}

async fn lists_are_in_order_of_creation(url: String) {
    let app = sample(url).await;
    for name in ["zoo", "attic"] {
        send(&app, "POST", "/lists/aniket", json!({"name": name})).await;
    }
    let request = Request::get("/lists/aniket").body(Body::empty()).unwrap();
    let (_, _, body) = ask(&app, request).await;
    let body = String::from_utf8(body).unwrap();
    let places: Vec<_> = ["school", "zoo", "attic"].map(|name| body.find(name).unwrap()).into();
    assert!(places.is_sorted(), "{body}");
}

async fn unknown_paths_are_not_found(url: String) {
    let app = sample(url).await;
    for path in [
        "/nothing",
        "/lists/unknown",
        "/lists/aniket/nothing",
        "/lists/aniket/nothing/items",
        "/lists/aniket/school/items/999",
        "/lists/aniket/school/items/x",
        "/lists/saurabh_badhwar/school",
        "/lists/aniket%00",
        "/lists/aniket/%00/items",
    ] {
        let (status, problem) = get(&app, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(problem["status"], 404, "{path}");
    }
    let (status, _) = send(&app, "DELETE", "/lists/unknown", Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

async fn unsupported_method_names_the_supported_ones(url: String) {
    let app = empty(url).await;
    let request = Request::put("/lists").body(Body::empty()).unwrap();
    let (status, headers, _) = ask(&app, request).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers["allow"], "GET,HEAD");
    assert_eq!(headers["content-type"], "application/problem+json");
}

async fn list_is_created_renamed_and_deleted(url: String) {
    let app = sample(url).await;
    let (status, list) =
        send(&app, "POST", "/lists/luckas", json!({"name": "a/b ü", "items": ["x"]})).await;
    assert_eq!(status, StatusCode::CREATED);
    let path = "/lists/luckas/a%2Fb%20%C3%BC";
    assert_eq!(list["url"], format!("http://localhost:5001{path}"));
    assert_eq!(get(&app, path).await.1, list);
    let (status, renamed) = send(&app, "PATCH", path, json!({"name": "c"})).await;
    assert_eq!((status, &renamed["name"]), (StatusCode::OK, &json!("c")));
    assert_eq!(renamed["items"][0]["title"], "x");
    assert_eq!(get(&app, path).await.0, StatusCode::NOT_FOUND);
    let (status, _) = send(&app, "DELETE", "/lists/luckas/c", Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(get(&app, "/lists/luckas").await.0, StatusCode::NOT_FOUND);
}

async fn duplicate_list_name_is_a_conflict(url: String) {
    let app = sample(url).await;
    let again = json!({"name": "home", "items": ["other"]});
    let (status, _) = send(&app, "POST", "/lists/saurabh_badhwar", again).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _) = send(&app, "PATCH", HOME, json!({"name": "work"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _) = send(&app, "PATCH", HOME, json!({"name": "home"})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(get(&app, ITEMS).await.1.as_array().unwrap().len(), 3);
    // Another user may use the name.
    let (status, _) = send(&app, "POST", "/lists/aniket", json!({"name": "home"})).await;
    assert_eq!(status, StatusCode::CREATED);
}

async fn removing_lists_keeps_those_of_other_users(url: String) {
    let app = sample(url).await;
    let (status, _) = send(&app, "DELETE", "/lists/saurabh_badhwar", Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(get(&app, "/lists").await.1, json!({"lists": ["school"]}));
}

async fn items_are_a_todo_backend_root(url: String) {
    let app = sample(url).await;
    assert_eq!(send(&app, "DELETE", ITEMS, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(get(&app, ITEMS).await, (StatusCode::OK, json!([])));

    let (status, made) = send(&app, "POST", ITEMS, json!({"title": "a todo"})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!((&made["title"], &made["completed"]), (&json!("a todo"), &json!(false)));
    let url = made["url"].as_str().unwrap();
    let path = url.strip_prefix("http://localhost:5001").unwrap();
    assert_eq!(get(&app, path).await, (StatusCode::OK, made.clone()));
    assert_eq!(get(&app, ITEMS).await.1, json!([made]));

    let change = json!({"title": "bathe the cat", "completed": true, "order": 95});
    let (status, changed) = send(&app, "PATCH", path, change).await;
    assert_eq!(status, StatusCode::OK);
    // A client may send back what it has read.
    assert_eq!(send(&app, "PATCH", path, changed.clone()).await.0, StatusCode::OK);
    assert_eq!(changed["title"], "bathe the cat");
    assert_eq!(changed["completed"], true);
    assert_eq!(changed["order"], 95);
    assert_eq!(get(&app, ITEMS).await.1, json!([changed]));

    assert_eq!(send(&app, "DELETE", path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(get(&app, ITEMS).await.1, json!([]));
    assert_eq!(send(&app, "PATCH", path, json!({})).await.0, StatusCode::NOT_FOUND);
}

async fn items_are_ordered_and_new_ones_last(url: String) {
    let app = sample(url).await;
    for body in [json!({"title": "first", "order": -1}), json!({"title": "last"})] {
        assert_eq!(send(&app, "POST", ITEMS, body).await.0, StatusCode::CREATED);
    }
    let lists = get(&app, "/lists/saurabh_badhwar").await.1;
    let home =
        json!(["first", "Buy milk", "Look for pest control service", "Get a new carpet", "last"]);
    assert_eq!(lists["home"], home);
}

async fn wrong_fields_are_named_and_change_nothing(url: String) {
    let app = sample(url).await;
    let long = "x".repeat(501);
    for (body, field) in [
        (json!({}), "title"),
        (json!({"title": "  "}), "title"),
        (json!({"title": 5}), "title"),
        (json!({"title": long}), "title"),
        (json!({"title": "a\u{0}b"}), "title"),
        (json!({"title": "x", "completed": "yes"}), "completed"),
        (json!({"title": "x", "order": 1.5}), "order"),
        (json!({"title": "x", "order": 1e300}), "order"),
        (json!({"title": "x", "compleated": true}), "compleated"),
        (json!([]), "body"),
    ] {
        let (status, problem) = send(&app, "POST", ITEMS, body.clone()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
    assert_eq!(get(&app, ITEMS).await.1.as_array().unwrap().len(), 3);
    let (status, problem) = send(&app, "POST", "/lists/aniket", json!({"name": ".."})).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("name"))
    );
    let (status, problem) = send(&app, "POST", "/lists/%0A", json!({"name": "x"})).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("username"))
    );
}

async fn unreadable_bodies_have_distinct_statuses(url: String) {
    let app = sample(url).await;
    let large = format!("{{\"title\": \"{}\"}}", "x".repeat(4000));
    for (media, body, expected) in [
        ("application/json", "{\"title\": ", StatusCode::BAD_REQUEST),
        ("application/json", "", StatusCode::BAD_REQUEST),
        ("text/plain", "{\"title\": \"x\"}", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/json", large.as_str(), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let request = Request::post(ITEMS).header("content-type", media);
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (status, headers, _) = ask(&app, request).await;
        assert_eq!(status, expected, "{body}");
        assert_eq!(headers["content-type"], "application/problem+json");
    }
    let request = Request::get("/lists/%FF").body(Body::empty()).unwrap();
    let (status, headers, _) = ask(&app, request).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(headers["content-type"], "application/problem+json");
}

async fn cross_origin_pages_may_call(url: String) {
    let app = sample(url).await;
    let request = Request::options(ITEMS)
        .header("origin", "https://todobackend.com")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "content-type");
    let (status, headers, _) = ask(&app, request.body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(headers["access-control-allow-headers"], "content-type");
    for method in ["GET", "POST", "PATCH", "DELETE"] {
        assert!(headers["access-control-allow-methods"].to_str().unwrap().contains(method));
    }
    let request = Request::get("/lists/unknown").header("origin", "https://todobackend.com");
    let (_, headers, _) = ask(&app, request.body(Body::empty()).unwrap()).await;
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert!(!headers.contains_key("access-control-allow-credentials"));
}

/// More rows than a page, in lists that begin and end within pages.
async fn long_answers_are_complete(url: String) {
    let app = empty(url).await;
    let titles = |from: usize, count: usize| -> Vec<String> {
        (from..from + count).map(|number| format!("t{number}")).collect()
    };
    let mut expected = serde_json::Map::new();
    for (number, count) in [0, 3, 240, 0, 250, 251, 0, 700, 1].into_iter().enumerate() {
        let (name, titles) = (format!("l{number}"), titles(number, count));
        for part in titles.chunks(150) {
            let body = json!({"name": format!("{name}"), "items": part});
            let (status, _) = send(&app, "POST", "/lists/ann", body).await;
            if status == StatusCode::CREATED {
                continue;
            }
            assert_eq!(status, StatusCode::CONFLICT);
            for title in part {
                let path = format!("/lists/ann/{name}/items");
                let (status, _) = send(&app, "POST", &path, json!({"title": title})).await;
                assert_eq!(status, StatusCode::CREATED);
            }
        }
        if titles.is_empty() {
            send(&app, "POST", "/lists/ann", json!({"name": name})).await;
        }
        expected.insert(name, json!(titles));
    }
    assert_eq!(get(&app, "/lists/ann").await.1, Value::Object(expected.clone()));
    for (name, titles) in &expected {
        let title = |item: &Value| item["title"].clone();
        let of = |items: &Value| items.as_array().unwrap().iter().map(title).collect::<Value>();
        let (_, list) = get(&app, &format!("/lists/ann/{name}")).await;
        assert_eq!((&list["name"], of(&list["items"])), (&json!(name), titles.clone()));
        let (_, items) = get(&app, &format!("/lists/ann/{name}/items")).await;
        assert_eq!(of(&items), *titles, "{name}");
    }
    for number in 0..600 {
        let path = format!("/lists/{}", number % 60);
        let (status, _) = send(&app, "POST", &path, json!({"name": format!("n{number}")})).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let (_, names) = get(&app, "/lists").await;
    let names: Vec<_> = names["lists"].as_array().unwrap().iter().skip(expected.len()).collect();
    assert_eq!(names.len(), 600);
    assert_eq!((names[0], names[599]), (&json!("n0"), &json!("n599")));
}

async fn number_of_lists_and_items_is_limited(url: String) {
    let app = empty(url).await;
    for number in 0..MAX_LISTS {
        let (status, _) =
            send(&app, "POST", "/lists/ann", json!({"name": number.to_string()})).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let (status, problem) = send(&app, "POST", "/lists/ann", json!({"name": "more"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("already has 200 lists"), "{problem}");
    for number in 0..MAX_ITEMS {
        let item = json!({"title": number.to_string()});
        let (status, _) = send(&app, "POST", "/lists/ann/0/items", item).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let (status, _) = send(&app, "POST", "/lists/ann/0/items", json!({"title": "more"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

async fn default_order_stays_exact(url: String) {
    let app = sample(url).await;
    let largest = MAX_INTEGER;
    send(&app, "POST", ITEMS, json!({"title": "last", "order": largest})).await;
    for title in ["one more", "and one"] {
        let (status, item) = send(&app, "POST", ITEMS, json!({"title": title})).await;
        assert_eq!((status, &item["order"]), (StatusCode::CREATED, &json!(largest)));
    }
    let (_, items) = get(&app, ITEMS).await;
    let titles: Vec<_> = items.as_array().unwrap().iter().map(|item| &item["title"]).collect();
    assert_eq!(titles[3..], ["last", "one more", "and one"]);
}

async fn items_have_places_and_due_dates(url: String) {
    let app = sample(url).await;
    let titles = async || {
        let (_, items) = get(&app, ITEMS).await;
        let titles = items.as_array().unwrap().iter().map(|item| item["title"].clone());
        titles.map(|title| title.as_str().unwrap()[..5].to_owned()).collect::<Vec<_>>()
    };
    let (_, items) = get(&app, ITEMS).await;
    assert!(items[0].get("due").is_none(), "{items}");
    let path = |index: usize| format!("{ITEMS}/{}", items[index]["id"]);
    let change = json!({"place": 1, "due": "2026-12-31"});
    let (status, carpet) = send(&app, "PATCH", &path(2), change).await;
    assert_eq!((status, &carpet["due"]), (StatusCode::OK, &json!("2026-12-31")));
    assert_eq!(titles().await, ["Get a", "Buy m", "Look "]);
    send(&app, "PATCH", &path(2), json!({"place": 2})).await;
    assert_eq!(titles().await, ["Buy m", "Get a", "Look "]);
    let new = json!({"title": "first", "place": 1, "due": "2027-01-01"});
    let (status, first) = send(&app, "POST", ITEMS, new).await;
    assert_eq!((status, &first["due"]), (StatusCode::CREATED, &json!("2027-01-01")));
    assert_eq!(titles().await, ["first", "Buy m", "Get a", "Look "]);
    let (_, carpet) = send(&app, "PATCH", &path(2), json!({"completed": true})).await;
    assert_eq!(carpet["due"], "2026-12-31");
    let (_, carpet) = send(&app, "PATCH", &path(2), json!({"due": null})).await;
    assert!(carpet.get("due").is_none(), "{carpet}");
    let (_, summaries) = get(&app, "/summaries/saurabh_badhwar").await;
    assert_eq!(
        summaries,
        json!([
            {"name": "home", "items": 4, "open": 3, "url": format!("http://localhost:5001{HOME}")},
            {"name": "work", "items": 2, "open": 2,
                "url": "http://localhost:5001/lists/saurabh_badhwar/work"},
        ])
    );
    assert_eq!(get(&app, "/summaries/unknown").await, (StatusCode::OK, json!([])));
    for (field, value) in [("place", json!(0)), ("due", json!("2026-02-30"))] {
        let (status, problem) = send(&app, "PATCH", &path(0), json!({field: value})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["errors"][0]["field"], field);
    }
}

async fn health_document_and_request_id_are_served(url: String) {
    let app = empty(url).await;
    for path in ["/healthz", "/readyz", "/openapi.json", "/docs"] {
        assert_eq!(get(&app, path).await.0, StatusCode::OK, "{path}");
    }
    let request = Request::get("/lists").header("x-request-id", "abc").body(Body::empty());
    let (_, headers, _) = ask(&app, request.unwrap()).await;
    assert_eq!(headers["x-request-id"], "abc");
}

async fn closed_storage_is_alive_but_not_ready(url: String) {
    let database = Database::open(&url, &MIGRATIONS).await.unwrap();
    let app = http::app(database.clone(), Shell::new(callers(), Limits::default()));
    database.close().await;
    assert_eq!(get(&app, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&app, "/healthz").await.0, StatusCode::OK);
    assert_eq!(get(&app, "/lists").await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

postgres_cluster::on_both_databases! {
    |_| "sqlite::memory:".to_owned();
    original_paths_keep_their_bodies,
    lists_are_in_order_of_creation,
    unknown_paths_are_not_found,
    unsupported_method_names_the_supported_ones,
    list_is_created_renamed_and_deleted,
    duplicate_list_name_is_a_conflict,
    removing_lists_keeps_those_of_other_users,
    items_are_a_todo_backend_root,
    items_are_ordered_and_new_ones_last,
    wrong_fields_are_named_and_change_nothing,
    unreadable_bodies_have_distinct_statuses,
    cross_origin_pages_may_call,
    items_have_places_and_due_dates,
    long_answers_are_complete,
    number_of_lists_and_items_is_limited,
    default_order_stays_exact,
    health_document_and_request_id_are_served,
    closed_storage_is_alive_but_not_ready,
}
