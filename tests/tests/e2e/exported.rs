//! Spans, numbers and logs that the services export by OTLP, at a receiver of the test.

use e2e::receiver::{Exports, Line, Receiver, Span, attribute};
use e2e::{Api, Application};

const PARENT: &str = "00f067aa0ba902b7";

/// The kinds of spans.
const REQUEST: i32 = 2;
const CALL: i32 = 3;

/// The application, exporting to the receiver.
fn exporting(stack: &'static str, receiver: &Receiver) -> Application {
    let application = Application::new(stack);
    let arguments = receiver.arguments();
    let up =
        ["up", "-d", "--ports", "auto", "-e", "OTEL_EXPORTER_OTLP_HEADERS=authorization=A%20B"];
    let arguments = up.into_iter().chain(arguments.iter().map(String::as_str));
    application.done(&arguments.collect::<Vec<_>>());
    application
}

/// A request with the trace of a caller, whose flags tell whether it is exported.
async fn traced(api: &Api, path: &str, trace: &str, flags: &str) -> u16 {
    let request = api.request("GET", path).header("cookie", "session=unknown");
    let request = request.header("x-request-id", format!("id-{trace}"));
    let request = request.header("traceparent", format!("00-{trace}-{PARENT}-{flags}"));
    api.send(request).await.status
}

/// The span of this trace, service and kind below `parent`.
fn span(receiver: &Receiver, trace: &str, service: &str, kind: i32, parent: &str) -> Span {
    let found = |span: &&Span| {
        span.trace == trace && span.service == service && span.kind == kind && span.parent == parent
    };
    let what = format!("a span of `{service}` of kind {kind} below {parent} in {trace}");
    receiver.wait_for(&what, |exports| exports.spans.iter().find(found).cloned())
}

#[tokio::test]
async fn services_export_traces_metrics_and_logs() {
    let receiver = Receiver::start();
    let application = exporting("exported", &receiver);
    for (caller, path, callee, route) in [
        ("users", "/users/aniket/lists", "todo", "/lists/{username}"),
        ("web", "/", "users", "/session"),
    ] {
        let unique = u128::from(std::process::id()) << 16 | (path.len() as u128) << 8;
        let [ignored, trace] = [0, 1].map(|number| format!("{:032x}", unique | number));
        traced(&application.api(caller), path, &ignored, "00").await;
        traced(&application.api(caller), path, &trace, "01").await;
        let first = span(&receiver, &trace, caller, REQUEST, PARENT);
        let call = span(&receiver, &trace, caller, CALL, &first.id);
        let second = span(&receiver, &trace, callee, REQUEST, &call.id);
        assert_eq!(second.name, format!("GET {route}"));
        assert_eq!(attribute(&second.attributes, "http.route"), route);
        let id = format!("id-{trace}");
        assert_eq!(attribute(&second.attributes, "http.request.header.x-request-id"), id);

        let line_of = |trace: &str| {
            let about = |line: &&Line| line.trace == trace && line.service == callee;
            let find = |exports: &Exports| exports.lines.iter().find(about).cloned();
            receiver.wait_for("the line of the access log", find)
        };
        let line = line_of(&trace);
        assert_eq!((line.span, line.text.as_str()), (second.id, "answered"));
        assert_eq!(attribute(&line.attributes, "request_id"), id);
        assert_eq!(attribute(&line.attributes, "method"), "GET");

        // Its spans would have arrived before those of the second request.
        assert_eq!(line_of(&ignored).text, "answered");
        let is_ignored = |exports: &Exports| exports.spans.iter().all(|span| span.trace != ignored);
        assert!(receiver.wait_for("spans", |exports| Some(is_ignored(exports))), "{ignored}");
    }
    let secret = |exports: &Exports| exports.secrets.first().cloned();
    assert_eq!(receiver.wait_for("a request with a header", secret), "A B");

    let todo = application.api("todo");
    for _ in 0..3 {
        todo.get("/lists/aniket").await.expect(200);
    }
    let page = todo.get("/metrics").await.expect(200).text;
    let labels = "{route=\"/lists/{username}\",method=\"GET\",status=\"200\"";
    let numbers = |name: &str| -> Vec<f64> {
        let start = format!("http_server_request_duration_seconds_{name}{labels}");
        let lines = page.lines().filter_map(|line| line.strip_prefix(&start));
        lines.map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
    };
    let (below, count, sum) = (numbers("bucket"), numbers("count")[0], numbers("sum")[0]);
    let exported = receiver.wait_for("the numbers of `/metrics`", |exports| {
        let mut times = exports.times.iter().rev().filter(|times| times.service == "todo");
        let is_route = |name, value| move |times: &_| attribute(times, name) == value;
        let times = times.find(|times| {
            is_route("http.route", "/lists/{username}")(&times.attributes)
                && is_route("http.response.status_code", "200")(&times.attributes)
        })?;
        (times.numbers.count as f64 == count).then(|| times.numbers.clone())
    });
    assert!((exported.sum.unwrap() - sum).abs() < 1e-9, "{exported:?} and {sum}");
    let mut total = 0;
    let cumulative = exported.bucket_counts.iter().map(|bucket| {
        total += bucket;
        total as f64
    });
    assert_eq!(cumulative.collect::<Vec<_>>(), below);
}
