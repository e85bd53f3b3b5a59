//! The export by OTLP: what a receiver gets, and that callers and stops do not notice one that
//! hangs or refuses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::support::{Connection, Run, Stack, TIMEOUT};

/// With these, each request soon begins an export, and a queue is full after a few requests.
const VARIABLES: [(&str, &str); 6] = [
    ("RUST_LOG", "info"),
    ("OTEL_BSP_SCHEDULE_DELAY", "5"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "5"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "5"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", "10"),
];

/// The limit of an answer and of a stop. An export waits for ten seconds, a stop for one.
const LIMIT: Duration = Duration::from_secs(3);

/// A stack that exports to this socket.
fn exporting_to(receiver: &TcpListener) -> Stack {
    let mut stack = Stack::new();
    let endpoint = format!("http://{}", receiver.local_addr().unwrap());
    stack.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
    stack.variables.extend(VARIABLES.map(|(name, value)| (name, value.to_owned())));
    stack
}

/// Sends requests until `enough`, and returns the longest time of an answer.
fn slowest(stack: &Stack, mut enough: impl FnMut() -> bool) -> Duration {
    let mut connection = Connection::open(stack.address).unwrap();
    let (begin, mut slowest, mut requests) = (Instant::now(), Duration::ZERO, 0);
    while requests < 100 || !enough() {
        assert!(begin.elapsed() < TIMEOUT, "nothing is exported");
        let sent = Instant::now();
        assert_eq!(connection.ask("GET /lists", "", "").unwrap().status, 200);
        slowest = slowest.max(sent.elapsed());
        requests += 1;
    }
    slowest
}

/// Stops the run and returns how long that took.
fn stop(run: Run) -> Duration {
    let begin = Instant::now();
    run.signal(libc::SIGTERM);
    assert!(run.wait().success());
    begin.elapsed()
}

/// The path and the body of an export.
type Export = (String, Vec<u8>);

/// Answers the next export of a connection; `None` at its end.
fn receive(mut stream: &TcpStream, received: &Sender<Export>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        reader.read_until(b'\n', &mut head).ok().filter(|length| *length > 0)?;
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let (_, length) = head.split_once("content-length: ")?;
    let mut body = vec![0; length.lines().next()?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    received.send((head.split(' ').nth(1)?.to_owned(), body)).ok()?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

/// Whether an export to `path` contains `text`.
fn contain(exports: &[Export], path: &str, text: &str) -> bool {
    let mut bodies = exports.iter().filter(|(to, _)| to == path).map(|(_, body)| body);
    bodies.any(|body| body.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn sampler_decides_which_spans_arrive() {
    // A new trace, one that the caller exports, and one that it does not.
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-";
    let requests = [
        ("of-none", String::new()),
        ("of-exported", format!("{parent}01\r\n")),
        ("of-ignored", format!("{parent}00\r\n")),
    ];
    for (sampler, argument, expected) in [
        ("", "", [true, true, false]),
        ("always_on", "", [true; 3]),
        ("always_off", "", [false; 3]),
        ("traceidratio", "1.0", [true; 3]),
        ("traceidratio", "0.0", [false; 3]),
        ("parentbased_traceidratio", "0.0", [false, true, false]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stack = exporting_to(&listener);
        stack.variables.push(("OTEL_TRACES_SAMPLER", sampler.to_owned()));
        stack.variables.push(("OTEL_TRACES_SAMPLER_ARG", argument.to_owned()));
        let (sender, received) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || while receive(&stream, &sender).is_some() {});
            }
        });
        let run = stack.start_with(Stdio::null());
        run.wait_ready();
        let mut connection = Connection::open(stack.address).unwrap();
        for (id, headers) in &requests {
            let headers = format!("X-Request-Id: {id}\r\n{headers}");
            assert_eq!(connection.ask("GET /lists", &headers, "").unwrap().status, 200);
        }
        let seen =
            |exports: &[Export], path| requests.clone().map(|(id, _)| contain(exports, path, id));
        let (mut exports, begin) = (Vec::new(), Instant::now());
        while seen(&exports, "/v1/traces") != expected
            || seen(&exports, "/v1/logs") != [true; 3]
            || !contain(&exports, "/v1/metrics", "http.server.request.duration")
        {
            // Numbers arrive every few milliseconds, whatever else does.
            let spans = seen(&exports, "/v1/traces");
            assert!(begin.elapsed() < TIMEOUT, "{sampler} {argument}: {spans:?}");
            exports.push(received.recv_timeout(TIMEOUT).unwrap());
        }
        // A stop exports what is left.
        stop(run);
        exports.extend(received.try_iter());
        assert_eq!(seen(&exports, "/v1/traces"), expected, "{sampler} {argument}");
    }
}

#[test]
fn hanging_receiver_delays_no_answer_and_no_stop() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let mut stack = exporting_to(&receiver);
    let run = stack.start_with(Stdio::null());
    run.wait_ready();
    // Spans, numbers and lines have a connection each, on which nothing is answered.
    let mut hanging = Vec::new();
    let slowest = slowest(&stack, || {
        hanging.extend(receiver.accept());
        hanging.len() == 3
    });
    assert!(slowest < LIMIT, "{slowest:?}");
    let stopped = stop(run);
    assert!(stopped < LIMIT, "{stopped:?}");
}

#[test]
fn refusing_receiver_is_one_warning() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stack = exporting_to(&receiver);
    let refused = Arc::<AtomicUsize>::default();
    let counted = refused.clone();
    std::thread::spawn(move || {
        for mut stream in receiver.incoming().flatten() {
            // The head and the body of one request are shorter than this, or are sent in vain.
            let length = stream.read(&mut [0; 65536]).unwrap_or(0);
            let answer = "HTTP/1.1 503 Away\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            if length > 0 && stream.write_all(answer.as_bytes()).is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let log = tempfile::NamedTempFile::new().unwrap();
    let run = stack.start_with(log.reopen().unwrap());
    run.wait_ready();
    let slowest = slowest(&stack, || refused.load(Ordering::Relaxed) >= 10);
    assert!(slowest < LIMIT, "{slowest:?}");
    let stopped = stop(run);
    assert!(stopped < LIMIT, "{stopped:?}");
    let text = std::fs::read_to_string(log.path()).unwrap();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("failed to export")).collect();
    assert_eq!(warnings.len(), 1, "{text}");
    assert!(warnings[0].contains("answer 503 Service Unavailable"), "{text}");
}

#[test]
fn unsupported_endpoint_is_a_warning_and_serves() {
    let mut stack = Stack::new();
    stack.variables.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example".to_owned()));
    let log = tempfile::NamedTempFile::new().unwrap();
    let run = stack.start_with(log.reopen().unwrap());
    run.wait_ready();
    stop(run);
    let text = std::fs::read_to_string(log.path()).unwrap();
    let warning = "failed to start the export by OTLP: `OTEL_EXPORTER_OTLP_ENDPOINT` is \
                   `https://collector.example`, expected an address";
    assert_eq!(text.matches(warning).count(), 1, "{text}");
}
