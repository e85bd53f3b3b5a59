//! Which engine a program is, and what an engine that is full gets as advice. The engines are
//! scripts, so that no test depends on what is installed.

use std::time::Duration;

use super::script::Script;
use super::starts::safe;
use xtask_test_support::{Fixture, PackageSpec};

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

/// Two images, one with a name that is no valid host.
fn underscored() -> Fixture {
    Fixture::new("vault").package(PackageSpec::new("idle", "idle").lib("")).workspace(
        "[workspace.metadata.services.key_store]\nimage = \"registry.invalid/keys:1\"\n\
         port = 7070\nready = { command = [\"true\"] }\n\
         [workspace.metadata.services.door]\nimage = \"registry.invalid/door:1\"\n\
         depends-on = [\"key_store\"]\n",
    )
}

#[test]
fn underscore_in_a_name_gives_a_valid_host() {
    let fixture = underscored().write();
    let engine = Script::pretending(&fixture);
    engine.spawn(&fixture, &["up", "-d", "--ports", "auto"]).wait(PATIENCE).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let created = engine.told("create");
    let keys = created.iter().find(|line| line.contains("keys:1")).unwrap();
    for word in ["--hostname=key-store", "--network-alias=key-store", "--network-alias=key_store"] {
        assert!(keys.contains(word), "{keys}");
    }
    let explained = fixture.xtask(&["explain", "door", "--json"]).ends_with(0).json();
    assert_eq!(explained["env"]["KEY_STORE_HOST"]["value"], "key-store", "{explained:#}");
}

#[test]
fn proxy_in_the_settings_of_docker_spares_the_stack() {
    let fixture = underscored().write();
    let engine = Script::pretending(&fixture);
    let settings =
        r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": ".example"}}}"#;
    let folder = fixture.out().join("docker-settings");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), settings).unwrap();
    let up = engine.spawn_with(&fixture, &["up", "-d", "--ports", "auto"], |command| {
        command.env("DOCKER_CONFIG", &folder);
    });
    up.wait(PATIENCE).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let created = engine.told("create");
    let door = created.iter().find(|line| line.contains("door:1")).unwrap();
    let list = ".example,localhost,127.0.0.1,::1,door,key-store,key_store";
    for name in ["NO_PROXY", "no_proxy"] {
        assert!(door.contains(&format!("--env={name}={list} ")), "{door}");
    }
}
