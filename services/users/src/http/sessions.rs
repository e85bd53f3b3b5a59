//! Accounts and sessions over HTTP: sign up, sign in, a token for the session, sign out.
//!
//! A session is a secret that lasts for weeks and is known to `users` only. A token is short-lived,
//! and every service verifies it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use kit::auth::{Bearer, unauthorized};

use super::App;
use crate::bodies::{NewAccount, NewSession, NewUser, SessionBody, SignIn};
use crate::error::Error;

/// How long a token is valid. A person who signs out may still be served for this time.
const TOKEN_TIME: Duration = Duration::from_secs(300);

pub(super) async fn sign_up(
    State(app): State<App>,
    account: NewAccount,
) -> Result<(StatusCode, Json<NewSession>), Error> {
    let NewAccount { username, name, password } = account;
    app.store.check_free(&username).await?;
    let hash = app.passwords.hash(password).await?;
    let name = name.unwrap_or_else(|| username.clone());
    let new = NewUser { username, name, verified: None, id: None };
    Ok((StatusCode::CREATED, Json(app.store.create_account(&new, hash).await?)))
}

pub(super) async fn sign_in(
    State(app): State<App>,
    SignIn { username, password }: SignIn,
) -> Result<(StatusCode, Json<NewSession>), Error> {
    app.store.count_attempt(&username).await?;
    let hash = app.store.password(&username).await?;
    if !app.passwords.matches(password, hash).await? {
        return Err(unauthorized("the username or the password is wrong").into());
    }
    Ok((StatusCode::CREATED, Json(app.store.sign_in(&username).await?)))
}

pub(super) async fn read(
    State(app): State<App>,
    Bearer(secret): Bearer,
) -> Result<Json<SessionBody>, Error> {
    let Some((username, user)) = app.store.session(&secret).await? else {
        return Err(unauthorized("the session has ended").into());
    };
    let token = app.tokens.issue(&username, TOKEN_TIME);
    let expires_in = TOKEN_TIME.as_secs();
    Ok(Json(SessionBody { username, name: user.name, token, expires_in }))
}

pub(super) async fn sign_out(
    State(app): State<App>,
    Bearer(secret): Bearer,
) -> Result<StatusCode, Error> {
    app.store.sign_out(&secret).await?;
    Ok(StatusCode::NO_CONTENT)
}
