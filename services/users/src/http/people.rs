//! People over HTTP: the read paths of the original; add, change and remove.
//!
//! A username never changes: it is the key under which `todo` keeps the lists.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::response::{IntoResponse, Response};
use kit::auth::{Caller, unauthorized};
use kit::pages::{self, Sequence};
use kit::{BaseUrl, Fields, MAX_INTEGER, RequestContext};

use super::App;
use crate::error::Error;
use crate::store::{NewUser, User, UserChange};

/// The longest username or name, in characters.
pub(super) const MAX_NAME_CHARS: usize = 100;

pub(super) async fn all(State(app): State<App>, _: Caller) -> Result<Response, Error> {
    let first = app.store.users("").await?;
    let shape = Sequence::new("{", "}", |text: &mut pages::Json, (username, user)| {
        text.value::<String>(&username);
        text.raw(":");
        text.value::<User>(&user);
    });
    Ok(pages::answer(first, shape, move |after: String| {
        let store = app.store.clone();
        async move { store.users(&after).await }
    }))
}

pub(super) async fn create(
    State(app): State<App>,
    caller: Caller,
    base: BaseUrl,
    mut fields: Fields,
) -> Result<impl IntoResponse, Error> {
    let new = NewUser {
        username: fields.required_username("username", MAX_NAME_CHARS),
        name: fields.required_text("name", MAX_NAME_CHARS),
        verified: fields.flag_or_bit("verified").unwrap_or(false),
        id: fields.integer("id", 1..=MAX_INTEGER),
    };
    fields.finish()?;
    // A person with an account adds none; only an open caller does.
    caller.is(&new.username)?;
    let user = app.store.create(&new).await?;
    let location = base.join(["users", &new.username]);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(user)))
}

pub(super) async fn read(
    State(app): State<App>,
    _: Caller,
    Path(username): Path<String>,
) -> Result<Json<User>, Error> {
    Ok(Json(app.store.user(&username).await?))
}

pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(username): Path<String>,
    mut fields: Fields,
) -> Result<Json<User>, Error> {
    let change = UserChange {
        name: fields.text("name", MAX_NAME_CHARS),
        verified: fields.flag_or_bit("verified"),
    };
    fields.read_only("username");
    fields.read_only("id");
    fields.finish()?;
    check(&app, &caller, &username).await?;
    Ok(Json(app.store.change(&username, change).await?))
}

pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(username): Path<String>,
    context: RequestContext,
) -> Result<StatusCode, Error> {
    check(&app, &caller, &username).await?;
    app.store.user(&username).await?;
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
) -> Result<impl IntoResponse, Error> {
    check(&app, &caller, &username).await?;
    app.store.user(&username).await?;
    let lists = app.todo.lists(&username, &context).await?;
    Ok(([(CONTENT_TYPE, "application/json")], lists))
}

/// Checks that the caller is the person, or that the person has no account.
async fn check(app: &App, caller: &Caller, username: &str) -> Result<(), Error> {
    if !caller.is(username)? && app.store.has_account(username).await? {
        return Err(unauthorized("this needs the person's token").into());
    }
    Ok(())
}
