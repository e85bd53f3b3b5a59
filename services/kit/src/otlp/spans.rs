//! The spans of requests and calls, with the ids of [`RequestContext`].
//!
//! The sampler decides by the trace and the caller; a trace that it leaves out is not exported.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks, SpanProcessor as _};
use reqwest::Url;

use super::EXPORT;
use crate::context::RequestContext;
use crate::metrics;

/// Whether spans are exported.
pub(crate) fn records_spans() -> bool {
    EXPORT.get().is_some_and(|export| export.spans.is_some())
}

/// The context that gives exported log lines the ids of a request; `None` if no log is exported.
pub(crate) fn log_context(request: &RequestContext) -> Option<Context> {
    EXPORT.get()?.logs.as_ref()?;
    Some(Context::new().with_remote_span_context(span_context(request)?))
}

/// Exports the span of a request that was answered just now.
pub(crate) fn record_request(
    request: &RequestContext,
    method: &Method,
    (path, route): (&str, &str),
    status: StatusCode,
    time: Duration,
) {
    let mut attributes = attributes(method, Some(status));
    attributes.push(KeyValue::new("url.scheme", "http"));
    attributes.push(KeyValue::new("url.path", path.to_owned()));
    let mut name = metrics::known_method(method).unwrap_or("HTTP").to_owned();
    if !route.is_empty() {
        name = format!("{name} {route}");
        attributes.push(KeyValue::new("http.route", route.to_owned()));
    }
    let id: StringValue = request.request_id().to_owned().into();
    attributes
        .push(KeyValue::new("http.request.header.x-request-id", Value::Array(vec![id].into())));
    // A mistake of the caller is no failure of the service.
    let failed = status.is_server_error();
    export(request, SpanKind::Server, name, attributes, failed, time);
}

/// A call to another service. While spans are exported, it is a span of its own between the two
/// requests.
#[derive(Debug)]
pub(crate) struct CallSpan<'a> {
    context: Cow<'a, RequestContext>,
    method: Method,
    url: Url,
    begin: Instant,
}

impl<'a> CallSpan<'a> {
    /// Begins a call for the request of `context`.
    pub(crate) fn begin(context: &'a RequestContext, method: Method, url: Url) -> Self {
        let context =
            if records_spans() { Cow::Owned(context.child()) } else { Cow::Borrowed(context) };
        Self { context, method, url, begin: Instant::now() }
    }

    /// The headers of the call.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.context.headers()
    }

    /// Exports the span; no status means no answer.
    pub(crate) fn end(&self, status: Option<StatusCode>) {
        let Cow::Owned(context) = &self.context else { return };
        let mut attributes = attributes(&self.method, status);
        attributes.push(KeyValue::new("url.full", self.url.to_string()));
        if let Some(host) = self.url.host_str() {
            attributes.push(KeyValue::new("server.address", host.to_owned()));
        }
        if let Some(port) = self.url.port_or_known_default() {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
        let failed = status.is_none_or(|status| status.as_u16() >= 400);
        let name = metrics::known_method(&self.method).unwrap_or("HTTP").to_owned();
        export(context, SpanKind::Client, name, attributes, failed, self.begin.elapsed());
    }
}

/// The attributes that all spans have.
fn attributes(method: &Method, status: Option<StatusCode>) -> Vec<KeyValue> {
    let method = metrics::known_method(method).unwrap_or(metrics::OTHER_METHOD);
    let mut attributes = vec![KeyValue::new("http.request.method", method)];
    match status {
        Some(status) => {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status.as_u16())))
        }
        None => attributes.push(KeyValue::new("error.type", "no answer")),
    }
    attributes
}

fn export(
    context: &RequestContext,
    span_kind: SpanKind,
    name: String,
    attributes: Vec<KeyValue>,
    failed: bool,
    time: Duration,
) {
    let Some(spans) = EXPORT.get().and_then(|export| export.spans.as_ref()) else { return };
    let Some(span_context) = span_context(context).filter(SpanContext::is_sampled) else { return };
    let parent = context.parent.as_deref().and_then(|id| SpanId::from_hex(id).ok());
    let end_time = SystemTime::now();
    spans.processor.on_end(SpanData {
        span_context,
        parent_span_id: parent.unwrap_or(SpanId::INVALID),
        parent_span_is_remote: span_kind == SpanKind::Server,
        span_kind,
        name: name.into(),
        start_time: end_time.checked_sub(time).unwrap_or(end_time),
        end_time,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: InstrumentationScope::builder("kit").build(),
    });
}

/// The ids of a request; `None` never happens, because they are checked when they are read.
fn span_context(context: &RequestContext) -> Option<SpanContext> {
    let flags = u8::from_str_radix(&context.flags, 16).ok()?;
    let state = context.state.as_ref().and_then(|state| state.to_str().ok()?.parse().ok());
    Some(SpanContext::new(
        TraceId::from_hex(&context.trace_id).ok()?,
        SpanId::from_hex(&context.span_id).ok()?,
        TraceFlags::new(flags),
        false,
        state.unwrap_or_default(),
    ))
}
