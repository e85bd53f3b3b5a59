//! The routes of `users`, in one table.
//!
//! A handler reads the request, calls the store or `todo`, and writes the answer.

mod people;
mod sessions;

use axum::Router;
use kit::auth::Tokens;
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

/// Every route of the service.
pub fn routes() -> Routes<App> {
    Routes::new()
        .get("/", greet)
        .post("/accounts", sessions::sign_up)
        .post("/sessions", sessions::sign_in)
        .get("/session", sessions::read)
        .delete("/session", sessions::sign_out)
        .get("/users", people::all)
        .post("/users", people::create)
        .get("/users/{username}", people::read)
        .patch("/users/{username}", people::change)
        .delete("/users/{username}", people::delete)
        .get("/users/{username}/lists", people::lists)
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
    fn document_describes_the_served_routes() {
        let found = kit::openapi::differences(super::routes().table(), super::OPENAPI);
        assert!(found.is_empty(), "{found:#?}");
    }
}
