//! A site without a browser: `web`, with real `users` and `todo` on sockets of this process.

// Each test binary uses a part.
#![allow(dead_code)]

use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{HeaderMap, Request};
use kit::auth::Tokens;
use kit::client::Timeouts;
use kit::serve::{Drain, serve};
use kit::{BindAddress, Client, Database, Listeners, Settings, Shell};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use web::{Store, Upstream, http};

pub(crate) const KEY: &str = "the key of these tests, which is long";

/// The page, and what it calls.
pub(crate) struct Site {
    pub(crate) app: Router,
    pub(crate) todo: JoinHandle<()>,
    pub(crate) todo_url: String,
    pub(crate) users_url: String,
    pub(crate) cookies: String,
    pub(crate) proof: String,
}

/// An answer: status, headers and page.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

fn shell(name: &'static str, settings: &[(&str, &str)]) -> Shell {
    Shell::from_settings(name, &Settings::from_pairs(settings.iter().copied())).unwrap()
}

fn spawn(router: Router) -> (String, JoinHandle<()>) {
    let listeners = Listeners::bind(&BindAddress { host: "127.0.0.1".into(), port: 0 }).unwrap();
    let url = format!("http://{}", listeners.describe());
    let forever = std::future::pending();
    let serving = serve(listeners, router, Drain::default(), forever);
    (
        url,
        tokio::spawn(async move {
            serving.await;
        }),
    )
}

fn client(url: &str) -> Client {
    let timeouts = Timeouts { connect: Duration::from_secs(10), answer: Duration::from_secs(20) };
    Client::new("URL", url, timeouts).unwrap()
}

/// One process of `web`. Bodies in a process arrive at once, unless a test holds one back.
fn page(users: &str, todo: &str) -> Router {
    page_with(users, todo, ("BODY_TIMEOUT", "100ms"))
}

/// One process of `web` with a setting.
pub(crate) fn page_with(users: &str, todo: &str, setting: (&str, &str)) -> Router {
    let store = Store::new(Upstream::new(client(users)), Upstream::new(client(todo)));
    http::app(store, false, shell("web", &[setting]))
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::start_with(|todo| todo).await
    }

    /// Starts with a changed `todo`.
    pub(crate) async fn start_with(change: impl FnOnce(Router) -> Router) -> Self {
        let tokens = Tokens::new(KEY);
        let memory = "sqlite::memory:";
        let database = Database::open(memory, &todo::store::MIGRATIONS).await.unwrap();
        let app = todo::http::app(database, shell("todo", &[]).with_tokens(tokens.clone()));
        let (todo_url, todo) = spawn(change(app));
        let database = Database::open(memory, &users::store::MIGRATIONS).await.unwrap();
        let of_users = users::todo::Todo::new(client(&todo_url));
        let (users_url, _) =
            spawn(users::http::app(database, of_users, tokens, shell("users", &[])));
        let app = page(&users_url, &todo_url);
        Self { app, todo, todo_url, users_url, cookies: String::new(), proof: String::new() }
    }

    /// The events of a window at another process of `web`.
    pub(crate) async fn window_elsewhere(&self, last: &str) -> BodyDataStream {
        let request = Request::get("/events").header("last-event-id", last);
        self.window(request).await
    }

    pub(crate) async fn window(&self, request: axum::http::request::Builder) -> BodyDataStream {
        let request = request.header("host", "localhost:8080").header("cookie", &self.cookies);
        let other = page(&self.users_url, &self.todo_url);
        let response = other.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        response.into_body().into_data_stream()
    }

    /// A site on which a person has signed up and has the list `home`.
    pub(crate) async fn with_list() -> Self {
        Self::start().await.sign_up().await
    }

    pub(crate) async fn sign_up(mut self) -> Self {
        self.sign_up_as("ann").await;
        self
    }

    /// Signs up another person, who gets the list `home`.
    pub(crate) async fn sign_up_as(&mut self, username: &str) {
        self.enter(username).await;
        self.get("/").await;
        let page = self.post("/", "name=home").await;
        assert_eq!((page.status, page.header("location")), (303, "/lists/home"));
        self.get("/lists/home").await;
    }

    /// Signs up another person.
    pub(crate) async fn enter(&mut self, username: &str) {
        self.cookies.clear();
        self.get("/sign-up").await;
        let fields = format!("username={username}&password=correct+horse");
        let page = self.post("/sign-up", &fields).await;
        assert_eq!((page.status, page.header("location")), (303, "/"));
        let cookie = page.header("set-cookie");
        assert!(cookie.contains("; HttpOnly; SameSite=Lax; Max-Age=2592000"), "{cookie}");
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Page {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = to_bytes(body, 4 << 20).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        for cookie in parts.headers.get_all("set-cookie") {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            self.cookies = format!("{}; {pair}", self.cookies).trim_start_matches("; ").to_owned();
        }
        if let Some((_, rest)) = text.split_once("name=\"proof\" value=\"") {
            self.proof = rest.split('"').next().unwrap().to_owned();
        }
        Page { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        let request = Request::get(path).header("host", "localhost:8080");
        let request = request.header("cookie", &self.cookies).body(Body::empty());
        self.send(request.unwrap()).await
    }

    /// Sends a form with the proof of the last page.
    pub(crate) async fn post(&mut self, path: &str, fields: &str) -> Page {
        let body = format!("proof={}&{fields}", self.proof);
        let request = Request::post(path)
            .header("host", "localhost:8080")
            .header("origin", "http://localhost:8080")
            .header("cookie", &self.cookies)
            .header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// The titles on the page of the list `home`.
    pub(crate) async fn titles(&mut self) -> Vec<String> {
        self.get("/lists/home").await.titles()
    }

    /// The id of an item on the page of the list `home`.
    pub(crate) async fn id(&mut self, title: &str) -> String {
        let text = self.get("/lists/home").await.text;
        let (before, _) =
            text.split_once(&format!("<span class=\"title\">{title}</span>")).unwrap();
        let (_, id) = before.rsplit_once("id=\"item-").unwrap();
        id.split('"').next().unwrap().to_owned()
    }
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The request with which the page opens its stream of events.
    pub(crate) fn stream(&self) -> axum::http::request::Builder {
        let (_, address) = self.text.split_once("data-live=\"").expect("a live page");
        Request::get(address.split('"').next().unwrap())
    }

    pub(crate) fn titles(&self) -> Vec<String> {
        let parts = self.text.split("<span class=\"title\">").skip(1);
        parts.map(|part| part.split("</span>").next().unwrap().to_owned()).collect()
    }
}
