//! Export of spans, numbers and logs by OTLP, when the standard variables name an endpoint.
//!
//! It exports what the service has anyway: the ids of [`RequestContext`], the numbers of
//! `/metrics`, and the lines of the log. Batches, bounded queues and their threads are those of
//! `opentelemetry_sdk`; what does not fit into a queue is dropped. So a receiver that is slow or
//! away delays no request, and a stop by [`FLUSH_TIME`] at most. Without an endpoint nothing is
//! started.
//!
//! gRPC, JSON, TLS and compression are not supported: they would be a second HTTP stack.

mod config;
mod sampling;
mod spans;
mod transport;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use opentelemetry_otlp::{ExporterBuildError, LogExporter, MetricExporter, SpanExporter};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SpanProcessor as _};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::context;
use crate::settings::Settings;
use config::{LOGS, METRICS, Receiver, Signal, TRACES};
use transport::{Transport, Warnings};

pub(crate) use spans::{CallSpan, log_context, record_request, records_spans};

/// How long a stop waits for the last batches. With the limit of a drain it is shorter than the
/// time that a supervisor usually waits before it kills.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// What the export itself logs at `debug`. It is not exported, because that would never end.
const OWN_TARGETS: [&str; 4] = ["hyper", "hyper_util", "opentelemetry", "reqwest"];

/// The export of this process; empty while no variable names an endpoint.
static EXPORT: OnceLock<Export> = OnceLock::new();

/// A processor of the SDK, and whether its last batch failed.
#[derive(Debug)]
struct Sink<P> {
    processor: P,
    failing: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Export {
    spans: Option<Sink<BatchSpanProcessor>>,
    metrics: Option<Sink<SdkMeterProvider>>,
    logs: Option<Sink<SdkLoggerProvider>>,
    sampler: Option<Sampler>,
}

/// A program: the values of `service.name` and `service.version`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: Option<&'static str>,
}

/// Starts the export of each signal that has an endpoint. Variables that do not fit are warnings,
/// since they are often set for all programs of a machine.
pub(crate) fn start(program: Program, settings: &Settings, runtime: &Handle) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut receiver = |signal: &Signal| {
        config::receiver(signal, settings).unwrap_or_else(|error| {
            let warning = format!("failed to start the export by OTLP: {error}");
            // Often one variable is wrong for all signals.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
            None
        })
    };
    let [traces, metrics, logs] = [&TRACES, &METRICS, &LOGS].map(&mut receiver);
    if traces.is_none() && metrics.is_none() && logs.is_none() {
        return warnings;
    }
    let sampler = sampling::sampler(settings).unwrap_or_else(|error| {
        warnings.push(format!("exporting traces as without a sampler: {error}"));
        sampling::default()
    });
    let resource = resource(program, settings);
    let shared = Warnings::default();
    let connect = |signal: &Signal, receiver: &Receiver| {
        Transport::new(signal.name, receiver.time, runtime.clone(), shared.clone())
    };
    let build = || -> Result<Export, ExporterBuildError> {
        let mut export = Export { sampler: Some(sampler), ..Export::default() };
        if let Some(receiver) = &traces {
            let (transport, failing) = connect(&TRACES, receiver);
            let exporter = SpanExporter::builder().with_http().with_timeout(receiver.time);
            let mut processor =
                BatchSpanProcessor::builder(exporter.with_http_client(transport).build()?).build();
            processor.set_resource(&resource);
            export.spans = Some(Sink { processor, failing });
        }
        if let Some(receiver) = &metrics {
            let (transport, failing) = connect(&METRICS, receiver);
            let exporter = MetricExporter::builder().with_http().with_timeout(receiver.time);
            let processor = SdkMeterProvider::builder()
                .with_resource(resource.clone())
                .with_periodic_exporter(exporter.with_http_client(transport).build()?)
                .build();
            export.metrics = Some(Sink { processor, failing });
        }
        if let Some(receiver) = &logs {
            let (transport, failing) = connect(&LOGS, receiver);
            let exporter = LogExporter::builder().with_http().with_timeout(receiver.time);
            let processor = SdkLoggerProvider::builder()
                .with_resource(resource.clone())
                .with_batch_exporter(exporter.with_http_client(transport).build()?)
                .build();
            export.logs = Some(Sink { processor, failing });
        }
        Ok(export)
    };
    match build() {
        Ok(export) => drop(EXPORT.set(export)),
        Err(error) => warnings.push(format!("failed to start the export by OTLP: {error}")),
    }
    warnings
}

/// The attributes of everything that this process exports. The variables override our defaults.
fn resource(program: Program, settings: &Settings) -> Resource {
    let instance = context::random_hex() + &context::random_hex();
    let mut own = vec![
        KeyValue::new("service.name", program.name),
        KeyValue::new("service.instance.id", instance),
    ];
    own.extend(program.version.map(|version| KeyValue::new("service.version", version)));
    let resource = Resource::builder_empty().with_attributes(own).with_detectors(&[
        Box::new(TelemetryResourceDetector),
        Box::new(EnvResourceDetector::new()),
    ]);
    match settings.variable("OTEL_SERVICE_NAME") {
        Ok(Some(name)) => resource.with_service_name(name).build(),
        Ok(None) | Err(_) => resource.build(),
    }
}

/// The layer that exports the lines that `filter` lets pass, if logs are exported.
pub(crate) fn log_layer<S>(filter: &Targets) -> Option<Box<dyn Layer<S> + Send + Sync>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let logs = EXPORT.get()?.logs.as_ref()?;
    let request_id = TracingSpanAttributes::allowlist(["request_id"]);
    let bridge = OpenTelemetryTracingBridge::builder(&logs.processor)
        .with_tracing_span_attributes(request_id)
        .build();
    let own = OWN_TARGETS.map(|target| (target, LevelFilter::OFF));
    Some(bridge.with_filter(filter.clone().with_targets(own)).boxed())
}

/// The flags of a request in this trace, if spans are exported. `parent` has the span and the flags
/// of the caller.
pub(crate) fn sampled_flags(trace: &str, parent: Option<(&str, &str)>) -> Option<String> {
    let export = EXPORT.get().filter(|export| export.spans.is_some())?;
    sampling::flags(export.sampler.as_ref()?, trace, parent)
}

/// The instruments of this process, if metrics are exported.
pub(crate) fn meter() -> Option<Meter> {
    Some(EXPORT.get()?.metrics.as_ref()?.processor.meter("kit"))
}

/// Exports what is left, for [`FLUSH_TIME`] at most. A receiver that did not take the last batch
/// gets no other one.
pub(crate) fn stop() {
    let Some(Export { spans, metrics, logs, .. }) = EXPORT.get() else { return };
    // No message is sent: the channel closes when the last thread drops its sender.
    let (open, closed) = mpsc::channel::<()>();
    fn flush<P: Sync>(
        sink: &'static Option<Sink<P>>,
        open: &mpsc::Sender<()>,
        shutdown: fn(&P) -> bool,
    ) {
        let Some(sink) = sink else { return };
        if sink.failing.load(Ordering::Relaxed) {
            return;
        }
        let open = open.clone();
        // Without a thread the last batch is lost.
        drop(std::thread::Builder::new().spawn(move || {
            shutdown(&sink.processor);
            drop(open);
        }));
    }
    flush(spans, &open, |processor| processor.shutdown().is_ok());
    flush(metrics, &open, |processor| processor.shutdown().is_ok());
    flush(logs, &open, |processor| processor.shutdown().is_ok());
    drop(open);
    closed.recv_timeout(FLUSH_TIME).ok();
}
