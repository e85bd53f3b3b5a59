//! The misbehaving program under a real world: what it does wrong must not be taken
//! for what is right.

use super::*;

/// The program, which is built together with these tests.
fn misbehave(args: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(2).unwrap();
    let program = target.join("examples/misbehave");
    assert!(program.exists(), "`{}` is missing: build the examples", program.display());
    command(program.to_str().unwrap(), args)
}

/// The program, as one that binds the port itself.
fn binding(port: u16, args: &[&str]) -> Command {
    let mut command = misbehave(args);
    command.args.push("--listen-env".to_owned());
    command.env =
        vec![("HOST".to_owned(), "127.0.0.1".to_owned()), ("PORT".to_owned(), port.to_string())];
    command
}

#[test]
fn a_real_datagram_makes_a_run_ready() {
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
fn an_inherited_socket_answers_the_queued_request() {
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
fn what_is_printed_before_the_bind_is_not_ready_and_dies() {
    with_world(async |mut fixture| {
        let number = fixture.bind(vec![port("http")], false).await[0];
        let args = ["--print-before-bind", "listening", "--boot", "5000", "--exit-after", "1"];
        let probes = vec![probe(0, Probe::Tcp { port: 0 }, Some(number))];
        fixture.spawn(1, binding(number, &args), probes);
        assert_eq!(fixture.until_seen().await, "connection refused");
        fixture.is_killed_before_it_is_ready().await;
    });
}

#[test]
fn a_port_that_a_deaf_grandchild_holds_is_free_once_the_run_is_gone() {
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
fn a_drain_ends_by_itself_and_a_crash_by_its_signal() {
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
