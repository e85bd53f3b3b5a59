//! Tests of probes with real processes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;

use super::*;

fn http(path: &str, status: &[u16]) -> Probe {
    Probe::Http { path: path.to_owned(), status: status.to_vec(), port: 0 }
}

/// Answers one caller for each of `heads`.
fn serve(listener: TcpListener, heads: &'static [&'static str]) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for head in heads {
            let (mut caller, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(caller.read(&mut request).unwrap() > 0);
            caller.write_all(head.as_bytes()).unwrap();
        }
    })
}

/// Starts a run, and returns a socket and the path of the run's notify socket. A shell cannot send
/// datagrams, so the test sends them.
async fn notifying(fixture: &mut Fixture) -> (UnixDatagram, String) {
    let mut command = shell("echo $NOTIFY_SOCKET; sleep 1000");
    command.notify = true;
    fixture.spawn(1, command, vec![probe(4, Probe::Notify, None)]);
    fixture.until_started().await;
    let log = fixture.folder.path().join("state/logs/a.log");
    until("it printed", || std::fs::metadata(&log).is_ok_and(|log| log.len() > 0)).await;
    (UnixDatagram::unbound().unwrap(), fixture.log()[0].clone())
}

#[test]
fn datagram_reports_readiness_and_status() {
    with_world(async |mut fixture| {
        let (run, path) = notifying(&mut fixture).await;
        run.send_to(b"STATUS=almost\nEXTEND_TIMEOUT_USEC=1000", &path).unwrap();
        run.send_to(b"READY=1\nWATCHDOG=1", &path).unwrap();
        assert!(matches!(fixture.next().await, Event::Status { status, .. } if status == "almost"));
        assert!(
            matches!(fixture.next().await, Event::ExtendTimeout { by, .. } if by.as_millis() == 1)
        );
        assert!(matches!(fixture.next().await, Event::ProbePassed { probe: 4, .. }));
        assert!(matches!(fixture.next().await, Event::WatchdogPing { .. }));
        fixture.signal(1, Signal::Kill);
        fixture.until_gone().await;
        until("the socket is removed", || !std::path::Path::new(&path).exists()).await;
    });
}

