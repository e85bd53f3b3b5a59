//! Requests that no page makes: each route answers them as documented, and keeps working.
//!
//! The requests are those that a fuzzer generates. The generator starts with the same number in
//! each run, so a failure is repeatable.

#![allow(clippy::unwrap_used)]

mod site;

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, SET_COOKIE};
use axum::http::request::Builder;
use axum::response::Response;
use kit::openapi::status_of;
use tower::ServiceExt as _;
use web::http::paths;

use site::{Site, page_with};

/// Requests to each route.
const ROUNDS: usize = 150;

const FORM: &[u8] = b"application/x-www-form-urlencoded";
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"];
const MEDIA: [&[u8]; 6] = [
    b"application/x-www-form-urlencoded; charset=\"\xff\"",
    b"application/json",
    b"multipart/form-data; boundary=x",
    b"application/x-www-form-urlencoded, text/plain",
    b"\xff",
    b"",
];
const SEGMENTS: [&str; 14] = [
    "%FF",
    "%00",
    "%0D%0ASet-Cookie:%20a=b",
    "..",
    "%2E%2e",
    ".",
    "%2F",
    "%25FF",
    "%zz",
    "-1",
    "18446744073709551616",
    "1e999",
    "%E2%80%AE%F0%9F%98%80",
    "'%20OR%201=1--",
];
const QUERIES: [&str; 7] = [
    "show=%FF&show=open&show=%00",
    "edit=99999999999999999999",
    "edit=-1&edit=x",
    "after=%0D%0Aa:%20b",
    "after=%FF%00",
    "&&==&%",
    "limit=0",
];
const FIELDS: [(&str, &str); 7] = [
    ("title", "milk"),
    ("due", "2030-01-02"),
    ("place", "1"),
    ("completed", "true"),
    ("name", "home"),
    ("username", "ann"),
    ("password", "correct+horse"),
];
const VALUES: [&[u8]; 12] = [
    b"",
    b"+",
    b"%00",
    b"a%00b",
    b"%FF%FE",
    b"\xff\xfe",
    b"%zz%",
    b"..",
    b"99999999999999999999",
    b"-1e999",
    b"2026-02-30",
    b"%E2%80%AE%0D%0A",
];
const COOKIES: [&[u8]; 6] = [
    b"session=unknown",
    b"session=a; session=b; session",
    b"session=\xff\xfe",
    b"session=%00\t\"",
    b"visit=; session=; =; ;;",
    b"visit=x",
];

/// Numbers that are the same in each run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn is_one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// One of `from`, or sometimes `letter` so often that no limit allows it.
    fn bytes(&mut self, from: &[&[u8]], letter: u8) -> Vec<u8> {
        if self.is_one_in(from.len()) { vec![letter; 100_000] } else { self.pick(from).to_vec() }
    }
}

/// The path of a route with parameters that no page has, or with those of an item.
fn target(random: &mut Random, path: &str, item: &str) -> String {
    let segments = path.split('/').map(|segment| match segment {
        "{list}" if !random.is_one_in(3) => "home".to_owned(),
        "{id}" if !random.is_one_in(3) => item.to_owned(),
        name if name.starts_with('{') && random.is_one_in(SEGMENTS.len()) => "{".repeat(50_000),
        name if name.starts_with('{') => random.pick(&SEGMENTS).to_owned(),
        fixed => fixed.to_owned(),
    });
    let path = segments.collect::<Vec<_>>().join("/");
    if random.is_one_in(4) { format!("{path}?{}", random.pick(&QUERIES)) } else { path }
}

/// Fields that are absent, valid, strange or repeated, and mostly the proof of our own page.
fn fields(random: &mut Random, proof: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, valid) in FIELDS {
        let values = match random.below(4) {
            0 => vec![],
            1 => vec![valid.as_bytes().to_vec()],
            2 => vec![random.bytes(&VALUES, 1)],
            _ => vec![random.bytes(&VALUES, b'"'), random.bytes(&VALUES, b'x')],
        };
        fields.extend(values.into_iter().map(|value| [name.as_bytes(), b"=", &value].concat()));
    }
    if !random.is_one_in(8) {
        fields.push(format!("proof={proof}").into_bytes());
    }
    fields.join(&b'&')
}

