//! The route table of a service, and the application built from it.
//!
//! The same calls build the router and the list of its routes, so the check of the OpenAPI
//! document compares with the real routes.

use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post};
use axum::{Json, middleware};
use tower::util::option_layer;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::callers::{self, Callers};
use crate::context;
use crate::database::Database;
use crate::limits::{self, Limits};
use crate::panics;
use crate::problem::{self, Problem};

/// The timeout for the storage in `/readyz`.
const READY_TIME: Duration = Duration::from_secs(1);

/// One served operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The method, in upper case.
    pub method: &'static str,
    /// The path with `{parameters}`.
    pub path: &'static str,
}

/// The routes of every service.
const COMMON: [Entry; 3] = [
    Entry { method: "GET", path: "/healthz" },
    Entry { method: "GET", path: "/readyz" },
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

    /// The complete application: routes, health, OpenAPI document, problem bodies, the check of
    /// callers, limits, and the access log.
    pub fn into_app(
        self,
        state: S,
        database: Database,
        document: &'static str,
        callers: Callers,
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
            .layer(middleware::from_fn(problem::reject_nul))
            .layer(middleware::from_fn(panics::catch))
            .layer(middleware::map_response(problem::unify))
            .layer(middleware::from_fn_with_state(limits, limits::enforce))
            .layer(option_layer(callers.any_origin().then(cross_origin)))
            .layer(middleware::from_fn_with_state(callers, callers::check))
            .layer(middleware::from_fn(context::trace))
    }

    fn add(mut self, method: &'static str, path: &'static str, route: MethodRouter<S>) -> Self {
        self.router = self.router.route(path, route);
        self.table.push(Entry { method, path });
        self
    }
}

async fn readyz(database: &Database) -> Response {
    match tokio::time::timeout(READY_TIME, database.ping()).await {
        Ok(Ok(())) => Json(serde_json::json!({"status": "ready"})).into_response(),
        result => {
            tracing::warn!(?result, "the storage is not reachable");
            Problem::unavailable("the storage is not reachable", READY_TIME).into_response()
        }
    }
}

/// Allows pages of every origin, without cookies or other credentials.
fn cross_origin() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([LOCATION, RETRY_AFTER, context::REQUEST_ID] as [HeaderName; 3])
        .max_age(Duration::from_secs(3600))
}
