//! The routes of `todo`, in one table.
//!
//! A handler reads the request, calls the store, and writes the answer.

mod access;
mod items;
mod lists;

use axum::Router;
use kit::{Database, Routes, Shell};

use crate::store::Store;

/// The OpenAPI document.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// Every route of the service.
pub fn routes() -> Routes<Store> {
    Routes::new()
        .get("/", greet)
        .get("/lists", lists::names)
        .get("/lists/{username}", lists::of_user)
        .post("/lists/{username}", lists::create)
        .delete("/lists/{username}", lists::delete_all)
        .get("/summaries/{username}", lists::summaries)
        .get("/lists/{username}/{list}", lists::read)
        .patch("/lists/{username}/{list}", lists::rename)
        .delete("/lists/{username}/{list}", lists::delete)
        .get("/lists/{username}/{list}/items", items::all)
        .post("/lists/{username}/{list}/items", items::create)
        .delete("/lists/{username}/{list}/items", items::delete_all)
        .get("/lists/{username}/{list}/items/{id}", items::read)
        .patch("/lists/{username}/{list}/items/{id}", items::change)
        .delete("/lists/{username}/{list}/items/{id}", items::delete)
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
    fn document_describes_the_served_routes() {
        let found = kit::openapi::differences(super::routes().table(), super::OPENAPI);
        assert!(found.is_empty(), "{found:#?}");
    }
}
