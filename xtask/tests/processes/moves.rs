//! Edits of the metadata of a running stack: ports that move, services that are gone, and edits
//! that cannot take effect.

use std::net::TcpListener;

use xtask_test_support::stand::{SERVE, phase, pid, port, stand};
use xtask_test_support::{Fixture, free_port};

/// Services with these names, ports and drain times in milliseconds.
fn servers(services: &[(&str, u16, u32)]) -> Fixture {
    let flags: Vec<String> =
        services.iter().map(|(_, _, drain)| format!("{SERVE} --drain {drain}")).collect();
    let ports: Vec<String> =
        services.iter().map(|(_, port, _)| format!("port = {port}\n")).collect();
    let parts = services.iter().zip(flags.iter().zip(&ports));
    let parts: Vec<(&str, &str, &str)> =
        parts.map(|((name, ..), (flags, port))| (*name, flags.as_str(), port.as_str())).collect();
    stand(&parts).write()
}

/// Gives each service the port of the next one.
fn rotate(fixture: &Fixture, ports: &[u16]) {
    for number in ports {
        fixture.edit("Cargo.toml", &format!("port = {number}\n"), &format!("port = x{number}\n"));
    }
    for (index, number) in ports.iter().enumerate() {
        let next = ports[(index + 1) % ports.len()];
        fixture.edit("Cargo.toml", &format!("port = x{number}\n"), &format!("port = {next}\n"));
    }
}

#[test]
fn swapped_ports_are_served_after_one_up() {
    let ports = [free_port(), free_port()];
    let fixture = servers(&[("a", ports[0], 700), ("b", ports[1], 0)]);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    rotate(&fixture, &ports);
    fixture.xtask(&["up", "-d"]).ends_with(0).says("Stopping a: its ports changed");
    assert_eq!([port(&fixture, "a"), port(&fixture, "b")], [ports[1], ports[0]]);
}

#[test]
fn ring_of_three_ports_is_served_after_one_up() {
    let ports = [free_port(), free_port(), free_port()];
    let fixture = servers(&[("a", ports[0], 0), ("b", ports[1], 300), ("c", ports[2], 600)]);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    rotate(&fixture, &ports);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(port(&fixture, "c"), ports[0]);
}

#[test]
fn renamed_service_takes_the_port_of_its_old_run() {
    let number = free_port();
    let fixture = servers(&[("old", number, 300)]);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.edit("Cargo.toml", "services.old]", "services.new]");
    let up = fixture.xtask(&["up", "-d"]).ends_with(0);
    up.says("Stopping old: the metadata no longer declares it");
    assert_eq!((phase(&fixture, "old"), port(&fixture, "new")), ("stopped".to_owned(), number));
}

#[test]
fn named_up_keeps_undeclared_services_running() {
    let fixture = servers(&[("old", 0, 0), ("other", 0, 0)]);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let other = pid(&fixture, "other");
    fixture.edit("Cargo.toml", "services.old]", "services.new]");
    fixture.xtask(&["up", "-d", "new"]).ends_with(0);
    assert_eq!(phase(&fixture, "old"), "ready");
    fixture.xtask(&["up", "-d"]).ends_with(0).says("no longer declares");
    assert_eq!((phase(&fixture, "old"), pid(&fixture, "other")), ("stopped".to_owned(), other));
}

#[test]
fn named_up_names_the_sibling_on_its_port() {
    let ports = [free_port(), free_port()];
    let fixture = servers(&[("a", ports[0], 0), ("b", ports[1], 0)]);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = (pid(&fixture, "a"), pid(&fixture, "b"));
    rotate(&fixture, &ports);
    let held = format!("port {} is held by `b` of this stack", ports[1]);
    fixture.xtask(&["up", "-d", "a"]).ends_with(5).says(&held);
    assert_eq!((pid(&fixture, "a"), pid(&fixture, "b")), before, "both keep running");
    fixture.xtask(&["up", "-d", "a", "b"]).ends_with(0);
    assert_eq!(port(&fixture, "a"), ports[1]);
}

#[test]
fn service_keeps_running_while_its_new_port_is_held() {
    let (old, new) = (free_port(), free_port());
    let fixture = servers(&[("a", old, 0)]);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pid(&fixture, "a");
    let stranger = TcpListener::bind(("127.0.0.1", new)).unwrap();
    fixture.edit("Cargo.toml", &format!("port = {old}\n"), &format!("port = {new}\n"));
    let up = fixture.xtask(&["up", "-d"]).ends_with(5);
    up.says("keeps running").says(&format!("port {new} is held by"));
    assert_eq!((pid(&fixture, "a"), port(&fixture, "a")), (before, old));
    drop(stranger);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(port(&fixture, "a"), new);
}

#[test]
fn replacement_names_what_changed() {
    let fixture = servers(&[("a", 0, 0), ("b", 0, 0)]);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let kept = pid(&fixture, "b");
    let up = fixture.xtask(&["up", "-d", "-e", "a:SECRET_KEY=hidden"]).ends_with(0);
    let up = up.says("Stopping a: `SECRET_KEY` changed");
    assert!(!format!("{}{}", up.stdout, up.stderr).contains("hidden"), "{up}");
    assert_eq!(pid(&fixture, "b"), kept);
}

#[test]
fn named_up_leaves_callers_of_a_moved_port_alone() {
    let (old, new) = (free_port(), free_port());
    let caller = "port = 0\nuses = [\"a\"]\nenv = { A = \"${a.url}\" }\n";
    let fixture = stand(&[("a", SERVE, &format!("port = {old}\n")), ("b", SERVE, caller)]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pid(&fixture, "b");
    fixture.edit("Cargo.toml", &format!("port = {old}\n"), &format!("port = {new}\n"));
    fixture.xtask(&["up", "-d", "a"]).ends_with(0);
    assert_eq!((port(&fixture, "a"), pid(&fixture, "b")), (new, before));
    let reason = fixture.service("b")["reason"].to_string();
    assert!(reason.contains("`a` has another address"), "{reason}");
    fixture.xtask(&["up", "-d"]).ends_with(0).says("Stopping b: ");
    assert_ne!(pid(&fixture, "b"), before);
}
