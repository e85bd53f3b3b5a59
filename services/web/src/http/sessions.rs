//! Sign up, sign in and sign out.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::App;
use super::page::{Form, Visitor, see_other, with_cookie};
use crate::error::Error;
use crate::views::{self, Entrance};

pub(super) async fn sign_in_page(visitor: Visitor) -> Response {
    entrance(Entrance::SignIn, &visitor, "", None)
}

pub(super) async fn sign_up_page(visitor: Visitor) -> Response {
    entrance(Entrance::SignUp, &visitor, "", None)
}

pub(super) async fn sign_in(State(app): State<App>, visitor: Visitor, form: Form) -> Response {
    enter(&app, Entrance::SignIn, &visitor, &form).await
}

pub(super) async fn sign_up(State(app): State<App>, visitor: Visitor, form: Form) -> Response {
    enter(&app, Entrance::SignUp, &visitor, &form).await
}

pub(super) async fn sign_out(
    State(app): State<App>,
    visitor: Visitor,
    _: Form,
) -> Result<Response, Error> {
    if let Some(session) = &visitor.cookies.session {
        app.store.sign_out(session, &visitor.context).await?;
    }
    Ok(with_cookie(see_other("/sign-in"), Some(visitor.cookies.ended())))
}

async fn enter(app: &App, entrance_: Entrance, visitor: &Visitor, form: &Form) -> Response {
    let username = form.text("username");
    let body = json!({"username": username, "password": form.raw("password")});
    match app.store.start_session(entrance_.collection(), &body, &visitor.context).await {
        Ok(started) => {
            let cookie = visitor.cookies.started(&started.session, started.expires_in);
            with_cookie(see_other("/"), Some(cookie))
        }
        Err(error) => entrance(entrance_, visitor, username, Some(error)),
    }
}

/// The page with the form, and why the last attempt failed.
fn entrance(
    entrance: Entrance,
    visitor: &Visitor,
    username: &str,
    error: Option<Error>,
) -> Response {
    if error.is_none() && visitor.person().is_ok() {
        return see_other("/");
    }
    let status = error.as_ref().map_or(StatusCode::OK, Error::status);
    let notice = error.as_ref().map(Error::notice);
    let page = views::entrance_page(entrance, username, notice, &visitor.cookies.proof());
    with_cookie(views::answer(status, page), visitor.cookies.greeting())
}
