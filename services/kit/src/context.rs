//! Request ids and W3C trace context, forwarded from service to service, and the access log.
//!
//! The ids appear in the log lines and in forwarded headers. [`otlp`] exports spans with them.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::trace::FutureExt as _;
use tracing::Instrument as _;

use crate::metrics::Metrics;
use crate::once::IDEMPOTENCY_KEY;
use crate::otlp;

/// The header of the request id, in requests and answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// A longer id is replaced, because every log line of the request contains it.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// The identity of one request, forwarded with every call made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    request_id: HeaderValue,
    /// 32 hexadecimal digits, the same in all services that handle the request.
    pub(crate) trace_id: String,
    /// 16 hexadecimal digits: this service's part of the trace.
    pub(crate) span_id: String,
    /// The `span_id` of the caller; none if this service starts the trace.
    pub(crate) parent: Option<String>,
    pub(crate) flags: String,
    pub(crate) state: Option<HeaderValue>,
    /// The caller's token, for services that act for the same person.
    authorization: Option<HeaderValue>,
    /// Of the calls, not of the request itself.
    idempotency_key: Option<HeaderValue>,
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Self>().cloned();
        Ok(known.unwrap_or_else(|| Self::from_headers(&parts.headers)))
    }
}

impl RequestContext {
    /// A new context, which starts a trace.
    pub fn start() -> Self {
        Self::from_headers(&HeaderMap::new())
    }

    /// The context in a caller's headers. Missing and malformed parts are generated.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let request_id = headers.get(REQUEST_ID).filter(|id| is_request_id(id)).cloned();
        let parent = headers.get(TRACE_PARENT).and_then(|value| parse_parent(value.to_str().ok()?));
        let state = headers.get(TRACE_STATE).filter(|_| parent.is_some()).cloned();
        let (trace_id, parent, flags) = match parent {
            Some((trace_id, span_id, flags)) => (trace_id, Some(span_id), flags),
            None => (random_hex() + &random_hex(), None, "01".to_owned()),
        };
        let caller = parent.as_deref().map(|span| (span, &*flags));
        let flags = otlp::sampled_flags(&trace_id, caller).unwrap_or(flags);
        let request_id = request_id
            .or_else(|| HeaderValue::from_str(&random_hex()).ok())
            .unwrap_or_else(|| HeaderValue::from_static("none"));
        let authorization = headers.get(AUTHORIZATION).cloned();
        let span_id = random_hex();
        let idempotency_key = None;
        Self { request_id, trace_id, span_id, parent, flags, state, authorization, idempotency_key }
    }

    /// A part of the trace below this one.
    pub(crate) fn child(&self) -> Self {
        Self { span_id: random_hex(), parent: Some(self.span_id.clone()), ..self.clone() }
    }

    /// The headers for a call made for this request.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, self.request_id.clone());
        let parent = format!("00-{}-{}-{}", self.trace_id, self.span_id, self.flags);
        if let Ok(parent) = HeaderValue::from_str(&parent) {
            headers.insert(TRACE_PARENT, parent);
        }
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(state) = &self.state {
            headers.insert(TRACE_STATE, state.clone());
        }
        if let Some(key) = &self.idempotency_key {
            headers.insert(IDEMPOTENCY_KEY, key.clone());
        }
        headers
    }

    /// The same request with this secret as `Authorization: Bearer SECRET`.
    pub fn with_bearer(self, secret: &str) -> Self {
        let value = HeaderValue::from_str(&format!("Bearer {secret}")).ok();
        let authorization = value.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self { authorization, ..self }
    }

    /// The same request for a call that may be repeated with this `Idempotency-Key`.
    pub fn with_idempotency_key(self, key: &str) -> Self {
        Self { idempotency_key: HeaderValue::from_str(key).ok(), ..self }
    }

    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or("none")
    }
}

