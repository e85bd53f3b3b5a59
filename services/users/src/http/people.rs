//! People over HTTP: the read paths of the original; add, change and remove.
//!
//! A username never changes: it is the key under which `todo` keeps the lists.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::IntoResponse as _;
use kit::auth::{Caller, unauthorized};
use kit::pages::{self, Sequence};
use kit::{BaseUrl, Created, IfMatch, Once, Paging, RequestContext, Tag, Tagged, Written};

use super::App;
use crate::bodies::{NewUser, User, UserChange};
use crate::error::Error;

/// The people by username.
type People = BTreeMap<String, User>;

pub(super) async fn all(
    State(app): State<App>,
    _: Caller,
    paging: Paging<String>,
) -> Result<Written<People>, Error> {
    let first = app.store.users(paging.first(String::new())).await?;
    let shape = Sequence::new("{", "}", |text: &mut pages::Json, (username, user)| {
        text.value::<String>(&username);
        text.raw(":");
        text.value::<User>(&user);
    });
    Ok(pages::answer(&paging, first, shape, move |span| {
        let store = app.store.clone();
        async move { store.users(span).await }
    }))
}

pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    base: BaseUrl,
    once: Once,
    new: NewUser,
) -> Result<Created<User>, Error> {
    // A person with an account adds none; only an open caller does.
    caller.is(&new.username)?;
    let body = app.store.create(&new, caller.name(), &once).await?;
    let location = base.join(["users", &new.username]);
    Ok(Created { location, tag: Some(Tag::of(&body)), body })
}

pub(super) async fn read(
    State(app): State<App>,
    _: Caller,
    Path(username): Path<String>,
) -> Result<Tagged<User>, Error> {
    let user = app.store.user(&username).await?;
    Ok(Tagged(Tag::of(&user), Json(user)))
}

pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(username): Path<String>,
    expected: IfMatch,
    change: UserChange,
) -> Result<Tagged<User>, Error> {
    person(&app, &caller, &username).await?;
    let user = app.store.change(&username, change, &expected).await?;
    Ok(Tagged(Tag::of(&user), Json(user)))
}

pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(username): Path<String>,
    context: RequestContext,
    expected: IfMatch,
) -> Result<StatusCode, Error> {
    expected.check(&Tag::of(&person(&app, &caller, &username).await?))?;
    // The lists are removed first, so that a failure can be retried. Lists without a person would
    // belong to the next person with that username.
    app.todo.delete_lists(&username, &context).await?;
    app.store.delete(&username).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn lists(
    State(app): State<App>,
    caller: Caller,
    Path(username): Path<String>,
    context: RequestContext,
) -> Result<Written<BTreeMap<String, Vec<String>>>, Error> {
    person(&app, &caller, &username).await?;
    let (lists, tag) = app.todo.lists(&username, &context).await?;
    let answer = ([(CONTENT_TYPE, "application/json")], lists).into_response();
    Ok(Written::from(answer).with_header(ETAG, tag))
}

/// The person, if that is the caller or has no account.
async fn person(app: &App, caller: &Caller, username: &str) -> Result<User, Error> {
    let is_caller = caller.is(username)?;
    let (user, has_account) = app.store.person(username).await?;
    if has_account && !is_caller {
        return Err(unauthorized("this needs the person's token").into());
    }
    Ok(user)
}
