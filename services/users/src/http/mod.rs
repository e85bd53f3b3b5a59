//! The routes of `users`, in one table.
//!
//! A handler reads the request, calls the store or `todo`, and writes the answer.

mod people;
mod sessions;

use axum::Router;
use axum::http::StatusCode;
use kit::auth::Tokens;
use kit::openapi::About;
use kit::{Database, Routes, Shell};

use crate::passwords::Passwords;
use crate::store::Store;
use crate::todo::Todo;

/// The OpenAPI document.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// The state of the handlers.
#[derive(Clone, Debug)]
pub struct App {
    store: Store,
    todo: Todo,
    tokens: Tokens,
    passwords: Passwords,
}

/// What the document says about the service.
const ABOUT: About = About {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    description: "People, their accounts and sessions, and their lists from the service `todo`.",
};

/// Every route of the service.
pub fn routes() -> Routes<App> {
    Routes::new(ABOUT)
        .parameter("username", "The person's key", "ann")
        .get("/", "Greet", greet)
        .post("/accounts", "Add a person with an account, and start a session", sessions::sign_up)
        .or(StatusCode::CONFLICT)
        .post("/sessions", "Start a session", sessions::sign_in)
        .or(StatusCode::UNAUTHORIZED)
        .or(StatusCode::TOO_MANY_REQUESTS)
        .get("/session", "Read the person of a session, with a token", sessions::read)
        .delete("/session", "End a session", sessions::sign_out)
        .get("/users", "Read all people by username, keys sorted", people::all)
        .post("/users", "Add a person", people::create)
        .or(StatusCode::FORBIDDEN)
        .or(StatusCode::CONFLICT)
        .get("/users/{username}", "Read a person", people::read)
        .patch("/users/{username}", "Change a person", people::change)
        .or(StatusCode::FORBIDDEN)
        .delete("/users/{username}", "Remove a person with the lists", people::delete)
        .or(StatusCode::FORBIDDEN)
        .or(StatusCode::BAD_GATEWAY)
        .get("/users/{username}/lists", "Read a person's lists with their titles", people::lists)
        .or(StatusCode::FORBIDDEN)
        .or(StatusCode::BAD_GATEWAY)
}

/// The complete application with this database, this `todo` and this key.
pub fn app(database: Database, todo: Todo, tokens: Tokens, shell: Shell) -> Router {
    let (store, passwords) = (Store::new(database.clone()), Passwords::default());
    let shell = shell.with_tokens(tokens.clone());
    routes().into_app(App { store, todo, tokens, passwords }, database, OPENAPI, shell)
}

async fn greet() -> &'static str {
    "The users service is up.\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn document_matches_the_code() {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        kit::openapi::check(committed, &super::routes().document());
    }
}
