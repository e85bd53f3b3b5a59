//! What all handlers share: the visitor, the form, and the page with all lists.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use kit::RequestContext;
use kit::auth::random_secret;
use kit::form::read_form;

use super::App;
use crate::cookies::Cookies;
use crate::error::Error;
use crate::store::{Owner, Person};
use crate::views::{self, Board, Notice, View, nothing_page};

/// The field that a form has when it may be sent again: from the script, and in [`after`].
const KEY: &str = "key";

/// The browser that sent a request, and the person who is signed in.
pub(super) struct Visitor {
    pub(super) cookies: Cookies,
    pub(super) context: RequestContext,
    person: Result<Person, Error>,
}

/// The fields of a form that comes from our own page.
pub(super) struct Form {
    fields: BTreeMap<String, String>,
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let cookies = Cookies::from_request_parts(parts, app).await?;
        let Ok(context) = RequestContext::from_request_parts(parts, app).await;
        let person = match &cookies.session {
            Some(session) => app.store.person(session, &context).await,
            None => Err(Error::SignedOut),
        };
        Ok(Self { cookies, context, person })
    }
}

impl Visitor {
    /// The person who is signed in.
    pub(super) fn person(&self) -> Result<&Person, Error> {
        self.person.as_ref().map_err(|error| match error {
            Error::SignedOut => Error::SignedOut,
            Error::Away(what) => Error::Away(what),
            _ => Error::Failed,
        })
    }

    /// The person, for calls.
    pub(super) fn owner(&self) -> Result<Owner<'_>, Error> {
        Ok(Owner::new(self.person()?, &self.context))
    }
}

impl FromRequest<App> for Form {
    type Rejection = Error;

    async fn from_request(request: Request, app: &App) -> Result<Self, Error> {
        let cookies = Cookies::new(request.headers(), app.secure)?;
        let mut fields: BTreeMap<_, _> = read_form(request).await?.into_iter().collect();
        let proof = fields.get("proof").map(String::as_str);
        if proof != Some(&*cookies.proof()) {
            return Err(Error::Stale);
        }
        if fields.get(KEY).is_none_or(String::is_empty) {
            fields.insert(KEY.to_owned(), random_secret()?);
        }
        Ok(Self { fields })
    }
}

impl Form {
    /// The value of a field without outer spaces; empty when absent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The value of a field as it was entered.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Names what the form asks for, also when it is sent again.
    pub(super) fn key(&self) -> &str {
        self.raw(KEY)
    }

    /// The fields without the proof, for a form that tries again.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.fields.iter().map(|(name, value)| (&**name, &**value));
        entries.filter(|(name, _)| *name != "proof")
    }
}

/// The page with all lists of the person, and the items of one.
pub(super) async fn board(
    app: &App,
    visitor: &Visitor,
    list: &str,
    view: View,
    notice: Option<Notice>,
) -> Result<Response, Error> {
    let owner = visitor.owner()?;
    // The items after the lists, which name the event behind which the window follows: no change
    // of the items may be missing here and be part of the event.
    let lists = app.store.lists(&owner).await?;
    let items = app.store.items(&owner, list).await?;
    let person = visitor.person()?;
    let status = notice.as_ref().map_or(StatusCode::OK, |notice| notice.status);
    let board = Board { person, lists: &lists, list, items: &items, view: &view, notice };
    Ok(views::answer(status, board.page(&visitor.cookies.proof())))
}

/// Shows the list again after a change, or the notice if it failed. `path` and `form` are what a
/// person may try again.
pub(super) async fn after(
    app: &App,
    visitor: &Visitor,
    list: &str,
    changed: Result<(), Error>,
    path: &str,
    form: &Form,
) -> Result<Response, Error> {
    let error = match changed {
        Ok(()) => return Ok(see_other(&list_path(list, form.text("show")))),
        Err(Error::SignedOut) => return Err(Error::SignedOut),
        Err(error) => error,
    };
    let (status, text) = (error.status(), error.notice());
    if let Error::Away(_) | Error::Failed = error {
        let retry = views::retry_form(path, form.entries(), &visitor.cookies.proof());
        return Ok(views::answer(status, views::retry_page(&text, retry)));
    }
    let notice = Notice { status, text, form: None };
    board(app, visitor, list, View::of(form.text("show")), Some(notice)).await
}

/// The address of a list, with the filter.
pub(super) fn list_path(list: &str, show: &str) -> String {
    let path = views::path(&["lists", list]);
    match show {
        "open" | "done" => format!("{path}?show={show}"),
        _ => path,
    }
}

/// Sends the browser to another page of ours.
pub(super) fn see_other(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

/// Adds a cookie to an answer.
pub(super) fn with_cookie(mut response: Response, cookie: Option<String>) -> Response {
    if let Some(cookie) = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

pub(super) async fn nothing_here() -> Response {
    views::answer(StatusCode::NOT_FOUND, nothing_page())
}
