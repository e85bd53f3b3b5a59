//! The routes of `todo`, in one table.
//!
//! A handler reads the request, calls the store, and writes the answer.

mod access;
mod events;
mod items;
mod lists;

use axum::Router;
use axum::http::StatusCode;
use kit::openapi::About;
use kit::{Database, Routes, Shell};

use crate::store::Store;

/// The OpenAPI document.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// What the document says about the service.
const ABOUT: About = About {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    description: "The lists of each username and their items. The items of a list are a root of \
                  the Todo-Backend API.",
};

/// Every route of the service.
pub fn routes() -> Routes<Store> {
    Routes::new(ABOUT)
        .parameter("username", "The user", "ann")
        .parameter("list", "The list's name", "home")
        .parameter("id", "The item's number", "7")
        .get("/", "Greet", greet)
        .get("/lists", "List the names of all lists of open owners", lists::names)
        .get("/lists/{username}", "Read the lists of a user with their titles", lists::of_user)
        .post("/lists/{username}", "Create a list, optionally with items", lists::create)
        .or(StatusCode::CONFLICT)
        .delete("/lists/{username}", "Remove all lists of a user", lists::delete_all)
        .get(
            "/summaries/{username}",
            "Read the lists with their numbers of items",
            lists::summaries,
        )
        .get(
            "/events/{username}",
            "Follow the changes of a user's lists, as server-sent events",
            events::follow,
        )
        .or(StatusCode::TOO_MANY_REQUESTS)
        .get("/lists/{username}/{list}", "Read a list with its items", lists::read)
        .patch("/lists/{username}/{list}", "Rename a list", lists::rename)
        .or(StatusCode::CONFLICT)
        .delete("/lists/{username}/{list}", "Remove a list and its items", lists::delete)
        .get("/lists/{username}/{list}/items", "Read all items in order", items::all)
        .post("/lists/{username}/{list}/items", "Add an item", items::create)
        .or(StatusCode::CONFLICT)
        .delete("/lists/{username}/{list}/items", "Remove all items", items::delete_all)
        .get("/lists/{username}/{list}/items/{id}", "Read an item", items::read)
        .patch("/lists/{username}/{list}/items/{id}", "Change an item", items::change)
        .delete("/lists/{username}/{list}/items/{id}", "Remove an item", items::delete)
}

/// The complete application with this database.
pub fn app(database: Database, shell: Shell) -> Router {
    routes().into_app(Store::new(database.clone()), database, OPENAPI, shell)
}

async fn greet() -> &'static str {
    "The todo service is up.\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn document_matches_the_code() {
        let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        kit::openapi::check(committed, &super::routes().document());
    }
}
