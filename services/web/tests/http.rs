//! The pages of `web` without a browser, with real `users` and `todo` on sockets of this process.

#![allow(clippy::unwrap_used)]

mod site;

use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use axum::middleware::{self, Next};
use axum::response::IntoResponse as _;
use futures_util::TryStreamExt as _;
use kit::auth::Tokens;
use tokio::time::timeout;

use site::{KEY, Site};

/// The timeout of every wait.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Reads a window's stream until the event, and returns its id.
async fn event(window: &mut BodyDataStream, name: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(&format!("event: {name}\n")) {
            let chunk = window.try_next().await.unwrap().expect("no end");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    timeout(TIMEOUT, read).await.expect(name);
    let mut lines = text.lines().rev();
    lines.find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned()
}

#[tokio::test]
async fn items_are_added_changed_ticked_moved_and_filtered() {
    let mut site = Site::with_list().await;
    for fields in ["title=milk", "title=tea&due=2020-02-03", "title=salt"] {
        assert_eq!(site.post("/lists/home/items", fields).await.status, 303);
    }
    assert_eq!(site.titles().await, ["milk", "tea", "salt"]);
    let page = site.get("/lists/home").await;
    assert!(page.text.contains("<time class=\"due late\" datetime=\"2020-02-03\">3 Feb 2020"));
    let tea = format!("/lists/home/items/{}", site.id("tea").await);
    let page = site.post(&format!("{tea}/tick"), "completed=true&show=open").await;
    assert_eq!((page.status, page.header("location")), (303, "/lists/home?show=open"));
    assert_eq!(site.get("/lists/home?show=open").await.titles(), ["milk", "salt"]);
    assert_eq!(site.get("/lists/home?show=done").await.titles(), ["tea"]);
    assert_eq!(site.post(&format!("{tea}/move"), "place=1").await.status, 303);
    assert_eq!(site.titles().await, ["tea", "milk", "salt"]);
    assert_eq!(site.post(&tea, "title=green+tea&due=").await.status, 303);
    let page = site.get("/lists/home").await;
    assert_eq!(page.titles(), ["green tea", "milk", "salt"]);
    assert!(!page.text.contains("<time") && page.text.contains("1 of 3 done"));
    let edit = format!("/lists/home?edit={}", site.id("milk").await);
    assert!(site.get(&edit).await.text.contains("name=\"title\" value=\"milk\""));
}

#[tokio::test]
async fn removed_item_comes_back_by_undo() {
    let mut site = Site::with_list().await;
    for title in ["milk", "tea", "salt"] {
        site.post("/lists/home/items", &format!("title={title}&due=2030-01-02")).await;
    }
    let tea = format!("/lists/home/items/{}", site.id("tea").await);
    site.post(&format!("{tea}/tick"), "completed=true").await;
    let page = site.post(&format!("{tea}/delete"), "place=2").await;
    assert_eq!((page.status, page.titles()), (200, vec!["milk".to_owned(), "salt".to_owned()]));
    assert!(page.text.contains("id=\"undo\""), "{}", page.text);
    // The page may be loaded again, which sends the form again.
    assert_eq!(site.post(&format!("{tea}/delete"), "place=2").await.status, 303);
    let fields = "title=tea&completed=true&due=2030-01-02&place=2";
    assert_eq!(site.post("/lists/home/items", fields).await.status, 303);
    assert_eq!(site.titles().await, ["milk", "tea", "salt"]);
    assert!(site.get("/lists/home").await.text.contains("1 of 3 done"));
}

#[tokio::test]
async fn undo_keeps_the_filter() {
    let mut site = Site::with_list().await;
    site.post("/lists/home/items", "title=tea").await;
    let tea = format!("/lists/home/items/{}", site.id("tea").await);
    let page = site.post(&format!("{tea}/delete"), "place=1&show=open").await;
    let (_, notice) = page.text.split_once("id=\"notice\"").expect("a notice");
    let (undo, _) = notice.split_once("id=\"undo\"").expect("a form");
    assert!(undo.contains("name=\"show\" value=\"open\""), "{undo}");
}

#[tokio::test]
async fn address_of_a_form_leads_back() {
    let mut site = Site::with_list().await;
    for form in ["rename", "delete", "items", "items/7", "items/7/tick", "items/7/delete"] {
        let page = site.get(&format!("/lists/home/{form}")).await;
        assert_eq!((page.status, page.header("location")), (303, "/lists/home"), "{form}");
    }
    assert_eq!(site.get("/sign-out").await.header("location"), "/");
}

#[tokio::test]
async fn refused_list_keeps_the_entered_name() {
    let mut site = Site::with_list().await;
    let page = site.post("/", "name=home").await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("name=\"name\" placeholder=\"Name of the list\" value=\"home\""));
    assert!(!page.text.contains("first list"), "{}", page.text);
}