#[test]
fn stopping_run_reports_it_and_does_not_become_ready() {
    with_world(async |mut fixture| {
        let (run, path) = notifying(&mut fixture).await;
        run.send_to(b"STOPPING=1", &path).unwrap();
        run.send_to(b"READY=1", &path).unwrap();
        run.send_to(b"STATUS=saving\nSTOPPING=1", &path).unwrap();
        let mut texts = Vec::new();
        while texts.len() < 2 {
            match fixture.next().await {
                Event::Status { status, .. } => texts.push(status),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(texts, ["reports that it is stopping", "saving"]);
        fixture.signal(1, Signal::Kill);
        fixture.until_gone().await;
    });
}

#[test]
fn first_accept_answers_the_queued_request() {
    with_world(async |mut fixture| {
        let number = fixture.bind(vec![port("http")], true).await[0];
        let mut command = shell("sleep 1000");
        command.sockets = vec!["http".to_owned()];
        let mut queued = probe(0, http("/readyz", &[200]), Some(number));
        queued.queued = true;
        fixture.spawn(1, command, vec![queued]);
        // The request is queued before any accept.
        assert_eq!(crate::system::tcp::waiting_callers()[&number], 1);
        // The supervisor's own request does not count as a waiting caller.
        assert_eq!(fixture.world.traffic_query(Vec::new()).run().waiting[&number], 0);
        fixture.until_started().await;
        let listener = fixture.world.sockets.listener(&name());
        let server = serve(listener, &["HTTP/1.1 200 OK\r\n\r\n"]);
        assert_eq!(fixture.until_passed().await, 0);
        server.join().unwrap();
        fixture.signal(1, Signal::Kill);
        fixture.until_gone().await;
    });
}

#[test]
fn wrong_answer_to_queued_request_starts_polling() {
    with_world(async |mut fixture| {
        let number = fixture.bind(vec![port("http")], true).await[0];
        let mut command = shell("sleep 1000");
        command.sockets = vec!["http".to_owned()];
        let mut queued = probe(0, http("/", &[401]), Some(number));
        queued.queued = true;
        fixture.spawn(1, command, vec![queued]);
        let listener = fixture.world.sockets.listener(&name());
        let heads = &["HTTP/1.1 503 Busy\r\n\r\n", "", "HTTP/1.1 401 Unauthorized\r\n\r\n"];
        let server = serve(listener, heads);
        assert_eq!(fixture.until_seen().await, "status 503");
        assert_eq!(fixture.until_seen().await, "connection closed without an answer");
        assert_eq!(fixture.until_passed().await, 0);
        server.join().unwrap();
        fixture.signal(1, Signal::Kill);
    });
}

#[test]
fn other_listener_never_passes_and_is_named() {
    with_world(async |mut fixture| {
        let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = foreign.local_addr().unwrap().port();
        fixture.spawn(1, shell("sleep 1000"), vec![probe(0, Probe::Tcp { port: 0 }, Some(number))]);
        let seen = fixture.until_seen().await;
        let start = format!("port {number} is held by another program: pid {}", std::process::id());
        assert!(seen.starts_with(&start), "{seen}");
        fixture.world.perform(Effect::StopProbes { service: name(), run: 1 });
        fixture.is_killed_before_a_probe_passes().await;
    });
}

#[test]
fn listener_of_a_grandchild_passes() {
    let Ok(python) = which::which("python3") else {
        xtask_client::harness::skipped("python3");
        return;
    };
    with_world(async |mut fixture| {
        let number = fixture.bind(vec![port("http")], false).await[0];
        let script =
            format!("{} -m http.server --bind 127.0.0.1 {number} & wait", python.display());
        let probes = vec![
            probe(0, Probe::Tcp { port: 0 }, Some(number)),
            probe(1, http("/no-such-file", &[404]), Some(number)),
        ];
        fixture.spawn(1, shell(&script), probes);
        let mut passed = vec![fixture.until_passed().await, fixture.until_passed().await];
        passed.sort_unstable();
        assert_eq!(passed, [0, 1]);
        fixture.signal(1, Signal::Stop("SIGTERM".to_owned()));
        fixture.until_gone().await;
        assert_eq!(fixture.bind(vec![port("http")], false).await, [number]);
    });
}

#[test]
fn log_probe_matches_either_stream() {
    with_world(async |mut fixture| {
        let pattern = |pattern: &str| Probe::Log { pattern: pattern.to_owned() };
        let script = "printf '\\033[1mlistening\\033[0m\\n' >&2; echo up on 80; sleep 1000";
        let probes =
            vec![probe(0, pattern("^listening$"), None), probe(1, pattern("on [0-9]+"), None)];
        fixture.spawn(1, shell(script), probes);
        let mut passed = vec![fixture.until_passed().await, fixture.until_passed().await];
        passed.sort_unstable();
        assert_eq!(passed, [0, 1]);
        fixture.signal(1, Signal::Kill);
        fixture.until_gone().await;
    });
}

#[test]
fn command_probe_repeats_until_exit_zero() {
    with_world(async |mut fixture| {
        let flag = fixture.folder.path().join("flag");
        let mut asked = probe(0, Probe::Command { command: Vec::new() }, None);
        asked.command = vec!["sh".to_owned(), "-c".to_owned(), format!("test -e $FLAG || exit 9")];
        let mut command = shell("sleep 1000");
        command.env.push(("FLAG".to_owned(), flag.to_string_lossy().into_owned()));
        fixture.spawn(1, command, vec![asked]);
        assert_eq!(fixture.until_seen().await, "exited with status 9");
        std::fs::write(&flag, "").unwrap();
        assert_eq!(fixture.until_passed().await, 0);
        fixture.signal(1, Signal::Kill);
        fixture.until_gone().await;
    });
}

#[test]
fn exit_stops_the_probes() {
    with_world(async |mut fixture| {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let probes = vec![probe(0, Probe::Tcp { port: 0 }, Some(unused))];
        fixture.spawn(1, shell("exit 1"), probes);
        fixture.until_gone().await;
        let _listener = TcpListener::bind(("127.0.0.1", unused)).unwrap();
        let late = tokio::time::timeout(Duration::from_millis(400), fixture.events.recv()).await;
        assert!(late.is_err(), "{late:?}");
    });
}

#[test]
fn unmanaged_service_is_probed_without_a_process() {
    with_world(async |mut fixture| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let probes = vec![probe(1, Probe::Tcp { port: 0 }, Some(number))];
        fixture.world.perform(Effect::Probe { service: name(), run: 1, context: 0, probes });
        assert_eq!(fixture.until_passed().await, 1);
    });
}

#[test]
fn held_port_names_its_port_holder() {
    with_world(async |mut fixture| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let ports = vec![Port { number: Some(number), ..port("http") }];
        fixture.world.perform(Effect::Bind { service: name(), ports, listen: true });
        let Event::BindFailed { failure: BindFailure::Held { port, holder, .. }, .. } =
            fixture.next().await
        else {
            panic!()
        };
        assert_eq!((port, holder.unwrap().pid), (number, std::process::id()));
    });
}
