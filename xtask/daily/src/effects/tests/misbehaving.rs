//! Tests with the program `misbehave`: a fault must not look like correct behaviour.

use super::*;

/// The program, which cargo builds together with these tests.
fn misbehave(args: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(2).unwrap();
    let program = target.join("examples/misbehave");
    assert!(program.exists(), "`{}` is missing: build the examples", program.display());
    command(program.to_str().unwrap(), args)
}

/// The program, binding the port itself.
fn binding(port: u16, args: &[&str]) -> Command {
    let mut command = misbehave(args);
    command.args.push("--listen-env".to_owned());
    command.env =
        vec![("HOST".to_owned(), "127.0.0.1".to_owned()), ("PORT".to_owned(), port.to_string())];
    command
}

#[test]
fn notify_datagram_passes_the_probe() {
    with_world(async |mut fixture| {
        let mut command = misbehave(&["--notify-after", "20"]);
        command.notify = true;
        fixture.spawn(1, command, vec![probe(0, Probe::Notify, None)]);
        assert_eq!(fixture.until_passed().await, 0);
        fixture.signal(1, Signal::Stop("SIGTERM".to_owned()));
        fixture.until_gone().await;
    });
}

#[test]
fn inherited_socket_answers_the_queued_request() {
    with_world(async |mut fixture| {
        let number = fixture.bind(vec![port("http")], true).await[0];
        let mut command = misbehave(&["--inherit", "--boot", "30", "--http", "204"]);
        command.sockets = vec!["http".to_owned()];
        let path = "/readyz".to_owned();
        let mut queued = probe(0, Probe::Http { path, status: vec![204], port: 0 }, Some(number));
        queued.queued = true;
        for run in 1..=3 {
            fixture.spawn(run, command.clone(), vec![queued.clone()]);
            assert_eq!(fixture.until_passed().await, 0);
            fixture.signal(run, Signal::Kill);
            fixture.until_gone().await;
        }
    });
}

#[test]
fn line_before_bind_does_not_pass_tcp_probe() {
    with_world(async |mut fixture| {
        let number = fixture.bind(vec![port("http")], false).await[0];
        let args = ["--print-before-bind", "listening", "--boot", "5000", "--exit-after", "1"];
        let probes = vec![probe(0, Probe::Tcp { port: 0 }, Some(number))];
        fixture.spawn(1, binding(number, &args), probes);
        assert_eq!(fixture.until_seen().await, "connection refused");
        fixture.is_killed_before_a_probe_passes().await;
    });
}

#[test]
fn port_of_deaf_grandchild_is_free_after_gone() {
    with_world(async |mut fixture| {
        let number = fixture.bind(vec![port("http")], false).await[0];
        let probes = vec![probe(0, Probe::Tcp { port: 0 }, Some(number))];
        fixture.spawn(1, binding(number, &["--grandchild"]), probes);
        assert_eq!(fixture.until_passed().await, 0);
        fixture.signal(1, Signal::Stop("SIGTERM".to_owned()));
        fixture.until_exited().await;
        let early = tokio::time::timeout(Duration::from_millis(100), fixture.events.recv()).await;
        assert!(early.is_err(), "{early:?}");
        fixture.signal(1, Signal::Kill);
        fixture.until_gone().await;
        assert_eq!(fixture.bind(vec![port("http")], false).await, [number]);
    });
}

#[test]
fn drain_exits_by_itself_and_crash_by_signal() {
    with_world(async |mut fixture| {
        fixture.spawn(1, misbehave(&["--drain", "20", "--ready-line", "up"]), Vec::new());
        until_logged(&mut fixture, "up").await;
        fixture.signal(1, Signal::Stop("SIGTERM".to_owned()));
        assert_eq!(fixture.until_exited().await, Exit::Code(0));
        fixture.until_gone().await;
        fixture.spawn(2, misbehave(&["--half-line", "--crash-after", "1"]), Vec::new());
        assert_eq!(fixture.until_exited().await, Exit::Signal(6));
        assert!(fixture.log().iter().any(|line| line == "draining"), "{:?}", fixture.log());
    });
}

async fn until_logged(fixture: &mut Fixture, line: &str) {
    let log = fixture.folder.path().join("state/logs/a.log");
    let ends = format!(" {line}\n");
    until(line, || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(&ends))).await;
}