fn request(random: &mut Random, path: &str, item: &str, site: &Site) -> Request<Body> {
    let method = if random.is_one_in(2) { "POST" } else { random.pick(&METHODS) };
    let mut request = Request::builder().method(method).uri(target(random, path, item));
    request = match random.below(16) {
        0 => request,
        1 => request.header("host", "evil.example"),
        2 => request.header("host", "localhost").header("origin", "null"),
        3 => request.header("host", "localhost").header("last-event-id", &b"\xff, 1-2"[..]),
        _ => request.header("host", "localhost"),
    };
    let cookies = match random.below(4) {
        0 => random.bytes(&COOKIES, b'a'),
        1 => [&b"session="[..], &random.bytes(&COOKIES, b'a')].concat(),
        _ => site.cookies.clone().into_bytes(),
    };
    request = request.header("cookie", cookies);
    let media = if random.is_one_in(6) { random.pick(&MEDIA) } else { FORM };
    request = request.header("content-type", media);
    let body = match random.below(12) {
        0 => vec![b'x'; 300_000],
        1 => random.bytes(&VALUES, b'&'),
        2 => b"{\"title\": 1}".to_vec(),
        _ => fields(random, &site.proof),
    };
    request.body(Body::from(body)).unwrap()
}

/// Checks what holds for all answers, and returns the status and what the error is, if it is one.
async fn checked(response: Response) -> Option<(u16, &'static str)> {
    let (status, headers) = (response.status(), response.headers().clone());
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "same-origin");
    for cookie in headers.get_all(SET_COOKIE) {
        assert!(cookie.to_str().unwrap().contains("; HttpOnly; SameSite=Lax"), "{cookie:?}");
    }
    assert!(status != 405 || headers.contains_key(ALLOW), "{headers:?}");
    if status == 303 {
        let location = headers[LOCATION].to_str().unwrap();
        assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
    }
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let is_page = headers[CONTENT_TYPE] == "text/html; charset=utf-8";
    if !is_page {
        return Some((status_of(response).await, "problem"));
    }
    assert_eq!(headers.contains_key(RETRY_AFTER), status == 503);
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    let body = to_bytes(response.into_body(), 4 << 20).await.unwrap();
    let page = String::from_utf8(body.to_vec()).unwrap();
    let has_way_on = ["href=\"/", "<form"].iter().any(|way| page.contains(way));
    assert!(page.starts_with("<!DOCTYPE html>") && has_way_on, "{page}");
    Some((status.as_u16(), "page"))
}

/// Sends a request, and returns its error. That of an answer to HEAD has no body to check.
async fn send(site: &Site, request: Request<Body>) -> Option<(u16, &'static str)> {
    let is_head = request.method() == "HEAD";
    let response = site.app.clone().oneshot(request).await.unwrap();
    if is_head {
        assert!(response.status().as_u16() < 500);
        return None;
    }
    checked(response).await
}

/// The errors in the documentation of the page.
fn documented() -> BTreeSet<(u16, &'static str)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/services.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text.split_once("\n### Errors of the page\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let status = cells.next()?.parse().ok()?;
        let format =
            ["page", "problem"].into_iter().find(|name| cells.clone().next() == Some(name));
        Some((status, format?))
    });
    rows.collect()
}

/// A request with the session, and without a host.
fn start(site: &Site, method: &str, path: &str) -> Builder {
    let request = Request::builder().method(method).uri(path).header("cookie", &site.cookies);
    request.header("content-type", FORM)
}

/// A request without a mistake, but for its body.
fn own(site: &Site, method: &str, path: &str) -> Builder {
    start(site, method, path).header("host", "localhost")
}

