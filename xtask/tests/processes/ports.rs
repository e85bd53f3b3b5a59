//! Ports that a service does not get, or does not use: which program has them, and where the
//! service listens instead.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use xtask_test_support::stand::{SERVE, pid, port, stand};
use xtask_test_support::{eventually, free_port, get, misbehave};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn start_waits_for_time_wait_without_counting() {
    let number = free_port();
    let flags = format!("{SERVE} --no-reuse");
    let fixture = stand(&[("shop", &flags, &format!("port = {number}\n"))]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    // The server closes first, so the system keeps the connection at the server's port.
    assert_eq!(get(number, "/").unwrap().status, 200);
    let restart = fixture.spawn(&["restart", "shop"]);
    restart.says(SOON, "TIME_WAIT");
    let service = fixture.service("shop");
    assert_eq!((&service["phase"], &service["restarts"]), (&"waiting".into(), &0.into()));
    let reason = service["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("port {number}, where the system holds")), "{reason}");
    fixture.xtask(&["down"]).ends_with(0);
    drop(restart);

    let up = fixture.spawn(&["up", "-d"]);
    up.says(SOON, "TIME_WAIT");
    fixture.xtask(&["down"]).ends_with(0);
    let up = up.wait(SOON);
    assert!(!up.stderr.contains("another program"), "{up}");
}

#[test]
fn port_taken_between_two_runs_is_reported_at_once() {
    let number = free_port();
    let settings = format!("port = {number}\nrestart = \"always\"\n");
    let fixture = stand(&[("shop", SERVE, &settings)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    xtask_test_support::signal(pid(&fixture, "shop"), libc::SIGKILL);
    let _thief =
        eventually(SOON, "the free port", || TcpListener::bind(("127.0.0.1", number)).ok());
    let reason = eventually(SOON, "the failure", || {
        let service = fixture.service("shop");
        (service["phase"] == "failed").then(|| service["reason"].to_string())
    });
    assert!(reason.contains(&format!("(pid {}, user", std::process::id())), "{reason}");
}

#[test]
fn timeout_names_where_the_run_listens() {
    let [other, own, six, unix, child] = [(); 5].map(|()| free_port());
    let at = |address: String| format!("--listen-at {address} --http 200");
    let settings = |number: u16| format!("port = {number}\nstart-timeout = \"1s\"\n");
    let elsewhere = free_port();
    let through = free_port();
    let program = misbehave().display().to_string();
    let script = format!("{program} --listen-at 127.0.0.1:{through} --http 200 & wait");
    let command = serde_json::to_string(&["sh", "-c", &script]).unwrap();
    let mut services = vec![
        ("other", at(format!("127.0.0.1:{elsewhere}")), settings(other)),
        ("own", at(format!("127.0.0.2:{own}")), settings(own)),
        ("unix", at("./shop/sock".to_owned()), settings(unix)),
    ];
    let has_six = TcpListener::bind("[::1]:0").is_ok();
    if has_six {
        services.push(("six", at(format!("[::1]:{six}")), settings(six)));
    }
    let services: Vec<(&str, &str, &str)> =
        services.iter().map(|(name, flags, more)| (*name, flags.as_str(), more.as_str())).collect();
    let child =
        format!("[workspace.metadata.services.child]\ncommand = {command}\n{}", settings(child));
    let fixture = stand(&services).workspace(&child).write();
    std::fs::create_dir(fixture.root().join("shop")).unwrap();
    let failed = fixture.xtask(&["up", "-d", "--keep-going"]).ends_with(4);
    let failed = failed
        .says(&format!("connection refused; it listens on 127.0.0.1:{elsewhere} instead"))
        .says(&format!("it listens on 127.0.0.2:{own} instead"))
        .says("it listens on Unix socket `./shop/sock` instead")
        .says(&format!("it listens on 127.0.0.1:{through} (its child `misbehave`, pid "));
    if has_six {
        failed.says(&format!("it listens on [::1]:{six} instead"));
    }
}

#[test]
fn explain_names_where_a_starting_run_listens() {
    let (own, elsewhere) = (free_port(), free_port());
    let flags = format!("--listen-at 127.0.0.1:{elsewhere} --http 200");
    let settings = format!("port = {own}\nstart-timeout = \"60s\"\n");
    let fixture = stand(&[("shop", &flags, &settings)]).write();
    let up = fixture.spawn(&["up", "-d"]);
    let text = format!("it listens on 127.0.0.1:{elsewhere} instead");
    up.says(SOON, &text);
    fixture.xtask(&["explain", "shop"]).ends_with(0).says(&text);
    fixture.xtask(&["status"]).ends_with(0).says(&text);
    fixture.xtask(&["down"]).ends_with(0);
    up.wait(SOON);
}

#[test]
fn stranger_at_the_other_localhost_is_reported() {
    let Ok(stranger) = TcpListener::bind("[::1]:0") else {
        return xtask_client::harness::skipped("IPv6");
    };
    let number = stranger.local_addr().unwrap().port();
    let fixture = stand(&[("shop", SERVE, &format!("port = {number}\n"))]).write();
    let text = format!("[::1]:{number} is held by `");
    for command in [&["up", "-d"][..], &["status"], &["explain", "shop"]] {
        let said = fixture.xtask(command).ends_with(0);
        said.says(&text).says(&format!("pid {}", std::process::id())).says("`localhost`");
    }
}

#[test]
fn port_of_an_outgoing_connection_is_named() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let called = server.local_addr().unwrap();
    let caller = TcpStream::connect(called).unwrap();
    let number = caller.local_addr().unwrap().port();
    let fixture = stand(&[("shop", SERVE, &format!("port = {number}\n"))]).write();
    let refused = fixture.xtask(&["up", "-d"]).ends_with(5);
    refused
        .says(&format!("port {number} is held by"))
        .says(&format!("pid {}", std::process::id()))
        .says(&format!("for its connection with {called}, without listening"));
}

#[test]
fn sibling_on_the_port_is_named() {
    let number = free_port();
    let squatter = format!("--listen-at 127.0.0.1:{number} --http 200 --ready-line open");
    let fixture = stand(&[
        ("squatter", &squatter, "ready = { log = \"open\" }\n"),
        ("owner", SERVE, "port = 0\n"),
    ])
    .write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_ne!(port(&fixture, "owner"), number);
    fixture.edit("Cargo.toml", "port = 0\n", &format!("port = {number}\n"));
    let refused = fixture.xtask(&["up", "-d"]).ends_with(5);
    refused.says(&format!("port {number} is held by `squatter` of this stack, `"));
}

#[test]
fn second_stack_with_a_fixed_port_is_refused() {
    let number = free_port();
    let settings = format!("port = {number}\nfixed-port = true\n");
    let fixture = stand(&[("shop", SERVE, &settings)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    for flags in [&["--stack", "two"][..], &["--stack", "two", "--ports", "auto"]] {
        let refused = fixture.xtask(&[&["up", "-d"], flags].concat()).ends_with(5);
        let refused = refused
            .says(&format!("port {number} is held by stack `dev`"))
            .says("only one stack at a time");
        assert!(!refused.stderr.contains("--ports auto`"), "{refused}");
    }
    assert_eq!(port(&fixture, "shop"), number);
    fixture.xtask(&["down"]).ends_with(0);
    let two = fixture.xtask(&["up", "-d", "--stack", "two"]).ends_with(0);
    two.says(&format!("127.0.0.1:{number}"));
    fixture.xtask(&["down", "--stack", "two"]).ends_with(0);
}

#[test]
fn service_that_spells_its_port_gets_no_other() {
    let number = free_port();
    let _stranger = TcpListener::bind(("127.0.0.1", number)).unwrap();
    let flags = format!("--listen-at 127.0.0.1:{number}");
    let fixture = stand(&[("shop", &flags, &format!("port = {number}\n"))]).write();
    let refused = fixture.xtask(&["up", "-d"]).ends_with(5);
    let refused = refused.says("stop that program: `shop` cannot listen on another port");
    assert!(!refused.stderr.contains("--ports auto"), "{refused}");
}

#[test]
fn check_warns_of_ports_for_outgoing_connections() {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let settings = |number: u16| format!("port = {number}\n");
    let inside = stand(&[("shop", SERVE, &settings(first + 1))]).write();
    inside
        .xtask(&["check"])
        .ends_with(0)
        .says(&format!("port {} of `shop` is in the range {first} to", first + 1))
        .says("net.ipv4.ip_local_reserved_ports");
    let below = stand(&[("shop", SERVE, &settings(first - 1))]).write();
    let checked = below.xtask(&["check"]).ends_with(0);
    assert!(!checked.stderr.contains("outgoing"), "{checked}");
}

#[test]
fn port_holder_forges_no_line() {
    use std::os::unix::process::CommandExt as _;

    let number = free_port();
    let mut holder = std::process::Command::new(misbehave());
    holder.arg0("A\x1b]52;c;ZXZpbA==\x07B\u{9b}2J\u{202e}C\nerror: forged line\nD");
    holder.args(["--listen-at", &format!("127.0.0.1:{number}"), "--http", "200"]);
    let mut holder = holder.spawn().unwrap();
    eventually(SOON, "the holder", || TcpStream::connect(("127.0.0.1", number)).ok());
    let fixture = stand(&[("shop", SERVE, &format!("port = {number}\n"))]).write();
    let refused = fixture.xtask(&["up", "-d"]).ends_with(5);
    holder.kill().unwrap();
    holder.wait().unwrap();
    let refused = refused.says("A\\u{1b}]52;c;ZXZpbA==\\u{7}B\\u{9b}2J\\u{202e}C\\nerror: forged");
    assert!(!refused.stderr.contains("\nerror: forged"), "{refused}");
}