#[tokio::test]
async fn lists_are_renamed_and_removed() {
    let mut site = Site::with_list().await;
    let page = site.post("/lists/home/rename", "name=a%2Fb+%C3%BC").await;
    assert_eq!(page.header("location"), "/lists/a%2Fb%20%C3%BC");
    assert_eq!(site.get("/lists/home").await.status, 404);
    site.post("/", "name=errands").await;
    let page = site.post("/lists/errands/rename", "name=a%2Fb+%C3%BC").await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("already has a list"), "{}", page.text);
    assert_eq!(site.post("/lists/errands/delete", "").await.header("location"), "/");
    assert_eq!(site.post("/lists/errands/delete", "").await.header("location"), "/");
    assert_eq!(site.get("/").await.header("location"), "/lists/a%2Fb%20%C3%BC");
}

#[tokio::test]
async fn text_of_people_is_never_markup() {
    let mut site = Site::with_list().await;
    let evil = "%3Cscript%3Ealert(1)%3C/script%3E%22%27%26";
    site.post("/lists/home/items", &format!("title={evil}")).await;
    site.post("/lists/home/rename", &format!("name={evil}")).await;
    let path = format!("/lists/{}", evil.replace('/', "%2F"));
    let page = site.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("&lt;script&gt;alert(1)"), "{}", page.text);
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
    assert!(page.header("content-security-policy").contains("script-src 'self';"));
}

#[tokio::test]
async fn forms_of_other_pages_are_refused() {
    let mut site = Site::with_list().await;
    for proof in ["", "0123", &"0".repeat(64)] {
        site.proof = proof.to_owned();
        let page = site.post("/lists/home/items", "title=evil").await;
        assert_eq!(page.status, 403, "{proof}");
        assert!(page.text.contains("out of date"));
    }
    let request = Request::post("/lists/home/delete")
        .header("host", "localhost:8080")
        .header("origin", "https://evil.example")
        .header("cookie", &site.cookies)
        .header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(site.send(request.body(Body::empty()).unwrap()).await.status, 403);
    let request = Request::get("/").header("host", "evil.example").body(Body::empty()).unwrap();
    assert_eq!(site.send(request).await.status, 421);
    assert_eq!(site.titles().await, Vec::<String>::new());
}

#[tokio::test]
async fn visitors_are_sent_to_sign_in() {
    let mut site = Site::with_list().await;
    site.get("/lists/home").await;
    let page = site.post("/sign-out", "").await;
    assert_eq!((page.status, page.header("location")), (303, "/sign-in"));
    assert!(page.header("set-cookie").starts_with("session=; "));
    // The old session is useless, too.
    for path in ["/", "/lists/home", "/events"] {
        assert_eq!(site.get(path).await.header("location"), "/sign-in", "{path}");
    }
    site.cookies.clear();
    site.get("/sign-in").await;
    let page = site.post("/sign-in", "username=ann&password=wrong").await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("The username or the password is wrong."), "{}", page.text);
    let page = site.post("/sign-in", "username=ann&password=correct+horse").await;
    assert_eq!((page.status, page.header("location")), (303, "/"));
}

#[tokio::test]
async fn change_elsewhere_reaches_every_window() {
    let mut site = Site::with_list().await;
    let mut window = site.window_elsewhere("").await;
    event(&mut window, "hello").await;
    site.post("/lists/home/items", "title=milk").await;
    let id = event(&mut window, "change").await;
    // Another client of `todo`.
    let token = Tokens::new(KEY).issue("ann", Duration::from_secs(60));
    let items = format!("{}/lists/ann/home/items", site.todo_url);
    let add = reqwest::Client::new().post(items).bearer_auth(token);
    let added = add.json(&serde_json::json!({"title": "bread"})).send().await.unwrap();
    assert_eq!(added.status(), 201);
    event(&mut window, "change").await;
    assert_eq!(site.titles().await, ["milk", "bread"]);
    // A window that was cut off in between.
    event(&mut site.window_elsewhere(&id).await, "change").await;
}

#[tokio::test]
async fn stream_begins_behind_the_page() {
    let mut site = Site::with_list().await;
    let page = site.get("/lists/home").await;
    let id = event(&mut site.window(page.stream()).await, "hello").await;
    // After the page was made, and before it opens its stream.
    site.post("/lists/home/items", "title=milk").await;
    let newer = event(&mut site.window(page.stream()).await, "change").await;
    assert_ne!(id, newer);
    // A browser that connects again sends what it knows to the same address.
    let again = page.stream().header("last-event-id", &newer);
    event(&mut site.window(again).await, "hello").await;
    // The page without lists is live, too.
    site.post("/lists/home/delete", "").await;
    let page = site.get("/").await;
    site.post("/", "name=home").await;
    event(&mut site.window(page.stream()).await, "change").await;
}

