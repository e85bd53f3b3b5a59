//! A receiver of OTLP on loopback, which decodes what the services export.
//!
//! It runs in threads of its own, because a test that runs the tool blocks its runtime.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, metric};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

/// The timeout of every wait.
const TIMEOUT: Duration = Duration::from_secs(30);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A receiver that accepts everything.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Received>,
}

#[derive(Debug, Default)]
struct Received {
    exports: Mutex<Exports>,
    more: Condvar,
}

/// What was received, in this order.
#[derive(Debug, Default)]
pub struct Exports {
    /// Spans of requests and calls.
    pub spans: Vec<Span>,
    /// The lines of logs.
    pub lines: Vec<Line>,
    /// The numbers of `http.server.request.duration`.
    pub times: Vec<Times>,
    /// The header `authorization` of each request; empty without one.
    pub secrets: Vec<String>,
}

/// A span. Ids are hexadecimal; the parent of a first span is empty.
#[derive(Clone, Debug)]
pub struct Span {
    /// The service that exported it.
    pub service: String,
    /// The id that all spans of the trace share.
    pub trace: String,
    /// The id of this span alone.
    pub id: String,
    /// The span above it.
    pub parent: String,
    /// The name, such as `GET /lists/{username}`.
    pub name: String,
    /// The number of the kind: 2 is a request, 3 a call.
    pub kind: i32,
    /// The attributes, as text.
    pub attributes: Vec<(String, String)>,
}

/// A line of a log.
#[derive(Clone, Debug)]
pub struct Line {
    /// The service that exported it.
    pub service: String,
    /// The trace of the request that it is about; empty without one.
    pub trace: String,
    /// The span of that request.
    pub span: String,
    /// The message, without its fields.
    pub text: String,
    /// The attributes, as text.
    pub attributes: Vec<(String, String)>,
}

/// The times of requests with the same attributes.
#[derive(Clone, Debug)]
pub struct Times {
    /// The service that exported it.
    pub service: String,
    /// The attributes, as text.
    pub attributes: Vec<(String, String)>,
    /// Count, sum and buckets.
    pub numbers: HistogramDataPoint,
}

impl Receiver {
    /// Listens on a free port until the test process ends.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::<Received>::default();
        let shared = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = shared.clone();
                std::thread::spawn(move || while received.answer(&stream).is_some() {});
            }
        });
        Self { address, received }
    }

    /// The arguments of `up` by which all services export to this receiver, soon.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let endpoint = format!("OTEL_EXPORTER_OTLP_ENDPOINT=http://{}", self.address);
        let soon = ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY"].map(|name| {
            let millis = 50;
            format!("{name}={millis}")
        });
        let metrics = "OTEL_METRIC_EXPORT_INTERVAL=100".to_owned();
        let variables = [endpoint, metrics].into_iter().chain(soon);
        variables.flat_map(|variable| ["-e".to_owned(), variable]).collect()
    }

    /// Waits until `find` finds something in what was received.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&Exports) -> Option<T>) -> T {
        let deadline = Instant::now() + TIMEOUT;
        let mut exports = self.received.exports.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = find(&exports) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} was not exported: {exports:#?}");
            let waited = self.received.more.wait_timeout(exports, left);
            exports = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Received {
    /// Reads a request, decodes its body, and answers; `None` at the end of the connection.
    fn answer(&self, mut stream: &TcpStream) -> Option<()> {
        // Each answer follows a complete request, so the buffer holds nothing of the next one.
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|length| *length > 0)?;
        let (mut length, mut secret) = (0, String::new());
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "authorization" => value.clone_into(&mut secret),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        {
            let mut exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
            exports.add(first.split(' ').nth(1)?, &body);
            exports.secrets.push(secret);
        }
        self.more.notify_all();
        stream.write_all(ANSWER).ok()
    }
}

impl Exports {
    fn add(&mut self, path: &str, body: &[u8]) {
        match path {
            "/v1/traces" => {
                let message = ExportTraceServiceRequest::decode(body).expect("spans");
                for of in message.resource_spans {
                    let service = service(of.resource.as_ref());
                    let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
                    self.spans.extend(spans.map(|span| Span {
                        service: service.clone(),
                        trace: hex(&span.trace_id),
                        id: hex(&span.span_id),
                        parent: hex(&span.parent_span_id),
                        name: span.name,
                        kind: span.kind,
                        attributes: texts(&span.attributes),
                    }));
                }
            }
            "/v1/logs" => {
                let message = ExportLogsServiceRequest::decode(body).expect("lines");
                for of in message.resource_logs {
                    let service = service(of.resource.as_ref());
                    let lines = of.scope_logs.into_iter().flat_map(|scope| scope.log_records);
                    self.lines.extend(lines.map(|line| Line {
                        service: service.clone(),
                        trace: hex(&line.trace_id),
                        span: hex(&line.span_id),
                        text: text(line.body.as_ref()),
                        attributes: texts(&line.attributes),
                    }));
                }
            }
            "/v1/metrics" => {
                let message = ExportMetricsServiceRequest::decode(body).expect("numbers");
                for of in message.resource_metrics {
                    let service = service(of.resource.as_ref());
                    let metrics = of.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
                    for metric in metrics.filter(|m| m.name == "http.server.request.duration") {
                        let Some(metric::Data::Histogram(histogram)) = metric.data else {
                            panic!("{metric:?} is no histogram");
                        };
                        self.times.extend(histogram.data_points.into_iter().map(|numbers| {
                            let attributes = texts(&numbers.attributes);
                            Times { service: service.clone(), attributes, numbers }
                        }));
                    }
                }
            }
            other => panic!("unexpected path {other}"),
        }
    }
}

/// The value of an attribute; empty without it.
#[must_use]
pub fn attribute<'a>(attributes: &'a [(String, String)], name: &str) -> &'a str {
    attributes.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = texts(&resource.expect("a resource").attributes);
    attribute(&attributes, "service.name").to_owned()
}

fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    attributes.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::ArrayValue(list)) => {
            list.values.iter().map(|value| text(Some(value))).collect::<Vec<_>>().join(",")
        }
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
