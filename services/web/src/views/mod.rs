//! Pages as pure functions: what is known goes in, HTML comes out.
//!
//! Maud escapes every value. No page contains a script or a style of its own, so the content
//! security policy forbids both.

mod board;
mod dates;
mod entrance;

use std::sync::LazyLock;

use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use kit::auth::digest;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) use self::board::{Board, Notice, View, empty_page, undo_form};
pub(crate) use self::entrance::{Entrance, entrance_page};

/// Name, type and content of style, script and icon, which are part of the program.
pub(crate) const ASSETS: [(&str, &str, &str); 3] = [
    ("style.css", "text/css; charset=utf-8", include_str!("../../assets/style.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("../../assets/app.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
];

/// Encoded in a path: everything that RFC 3986 does not call unreserved.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// An answer with a page.
pub(crate) fn answer(status: StatusCode, page: Markup) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    let mut response = (status, headers, page.into_string()).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    response
}

/// Adds what browsers should know about every answer, whatever it is.
pub(crate) async fn protected(response: Response) -> impl IntoResponse {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Without a referrer, browsers send forms with the origin `null`.
        (REFERRER_POLICY, "same-origin"),
    ];
    (headers, response)
}

/// A path of these segments, each encoded.
pub(crate) fn path(segments: &[&str]) -> String {
    let encoded = segments.iter().map(|segment| utf8_percent_encode(segment, &RESERVED));
    encoded.fold(String::new(), |path, segment| format!("{path}/{segment}"))
}

/// A complete page. `again` reloads it after a few seconds.
fn page(title: &str, again: bool, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if again { meta http-equiv="refresh" content="3"; }
                title { (title) }
                link rel="icon" type="image/svg+xml" href=(asset("icon.svg"));
                link rel="stylesheet" href=(asset("style.css"));
                script src=(asset("app.js")) defer {}
            }
            (body)
        }
    }
}

/// The address of an asset. It changes with the content, since browsers keep assets for good.
fn asset(name: &str) -> String {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let all: String = ASSETS.iter().map(|(.., text)| *text).collect();
        digest("assets", &all)[..12].to_owned()
    });
    format!("/assets/{name}?v={}", *VERSION)
}

/// A page with one message.
pub(crate) fn notice_page(text: &str, again: bool) -> Markup {
    let action = html! { a.button href="/" { "Back to your lists" } };
    message_page(text, again, action)
}

/// A page with a message about a change that may not be saved, and a form that tries again.
pub(crate) fn retry_page(text: &str, retry: Markup) -> Markup {
    let action = html! { (retry) a.quiet href="/" { "Back to your lists" } };
    message_page(&format!("The change may not be saved. {text}"), false, action)
}

/// A page for an address that does not exist.
pub(crate) fn nothing_page() -> Markup {
    notice_page("There is nothing at this address.", false)
}

/// A form that sends these fields to `path` again.
pub(crate) fn retry_form<'a>(
    path: &str,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
    proof: &str,
) -> Markup {
    html! {
        form method="post" action=(path) {
            (hidden("proof", proof))
            @for (name, value) in fields { (hidden(name, value)) }
            button.button type="submit" { "Try again" }
        }
    }
}

fn message_page(text: &str, again: bool, action: Markup) -> Markup {
    page(
        "To-do",
        again,
        html! {
            body.single {
                main.card id="main" {
                    (brand())
                    p role="status" id="message" { (text) }
                    div.actions { (action) }
                }
            }
        },
    )
}

fn brand() -> Markup {
    html! {
        a.brand href="/" {
            (icon("M4 12.5l5 5L20 6.5"))
            span { "To-do" }
        }
    }
}

/// A line icon; texts beside it say what it means.
fn icon(path: &str) -> Markup {
    html! {
        svg.icon viewBox="0 0 24 24" aria-hidden="true" { path d=(path) {} }
    }
}

fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// Text that only screen readers see.
fn spoken(text: &str) -> Markup {
    html! { span.spoken { (text) } }
}

/// An empty part of a page.
fn none() -> Markup {
    PreEscaped(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_paths_encoded() {
        let form = retry_form("/x", [("title", "<script>\"&'")].into_iter(), "p").into_string();
        assert!(form.contains("value=\"&lt;script&gt;&quot;&amp;'\""), "{form}");
        assert_eq!(path(&["lists", "a/b ü?#"]), "/lists/a%2Fb%20%C3%BC%3F%23");
    }
}