#[tokio::test]
async fn every_route_withstands_hostile_requests() {
    let mut site = Site::with_list().await;
    let mut random = Random(1);
    let (expected, mut findings) = (documented(), BTreeMap::new());
    let paths = paths().chain(["/healthz", "/readyz", "/metrics"]);
    for (index, path) in paths.enumerate() {
        // The requests before may have removed the list, or ended the session.
        site.sign_up_as(&format!("person-{index}")).await;
        site.post("/lists/home/items", "title=milk").await;
        let item = site.id("milk").await;
        for _ in 0..ROUNDS {
            let request = request(&mut random, path, &item, &site);
            let shown: String = format!("{request:?}").chars().take(600).collect();
            if let Some(error) = send(&site, request).await
                && (error.0 >= 500 || !expected.contains(&error))
            {
                findings.entry((path, error)).or_insert(shown);
            }
        }
    }
    assert_eq!(findings, BTreeMap::new());
    site.sign_up_as("bob").await;
    site.post("/lists/home/items", "title=tea").await;
    assert_eq!(site.titles().await, ["tea"]);
}

#[tokio::test]
async fn wrong_method_is_answered_with_the_right_ones() {
    let site = Site::start().await;
    for path in paths().filter(|path| *path != "/{*path}") {
        let path = path.replace("{list}", "home").replace("{id}", "1").replace("{name}", "x");
        for method in METHODS {
            let request = own(&site, method, &path).body(Body::empty()).unwrap();
            let response = site.app.clone().oneshot(request).await.unwrap();
            if response.status() == 405 {
                let allowed = response.headers()[ALLOW].to_str().unwrap().to_owned();
                let known = ["GET,HEAD", "GET,HEAD,POST", "POST"].contains(&&*allowed);
                assert!(known && !allowed.split(',').any(|other| other == method), "{allowed}");
            } else {
                assert!(["GET", "HEAD", "POST"].contains(&method), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn errors_are_those_of_the_documentation() {
    let mut site = Site::with_list().await;
    let items = "/lists/home/items";
    let proof = format!("proof={}", site.proof);
    let stalled = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let json = Request::post("/").header("host", "localhost");
    let json = json.header("content-type", "application/json");
    let mut seen = BTreeSet::new();
    for (request, body) in [
        (start(&site, "GET", "/"), Body::empty()),
        (own(&site, "POST", items), Body::from("title=x")),
        (own(&site, "GET", "/").header("origin", "https://evil.example"), Body::empty()),
        (own(&site, "GET", "/lists/nowhere"), Body::empty()),
        (own(&site, "GET", "/lists/%2e%2e"), Body::empty()),
        (own(&site, "PUT", "/"), Body::empty()),
        (own(&site, "POST", items), Body::from_stream(stalled)),
        (own(&site, "POST", items), Body::from(vec![b'x'; 300_000])),
        (json, Body::from("{}")),
        (start(&site, "GET", "/").header("host", "evil.example"), Body::empty()),
        (own(&site, "POST", items), Body::from(proof.clone())),
    ] {
        seen.extend(send(&site, request.body(body).unwrap()).await);
    }
    site.todo.abort();
    (&mut site.todo).await.unwrap_err();
    for (method, path) in [("GET", "/"), ("POST", items)] {
        let request = own(&site, method, path).body(Body::from(proof.clone())).unwrap();
        assert_eq!(send(&site, request).await, Some((503, "page")));
        seen.insert((503, "page"));
    }
    let mut site = Site::start_with(|_| Router::new().fallback(async || "no JSON")).await;
    site.enter("ann").await;
    seen.extend(send(&site, own(&site, "GET", "/").body(Body::empty()).unwrap()).await);
    let silent = Router::new().fallback(std::future::pending::<()>);
    let mut site = Site::start_with(|_| silent).await;
    site.enter("ann").await;
    site.app = page_with(&site.users_url, &site.todo_url, ("REQUEST_TIMEOUT", "100ms"));
    seen.extend(send(&site, own(&site, "GET", "/").body(Body::empty()).unwrap()).await);
    assert_eq!(seen, documented());
}