#[tokio::test]
async fn change_while_a_page_is_made_is_not_lost() {
    // Adds an item right after the items for a page were read.
    let add_behind = async |request: axum::extract::Request, next: Next| {
        let reads = request.method() == "GET" && request.uri().path().ends_with("/items");
        let mut add = Request::post(request.uri()).header("content-type", "application/json");
        for name in ["host", "authorization"] {
            add = add.header(name, &request.headers()[name]);
        }
        let response = next.clone().run(request).await;
        if reads {
            let add = add.body(Body::from("{\"title\": \"late\"}")).unwrap();
            assert_eq!(next.run(add).await.status(), 201);
        }
        response
    };
    let change = |todo| Router::new().fallback_service(todo).layer(middleware::from_fn(add_behind));
    let mut site = Site::start_with(change).await.sign_up().await;
    let before = site.titles().await.len();
    let page = site.get("/lists/home").await;
    assert_eq!(page.titles().len(), before + 1);
    event(&mut site.window(page.stream()).await, "change").await;
}

#[tokio::test]
async fn window_connects_again_while_a_service_is_away() {
    let site = Site::with_list().await;
    let (todo_url, unused) = (site.todo_url.clone(), "http://127.0.0.1:1");
    let site = Site { todo_url: unused.to_owned(), ..site };
    let mut window = site.window_elsewhere("").await;
    let chunk = window.try_next().await.unwrap().unwrap();
    assert_eq!(chunk, "retry: 3000\n\n");
    assert!(window.try_next().await.unwrap().is_none());
    event(&mut Site { todo_url, ..site }.window_elsewhere("").await, "hello").await;
}

#[tokio::test]
async fn absent_service_gives_a_plain_notice() {
    let mut site = Site::with_list().await;
    site.todo.abort();
    while !site.todo.is_finished() {
        tokio::task::yield_now().await;
    }
    let page = site.get("/lists/home").await;
    assert_eq!(page.status, 503);
    assert!(page.text.contains("Nothing is lost") && page.text.contains("http-equiv=\"refresh\""));
    let page = site.post("/lists/home/items", "title=keep+this").await;
    assert_eq!(page.status, 503);
    // The form tries again with what was entered.
    assert!(page.text.contains("name=\"title\" value=\"keep this\""), "{}", page.text);
    assert!(page.text.contains("Try again"));
    // After a few failures the answer comes at once.
    let begin = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(site.get("/lists/home").await.status, 503);
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn repeated_form_creates_nothing_twice() {
    // Creates, and answers as if it had not.
    let lose_answers = async |request: axum::extract::Request, next: Next| {
        let creates = request.method() == "POST" && request.uri().path().ends_with("/items");
        let response = next.run(request).await;
        if creates { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { response }
    };
    let change =
        |todo| Router::new().fallback_service(todo).layer(middleware::from_fn(lose_answers));
    let mut site = Site::start_with(change).await.sign_up().await;
    // From the script, which has a key of its own; any text is one.
    for _ in 0..2 {
        let page = site.post("/lists/home/items", "title=milk&key=%C3%BC%0A").await;
        assert_eq!(page.status, 503);
    }
    assert_eq!(site.titles().await, ["milk"]);
    let page = site.post("/lists/home/items", "title=tea").await;
    assert!(page.text.contains("The change may not be saved."), "{}", page.text);
    let (_, rest) = page.text.split_once("name=\"key\" value=\"").expect("a key");
    let key = rest.split('"').next().unwrap();
    site.post("/lists/home/items", &format!("title=tea&key={key}")).await;
    assert_eq!(site.titles().await, ["milk", "tea"]);
    // Another form with the same content is another wish.
    site.post("/lists/home/items", "title=tea").await;
    assert_eq!(site.titles().await, ["milk", "tea", "tea"]);
}

#[tokio::test]
async fn assets_are_kept_and_unknown_paths_are_pages() {
    let mut site = Site::start().await;
    let text = site.get("/sign-in").await.text;
    for (name, media) in [("style.css", "text/css"), ("app.js", "text/javascript")] {
        let (_, rest) = text.split_once(&format!("/assets/{name}")).unwrap();
        let path = format!("/assets/{name}{}", rest.split('"').next().unwrap());
        let page = site.get(&path).await;
        assert!(page.status == 200 && page.header("content-type").starts_with(media), "{path}");
        assert!(page.header("cache-control").contains("immutable"));
    }
    for path in ["/nowhere", "/a/b/c", "/assets/x", "/assets/..%2FCargo.toml"] {
        let page = site.get(path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
    }
    assert_eq!(site.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn forged_and_large_forms_are_refused() {
    let mut site = Site::with_list().await;
    let large = format!("title={}", "x".repeat(300_000));
    assert_eq!(site.post("/lists/home/items", &large).await.status, 413);
    let page = site.post("/lists/home/items", &format!("title={}", "x".repeat(501))).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("The title has 501 characters, at most 500."), "{}", page.text);
    for path in ["/lists/nothing/items", "/lists/home/items/999/tick", "/lists/home/items/x"] {
        let page = site.post(path, "title=x").await;
        assert_eq!(page.status, 404, "{path}: {}", page.text);
    }
    assert_eq!(site.titles().await, Vec::<String>::new());
}
