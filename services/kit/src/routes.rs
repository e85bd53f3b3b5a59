//! The route table of a service, the application built from it, and its OpenAPI document.
//!
//! The same calls build the router and the document, so the document has the real routes.

use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::{MethodRouter, delete, get, patch, post};

use crate::database::Database;
use crate::openapi::{self, About, Described, Entry, Operation};
use crate::shell::Shell;

/// The page that shows the document.
const DOCS: &str = include_str!("docs.html");

/// The routes of a service, while they are added.
pub struct Routes<S> {
    router: Router<S>,
    about: About,
    parameters: Vec<(&'static str, &'static str, &'static str)>,
    entries: Vec<Entry>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// A table without routes of the service itself.
    pub fn new(about: About) -> Self {
        Self { router: Router::new(), about, parameters: Vec::new(), entries: common() }
    }

    /// Describes a parameter of paths, with an example.
    pub fn parameter(
        mut self,
        name: &'static str,
        description: &'static str,
        example: &'static str,
    ) -> Self {
        self.parameters.push((name, description, example));
        self
    }

    /// Adds a GET route, which also answers HEAD. `summary` is for the document.
    pub fn get<H, T, A>(self, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<A>,
        T: 'static,
    {
        self.add("get", path, summary, H::operation, get(handler))
    }

    /// Adds a POST route.
    pub fn post<H, T, A>(self, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<A>,
        T: 'static,
    {
        self.add("post", path, summary, H::operation, post(handler))
    }

    /// Adds a PATCH route.
    pub fn patch<H, T, A>(self, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<A>,
        T: 'static,
    {
        self.add("patch", path, summary, H::operation, patch(handler))
    }

    /// Adds a DELETE route.
    pub fn delete<H, T, A>(self, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, S> + Described<A>,
        T: 'static,
    {
        self.add("delete", path, summary, H::operation, delete(handler))
    }

    /// Adds a problem to the route that was added last. Arguments and result of a handler imply
    /// most; this is for those that only its body shows.
    pub fn or(mut self, status: StatusCode) -> Self {
        if let Some(entry) = self.entries.last_mut() {
            entry.failures.push(status);
        }
        self
    }

    /// The OpenAPI document of the routes, as it is committed.
    pub fn document(&self) -> String {
        openapi::document(self.about, &self.parameters, &self.entries)
    }

    /// The complete application: routes, the committed document with its page, and what
    /// [`Shell::around`] adds.
    pub fn into_app(
        self,
        state: S,
        database: Database,
        document: &'static str,
        shell: Shell,
    ) -> Router {
        let document = ([(CONTENT_TYPE, "application/json")], document);
        let router = self
            .router
            .route("/openapi.json", get(async move || document))
            .route("/docs", get(async || Html(DOCS)));
        shell.around(router.with_state(state), Some(database))
    }

    fn add(
        mut self,
        method: &'static str,
        path: &'static str,
        summary: &'static str,
        describe: fn() -> Operation,
        route: MethodRouter<S>,
    ) -> Self {
        self.router = self.router.route(path, route);
        self.entries.push(Entry { method, path, summary, describe, failures: Vec::new() });
        self
    }
}

/// The routes of every service.
fn common() -> Vec<Entry> {
    type Common = (&'static str, &'static str, fn() -> Operation);
    let routes: [Common; 5] = [
        ("/healthz", "Check the process", || answers("healthz", "application/json")),
        ("/readyz", "Check the storage", || answers("readyz", "application/json")),
        ("/metrics", "Read numbers about the requests of this process, for Prometheus", || {
            answers("metrics", "text/plain")
        }),
        ("/openapi.json", "Read this document", || answers("document", "application/json")),
        ("/docs", "Read and try this document in a browser", || answers("docs", "text/html")),
    ];
    let entry = |(path, summary, describe)| Entry {
        method: "get",
        path,
        summary,
        describe,
        // The other routes need no storage.
        failures: if path == "/readyz" { vec![StatusCode::SERVICE_UNAVAILABLE] } else { vec![] },
    };
    routes.map(entry).into()
}

fn answers(id: &str, media: &str) -> Operation {
    let mut operation = Operation::of(id);
    operation.answers_media(media);
    operation
}
