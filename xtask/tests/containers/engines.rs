//! Which engine a program is, and what an engine that is full gets as advice. The engines are
//! scripts, so that no test depends on what is installed.

use std::time::Duration;

use super::script::Script;
use super::starts::safe;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn podman_called_docker_gets_arguments_of_podman() {
    let fixture = safe().write();
    let engine = Script::pretending_podman(&fixture);
    engine.spawn(&fixture, &["up", "safe", "-d", "--ports", "auto"]).wait(PATIENCE).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let asked = engine.told("info").join("\n");
    assert!(asked.contains("Host.Security.Rootless"), "{asked}");
    let removed = engine.told("rm").join("\n");
    assert!(removed.contains("--time=0"), "{removed}");
}

#[test]
fn docker_gets_no_arguments_of_podman() {
    let fixture = safe().write();
    let engine = Script::pretending(&fixture);
    engine.spawn(&fixture, &["up", "safe", "-d", "--ports", "auto"]).wait(PATIENCE).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let asked = engine.told("info").join("\n");
    assert!(asked.contains("SecurityOptions"), "{asked}");
    assert!(!engine.told("rm").join("\n").contains("--time=0"));
}

#[test]
fn engine_without_addresses_gets_a_hint_to_prune() {
    for message in [
        "could not find an available, non-overlapping IPv4 address pool among the defaults to \
         assign to the network",
        "all predefined address pools have been fully subnetted",
        "could not find free subnet from subnet pools",
    ] {
        let fixture = safe().write();
        let engine = Script::pretending(&fixture);
        engine.fail_with("network", message);
        let up = engine.spawn(&fixture, &["up", "safe", "-d", "--ports", "auto"]);
        let up = up.wait(PATIENCE).ends_with(4).says(message);
        let up = up.says("network prune` removes networks without use");
        assert!(!up.stderr.contains("network rm"), "{up}");
        engine.fail("network", false);
        fixture.xtask(&["status"]).ends_with(7);
    }
}
