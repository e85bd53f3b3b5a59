//! The route table of a service, and the application built from it.
//!
//! The same calls build the router and the list of its routes, so the check of the OpenAPI
//! document compares with the real routes.

use axum::Router;
use axum::handler::Handler;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{MethodRouter, delete, get, patch, post};

use crate::database::Database;
use crate::shell::Shell;

/// One served operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The method, in upper case.
    pub method: &'static str,
    /// The path with `{parameters}`.
    pub path: &'static str,
}

/// The routes of every service.
const COMMON: [Entry; 4] = [
    Entry { method: "GET", path: "/healthz" },
    Entry { method: "GET", path: "/readyz" },
    Entry { method: "GET", path: "/metrics" },
    Entry { method: "GET", path: "/openapi.json" },
];

/// The routes of a service, while they are added.
pub struct Routes<S> {
    router: Router<S>,
    table: Vec<Entry>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// The common routes alone.
    #[expect(clippy::new_without_default, reason = "a table without routes is no default")]
    pub fn new() -> Self {
        Self { router: Router::new(), table: COMMON.to_vec() }
    }

    /// Adds a GET route, which also answers HEAD.
    pub fn get<H: Handler<T, S>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add("GET", path, get(handler))
    }

    /// Adds a POST route.
    pub fn post<H: Handler<T, S>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add("POST", path, post(handler))
    }

    /// Adds a PATCH route.
    pub fn patch<H: Handler<T, S>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add("PATCH", path, patch(handler))
    }

    /// Adds a DELETE route.
    pub fn delete<H: Handler<T, S>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add("DELETE", path, delete(handler))
    }

    /// Every served operation, common routes included.
    pub fn table(&self) -> &[Entry] {
        &self.table
    }

    /// The complete application: routes, OpenAPI document, and what [`Shell::around`] adds.
    pub fn into_app(
        self,
        state: S,
        database: Database,
        document: &'static str,
        shell: Shell,
    ) -> Router {
        let document = ([(CONTENT_TYPE, "application/json")], document);
        let router = self.router.route("/openapi.json", get(async move || document));
        shell.around(router.with_state(state), Some(database))
    }

    fn add(mut self, method: &'static str, path: &'static str, route: MethodRouter<S>) -> Self {
        self.router = self.router.route(path, route);
        self.table.push(Entry { method, path });
        self
    }
}
