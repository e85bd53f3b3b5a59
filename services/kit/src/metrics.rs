//! Numbers about the requests of this process, in the text format of Prometheus, at `/metrics`.
//!
//! The same numbers are exported by OTLP, under the names of OpenTelemetry's conventions.
//!
//! Labels have few values: the pattern of a route instead of a path, and known methods only. The
//! numbers start at zero with each process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use opentelemetry::KeyValue;

use crate::otlp;

/// The upper bounds of the histogram's buckets, in seconds.
const BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// A method outside of [`METHODS`], in what is exported.
pub(crate) const OTHER_METHOD: &str = "_OTHER";

/// The numbers of one process.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    started: SystemTime,
    active: AtomicI64,
    requests: Mutex<BTreeMap<Labels, Histogram>>,
    /// The times of `requests`, if metrics are exported.
    exported: Option<opentelemetry::metrics::Histogram<f64>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Default)]
struct Histogram {
    /// Requests by bucket; those above every bound are only in `count`.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

/// A request that is being answered. A caller that leaves ends it, too.
pub(crate) struct Active(Metrics);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let (started, active) = (SystemTime::now(), AtomicI64::new(0));
        let meter = otlp::meter();
        let exported = meter.as_ref().map(|meter| {
            let histogram = meter.f64_histogram("http.server.request.duration").with_unit("s");
            let histogram = histogram.with_description("The time until an answer began.");
            histogram.with_boundaries(BOUNDS.to_vec()).build()
        });
        let requests = Mutex::default();
        let numbers = Arc::new(Numbers { started, active, requests, exported });
        if let Some(meter) = meter {
            let numbers = numbers.clone();
            meter
                .i64_observable_up_down_counter("http.server.active_requests")
                .with_unit("{request}")
                .with_description("Requests that are being answered.")
                .with_callback(move |seen| {
                    seen.observe(numbers.active.load(Ordering::Relaxed), &[])
                })
                .build();
        }
        Self(numbers)
    }

    /// Counts a request as active until the result is dropped.
    pub(crate) fn begin(&self) -> Active {
        self.0.active.fetch_add(1, Ordering::Relaxed);
        Active(self.clone())
    }

    /// Records an answer. `route` is the pattern of the path; empty if no route matches.
    pub(crate) fn record(&self, route: &str, method: &Method, status: StatusCode, time: Duration) {
        let known = known_method(method);
        if let Some(exported) = &self.0.exported {
            let attributes = [
                KeyValue::new("http.request.method", known.unwrap_or(OTHER_METHOD)),
                KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
                KeyValue::new("http.route", route.to_owned()),
                KeyValue::new("url.scheme", "http"),
            ];
            exported.record(time.as_secs_f64(), &attributes);
        }
        let method = known.unwrap_or("other");
        let labels = Labels { route: route.to_owned(), method, status: status.as_u16() };
        let seconds = time.as_secs_f64();
        let mut requests = self.requests();
        let histogram = requests.entry(labels).or_default();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            histogram.buckets[bucket] += 1;
        }
        histogram.count += 1;
        histogram.seconds += seconds;
    }

    /// The answer to `GET /metrics`.
    pub(crate) fn answer(&self) -> Response {
        ([(CONTENT_TYPE, "text/plain; version=0.0.4")], self.text()).into_response()
    }

    fn text(&self) -> String {
        let started = self.0.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let active = self.0.active.load(Ordering::Relaxed);
        let mut text = format!(
            "# HELP process_start_time_seconds When the process started, since 1970.\n\
             # TYPE process_start_time_seconds gauge\n\
             process_start_time_seconds {}\n\
             # HELP http_server_active_requests Requests that are being answered.\n\
             # TYPE http_server_active_requests gauge\n\
             http_server_active_requests {active}\n\
             # HELP http_server_request_duration_seconds The time until an answer began.\n\
             # TYPE http_server_request_duration_seconds histogram\n",
            started.as_secs()
        );
        for (labels, histogram) in self.requests().iter() {
            write_histogram(&mut text, labels, histogram);
        }
        text
    }

    fn requests(&self) -> MutexGuard<'_, BTreeMap<Labels, Histogram>> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The method, if it is a known one; callers can invent others without end.
pub(crate) fn known_method(method: &Method) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == method.as_str())
}

fn write_histogram(text: &mut String, labels: &Labels, histogram: &Histogram) {
    let Labels { route, method, status } = labels;
    let name = "http_server_request_duration_seconds";
    let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
    let mut below = 0;
    // Writing to a text never fails.
    for (bound, count) in BOUNDS.iter().zip(histogram.buckets) {
        below += count;
        writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}").ok();
    }
    writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", histogram.count).ok();
    writeln!(text, "{name}_sum{{{labels}}} {}", histogram.seconds).ok();
    writeln!(text, "{name}_count{{{labels}}} {}", histogram.count).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_is_cumulative_with_few_labels() {
        let metrics = Metrics::new();
        let unknown = Method::from_bytes(b"BREW").unwrap();
        for (method, millis) in [(&Method::GET, 2), (&Method::GET, 30), (&Method::GET, 9000)] {
            metrics.record("/lists/{list}", method, StatusCode::OK, Duration::from_millis(millis));
        }
        metrics.record("", &unknown, StatusCode::NOT_FOUND, Duration::ZERO);
        let active = metrics.begin();
        let text = metrics.text();
        let name = "http_server_request_duration_seconds";
        let labels = "route=\"/lists/{list}\",method=\"GET\",status=\"200\"";
        for line in [
            format!("{name}_bucket{{{labels},le=\"0.001\"}} 0\n"),
            format!("{name}_bucket{{{labels},le=\"0.0025\"}} 1\n"),
            format!("{name}_bucket{{{labels},le=\"0.05\"}} 2\n"),
            format!("{name}_bucket{{{labels},le=\"+Inf\"}} 3\n"),
            format!("{name}_sum{{{labels}}} 9.032\n"),
            format!("{name}_count{{{labels}}} 3\n"),
            format!("{name}_count{{route=\"\",method=\"other\",status=\"404\"}} 1\n"),
            "http_server_active_requests 1\n".to_owned(),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
        drop(active);
        assert!(metrics.text().contains("http_server_active_requests 0\n"));
    }
}
