//! The route table of a service, and the application that is made of it.
//!
//! The router and the list of what it serves are built by the same calls, so that the check of
//! the OpenAPI document compares with the truth. What a route does is the service's business.

use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use axum::{Json, middleware};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::context;
use crate::database::Database;
use crate::limits::{self, Limits};
use crate::panics;
use crate::problem::{self, Problem};

/// How long the storage may take to show that it is reachable.
const READY_TIME: Duration = Duration::from_secs(1);

/// One operation that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The method in capitals.
    pub method: &'static str,
    /// The path with `{parameters}`.
    pub path: &'static str,
}

/// What every service serves beside its own routes.
const COMMON: [Entry; 3] = [
    Entry { method: "GET", path: "/healthz" },
    Entry { method: "GET", path: "/readyz" },
    Entry { method: "GET", path: "/openapi.json" },
];

/// Routes being collected.
pub struct Routes<S> {
    router: Router<S>,
    table: Vec<Entry>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// Only the common routes.
    #[expect(clippy::new_without_default, reason = "a table without routes is no default")]
    pub fn new() -> Self {
        Self { router: Router::new(), table: COMMON.to_vec() }
    }

    /// Adds a GET route, which answers HEAD too.
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

    /// Every operation, the common ones included.
    pub fn table(&self) -> &[Entry] {
        &self.table
    }

    /// The whole application: routes, health, document, problems for what no route answers,
    /// cross-origin calls, limits, and one log line a request.
    pub fn into_app(
        self,
        state: S,
        database: Database,
        document: &'static str,
        limits: Limits,
    ) -> Router {
        let document = ([(CONTENT_TYPE, "application/json")], document);
        let ready = move || async move { readyz(&database).await };
        self.router
            .route("/healthz", get(async || Json(serde_json::json!({"status": "alive"}))))
            .route("/readyz", get(ready))
            .route("/openapi.json", get(async move || document))
            .fallback(problem::no_such_path)
            .method_not_allowed_fallback(problem::no_such_method)
            .with_state(state)
            .layer(middleware::from_fn(problem::no_nul))
            .layer(middleware::from_fn(panics::answer))
            .layer(middleware::map_response(problem::unify))
            .layer(middleware::from_fn_with_state(limits, limits::enforce))
            .layer(cross_origin())
            .layer(middleware::from_fn(context::follow))
    }

    fn add(mut self, method: &'static str, path: &'static str, route: MethodRouter<S>) -> Self {
        self.router = self.router.route(path, route);
        self.table.push(Entry { method, path });
        self
    }
}

async fn readyz(database: &Database) -> Response {
    match tokio::time::timeout(READY_TIME, database.reachable()).await {
        Ok(Ok(())) => Json(serde_json::json!({"status": "ready"})).into_response(),
        outcome => {
            tracing::warn!(?outcome, "storage is not reachable");
            Problem::unavailable("the storage is not reachable", READY_TIME).into_response()
        }
    }
}

/// Pages from anywhere may call: there are no cookies or other credentials to abuse.
fn cross_origin() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([LOCATION, RETRY_AFTER, context::REQUEST_ID] as [HeaderName; 3])
        .max_age(Duration::from_secs(3600))
}