/// Adds the context to each request, writes one log line with the answer, counts it, and exports
/// its span.
pub(crate) async fn trace(
    State(metrics): State<Metrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let context = RequestContext::from_headers(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!(
        "request",
        request_id = context.request_id(),
        trace_id = context.trace_id
    );
    let request_id = context.request_id.clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let exported = otlp::log_context(&context);
    let recorded = otlp::records_spans().then(|| context.clone());
    request.extensions_mut().insert(context);
    let answer = async move {
        let _active = metrics.begin();
        let started = Instant::now();
        let mut response = next.run(request).await;
        response.headers_mut().insert(REQUEST_ID, request_id);
        let (status, elapsed) = (response.status(), started.elapsed());
        let route = route.as_ref().map_or("", MatchedPath::as_str);
        metrics.record(route, &method, status, elapsed);
        // A number in JSON, unlike one of 128 bits.
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let code = status.as_u16();
        // Frequent and uninteresting while they succeed.
        if matches!(path.as_str(), "/healthz" | "/readyz" | "/metrics") && code < 400 {
            tracing::debug!(%method, path, status = code, elapsed_us, "answered");
        } else {
            tracing::info!(%method, path, status = code, elapsed_us, "answered");
            if let Some(context) = &recorded {
                otlp::record_request(context, &method, (&path, route), status, elapsed);
            }
        }
        response
    }
    .instrument(span);
    match exported {
        Some(exported) => answer.with_context(exported).await,
        None => answer.await,
    }
}

fn is_request_id(id: &HeaderValue) -> bool {
    !id.is_empty()
        && id.len() <= MAX_REQUEST_ID_BYTES
        && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// Trace id, span id and flags of a well-formed `traceparent`.
fn parse_parent(value: &str) -> Option<(String, String, String)> {
    let mut parts = value.trim().split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2)
        && trace.bytes().any(|digit| digit != b'0')
        && span.bytes().any(|digit| digit != b'0');
    well_formed.then(|| (trace.to_owned(), span.to_owned(), flags.to_owned()))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// 64 random bits. Ids need no secrecy, so the standard library's random hash keys are enough and
/// save a dependency.
pub(crate) fn random_hex() -> String {
    let number = RandomState::new().build_hasher().finish();
    format!("{:016x}", number.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn context(pairs: &[(&'static str, &str)]) -> RequestContext {
        let headers = pairs.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        RequestContext::from_headers(&headers.collect())
    }

    #[test]
    fn trace_is_forwarded_with_own_span() {
        let received = context(&[("traceparent", PARENT), ("tracestate", "a=b")]);
        assert_eq!(received.parent.as_deref(), Some("b7ad6b7169203331"));
        let sent = received.headers();
        let parent = sent[TRACE_PARENT].to_str().unwrap();
        assert!(parent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{parent}");
        assert!(!parent.contains("b7ad6b7169203331"), "{parent}");
        assert!(parent.ends_with("-01"), "{parent}");
        assert_eq!(sent[TRACE_STATE], "a=b");
    }

    #[test]
    fn malformed_trace_is_replaced() {
        for wrong in ["", "00-0af-b7ad-01", "ff-x", &PARENT.replace("0af7", "0AF7")] {
            let made = context(&[("traceparent", wrong)]);
            assert!(is_hex(&made.trace_id, 32), "{wrong}");
            assert_ne!(made.trace_id, "0af7651916cd43dd8448eb211c80319c");
        }
    }

    #[test]
    fn request_id_is_kept_or_generated() {
        assert_eq!(context(&[("x-request-id", "abc-1")]).headers()[REQUEST_ID], "abc-1");
        let (first, second) = (RequestContext::start(), RequestContext::start());
        assert_ne!(first.request_id, second.request_id);
        assert_ne!(first.request_id(), first.trace_id);
        let long = "x".repeat(129);
        assert_ne!(context(&[("x-request-id", &long)]).request_id(), long);
    }
}
