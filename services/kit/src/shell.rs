//! What surrounds the router of every service: health, metrics, problem bodies, limits, the check
//! of callers, and the access log.
//!
//! [`crate::Routes`] uses it, and so can a router that was built without a route table.

use std::time::Duration;

use axum::http::header::{ETAG, LINK, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router, middleware};
use tower::util::option_layer;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::auth::Tokens;
use crate::callers::{self, Callers};
use crate::context;
use crate::database::Database;
use crate::limits::{self, Limits};
use crate::metrics::Metrics;
use crate::panics;
use crate::problem::{self, Problem};
use crate::settings::{SettingError, Settings};
use crate::tags;

/// The timeout for the storage in `/readyz`.
const READY_TIME: Duration = Duration::from_secs(1);

/// The settings of the layers around a router.
#[derive(Clone, Debug)]
pub struct Shell {
    callers: Callers,
    limits: Limits,
    tokens: Option<Tokens>,
    metrics: bool,
}

impl Shell {
    /// A shell with these callers and limits.
    pub fn new(callers: Callers, limits: Limits) -> Self {
        Self { callers, limits, tokens: None, metrics: true }
    }

    /// Reads `METRICS` and the settings of [`Callers`] and [`Limits`]. `name` is the service's own
    /// host name.
    ///
    /// # Errors
    /// When a setting is invalid.
    pub fn from_settings(name: &'static str, settings: &Settings) -> Result<Self, SettingError> {
        let callers = Callers::from_settings(name, settings)?;
        let metrics = settings.parsed("METRICS", true, "`true` or `false`")?;
        Ok(Self { metrics, ..Self::new(callers, Limits::from_settings(settings)?) })
    }

    /// Verifies the tokens of callers; without it every token is refused.
    pub fn with_tokens(self, tokens: Tokens) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// Adds `/healthz`, `/readyz`, `/metrics` and all layers to a router. `/readyz` asks
    /// `database`; a service without a database is ready while it serves.
    pub fn around(self, router: Router, database: Option<Database>) -> Router {
        let ready = move || async move { readyz(database.as_ref()).await };
        let Self { callers, limits, tokens, metrics } = self;
        let numbers = Metrics::new();
        let router = if metrics {
            let numbers = numbers.clone();
            router.route("/metrics", get(async move || numbers.answer()))
        } else {
            router
        };
        router
            .route("/healthz", get(async || Json(serde_json::json!({"status": "alive"}))))
            .route("/readyz", get(ready))
            .fallback(problem::no_such_path)
            .method_not_allowed_fallback(problem::no_such_method)
            // One `layer` of all: each call of it would box the routes once more, and every layer
            // clones what it surrounds for each request. The first is the outermost.
            .layer((
                middleware::from_fn_with_state(numbers, context::trace),
                middleware::from_fn_with_state(callers.clone(), callers::check),
                option_layer(callers.open_owners().then(cross_origin)),
                middleware::from_fn_with_state(limits, limits::enforce),
                middleware::map_response(problem::unify),
                middleware::from_fn(panics::catch),
                middleware::from_fn(problem::reject_unusable),
                middleware::from_fn(tags::skip_known),
                option_layer(tokens.map(Extension)),
            ))
    }
}

async fn readyz(database: Option<&Database>) -> Response {
    let ready = || Json(serde_json::json!({"status": "ready"})).into_response();
    let Some(database) = database else { return ready() };
    match tokio::time::timeout(READY_TIME, database.ping()).await {
        Ok(Ok(())) => ready(),
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
        .expose_headers([ETAG, LINK, LOCATION, RETRY_AFTER, context::REQUEST_ID] as [HeaderName; 5])
        .max_age(Duration::from_secs(3600))
}
