//! Flags of `up` that a stack keeps until it is shut down, and named `up`s beside running services.

use std::net::TcpListener;

use xtask_test_support::stand::{SERVE, phase, pid, port, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, free_port};

const FORGETS: &str = "(`up --reset` forgets them)";

#[test]
fn second_up_keeps_automatic_ports() {
    let declared = free_port();
    let fixture = stand(&[("a", SERVE, &format!("port = {declared}\n"))]).write();
    let stranger = TcpListener::bind(("127.0.0.1", declared)).unwrap();
    fixture.xtask(&["up", "-d", "--ports", "auto"]).ends_with(0);
    let before = (pid(&fixture, "a"), port(&fixture, "a"));
    let again = fixture.xtask(&["up", "-d"]).ends_with(0);
    again.says(&format!("Keeping --ports auto {FORGETS}"));
    assert_eq!((pid(&fixture, "a"), port(&fixture, "a")), before);
    // What cannot start leaves what runs alone.
    fixture.xtask(&["up", "-d", "--reset"]).ends_with(5).says("keeps running");
    assert_eq!((pid(&fixture, "a"), port(&fixture, "a")), before);
    drop(stranger);
    let reset = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(!reset.stderr.contains("Keeping"), "{reset}");
    assert_eq!(port(&fixture, "a"), declared);
}

#[test]
fn kept_variables_merge_by_key_until_down() {
    let fixture = stand(&[("a", SERVE, "port = 0\n"), ("b", SERVE, "port = 0\n")]).write();
    let first = ["up", "-d", "-e", "a:MODE=one", "-e", "a:API_KEY=hidden", "-e", "b:MODE=b"];
    fixture.xtask(&first).ends_with(0);
    let before = (pid(&fixture, "a"), pid(&fixture, "b"));
    let again = fixture.xtask(&["up", "-d"]).ends_with(0);
    let again = again.says("Keeping -e a:MODE=one, -e a:API_KEY=");
    assert!(!again.stderr.contains("hidden"), "{again}");
    assert_eq!((pid(&fixture, "a"), pid(&fixture, "b")), before);
    // A named `up` starts only `a`, so the variable of `b` waits for the next plain one.
    fixture.xtask(&["up", "-d", "a", "-e", "a:MODE=two"]).ends_with(0).says("`MODE` changed");
    assert_eq!(pid(&fixture, "b"), before.1);
    let replaced = pid(&fixture, "a");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!((pid(&fixture, "a"), pid(&fixture, "b")), (replaced, before.1));
    fixture.xtask(&["restart", "b"]).ends_with(0);
    assert_eq!(started_with(&fixture, "b"), ["b"], "a restart keeps the flags too");

    fixture.xtask(&["down"]).ends_with(0);
    let up = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(!up.stderr.contains("Keeping"), "{up}");
}

/// The values of `MODE` of the present run.
fn started_with(fixture: &Fixture, service: &str) -> Vec<String> {
    let environment = std::fs::read(format!("/proc/{}/environ", pid(fixture, service))).unwrap();
    let text = String::from_utf8_lossy(&environment).into_owned();
    text.split('\0').filter_map(|pair| pair.strip_prefix("MODE=")).map(str::to_owned).collect()
}

#[test]
fn kept_overlay_that_is_removed_is_forgotten() {
    let big = "port = 0\n[workspace.metadata.services.front.with.big]\nargs = [\"--quiet\"]\n";
    let fixture = stand(&[("front", SERVE, "port = 0\n")]).write();
    let text = fixture.text("Cargo.toml");
    fixture.edit(
        "Cargo.toml",
        "port = 0\n",
        &big.replace("args = [\"--quiet\"]", "env = { BIG = \"1\" }"),
    );
    fixture.xtask(&["up", "-d", "--with", "big"]).ends_with(0);
    let before = pid(&fixture, "front");
    fixture.xtask(&["up", "-d"]).ends_with(0).says(&format!("Keeping --with big {FORGETS}"));
    assert_eq!(pid(&fixture, "front"), before);
    fixture.file("Cargo.toml", &text);
    fixture.xtask(&["up", "-d"]).ends_with(0).says("`BIG` changed");
}

#[test]
fn isolated_stack_keeps_no_flags() {
    let fixture = stand(&[("a", SERVE, "port = 0\n")]).stack("other").write();
    fixture.xtask(&["up", "-d", "-e", "a:MODE=one"]).ends_with(0);
    let other = ["up", "-d", "--stack", "other"];
    let up = fixture.xtask(&other).ends_with(0);
    assert!(!up.stderr.contains("Keeping"), "{up}");
    fixture.xtask(&["up", "-d", "--stack", "other", "-e", "a:MODE=two"]).ends_with(0);
    let again = fixture.xtask(&other).ends_with(0);
    assert!(!again.stderr.contains("Keeping"), "{again}");
    // A restart repeats the flags of the last `up`.
    fixture.xtask(&[&other[..], &["-e", "a:MODE=three"]].concat()).ends_with(0);
    fixture.xtask(&["restart", "--stack", "other", "a"]).ends_with(0);
    let env = fixture.xtask(&["env", "--stack", "other", "a"]).ends_with(0);
    env.says("MODE='three'");
}

/// A library whose feature one of two services enables.
fn sharing() -> Fixture {
    let library = PackageSpec::new("libs/shared", "shared")
        .lib("pub fn mode() -> &'static str { if cfg!(feature = \"big\") { \"big\" } else { \"small\" } }")
        .manifest("[features]\nbig = []\n");
    let source = SERVICE.replace("println!(\"listening\");", "println!(\"{}\", shared::mode());");
    let service = |name: &str, features: &str, more: &str| {
        PackageSpec::new(&format!("apps/{name}"), name)
            .bin(&format!("{name}d"), &source)
            .manifest(&format!(
                "[dependencies]\nshared = {{ path = \"../../libs/shared\"{features} }}\n"
            ))
            .metadata(&format!("[package.metadata.service]\nport = 0\n{more}"))
    };
    Fixture::new("sharing")
        .package(library)
        .package(service("a", "", ""))
        .package(service("b", ", features = [\"big\"]", "uses = [\"a\"]\n"))
        .package(service("c", "", ""))
        .write()
}

#[test]
fn no_order_of_named_ups_replaces_a_run() {
    let fixture = sharing();
    fixture.xtask(&["up", "-d", "a"]).ends_with(0);
    let a = pid(&fixture, "a");
    assert!(!fixture.root().join("target/debug/bd").exists(), "only `a` is linked");
    fixture.xtask(&["up", "-d", "b"]).ends_with(0);
    let b = pid(&fixture, "b");
    for services in [&["a"][..], &["b"], &["a", "b"], &["c"], &["b", "a", "c"], &[]] {
        fixture.xtask(&[&["up", "-d"], services].concat()).ends_with(0);
        assert_eq!((pid(&fixture, "a"), pid(&fixture, "b")), (a, b), "{services:?}");
    }
}

#[test]
fn named_up_leaves_edited_neighbours_and_dependents_alone() {
    let fixture = sharing();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = (pid(&fixture, "b"), pid(&fixture, "c"));
    fixture.edit("apps/a/src/bin/ad.rs", "shared::mode()", "\"edited\"");
    fixture.edit("apps/c/src/bin/cd.rs", "shared::mode()", "broken(");
    let a = pid(&fixture, "a");
    fixture.xtask(&["up", "-d", "a"]).ends_with(0).says("Stopping a: its program changed");
    assert_ne!(pid(&fixture, "a"), a);
    assert_eq!((pid(&fixture, "b"), pid(&fixture, "c")), before);
    assert_eq!(phase(&fixture, "b"), "ready");
}

#[test]
fn services_with_one_port_and_binary_run_in_turn() {
    let port = free_port();
    let service = |name: &str| {
        PackageSpec::new(&format!("apps/{name}"), name)
            .bin("store", SERVICE)
            .metadata(&format!("[package.metadata.service]\nport = {port}\n"))
    };
    let fixture = Fixture::new("alternatives")
        .package(service("memory"))
        .package(service("disk"))
        .workspace("[workspace.metadata.xtask]\ndefault = [\"memory\"]\n")
        .write();
    fixture.xtask(&["check"]).ends_with(0).says("they can run one at a time");
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let memory = pid(&fixture, "memory");
    let held = format!("port {port} is held by `memory` of this stack");
    fixture.xtask(&["up", "-d", "disk"]).ends_with(5).says(&held);
    assert_eq!(pid(&fixture, "memory"), memory);
    fixture.xtask(&["down", "memory"]).ends_with(0);
    fixture.xtask(&["up", "-d", "disk"]).ends_with(0);
    fixture.xtask(&["up", "-d", "memory", "disk"]).ends_with(2).says("both use port");
    let both = fixture.xtask(&["up", "-d"]).ends_with(2).says("both use port");
    both.says("`cargo xtask down --stack dev disk` stops `disk`, which runs");
}

/// A plain `up` is about the whole stack: also about services that were started by name. A job runs
/// again only by name.
#[test]
fn plain_up_covers_what_was_started_by_name() {
    let by_name = |more: &str| {
        stand(&[
            ("a", SERVE, "port = 0\n"),
            ("b", SERVE, more),
            ("seed", "--exit-after 50", "kind = \"job\"\n"),
        ])
        .workspace("[workspace.metadata.xtask]\ndefault = [\"a\"]\n")
    };
    let fixture = by_name("port = 0\n").write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["up", "-d", "b", "seed"]).ends_with(0);
    let before = (pid(&fixture, "a"), pid(&fixture, "b"));
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!((pid(&fixture, "a"), pid(&fixture, "b")), before, "nothing changed");

    let manifest = fixture.text("Cargo.toml");
    let edited = manifest.replacen("kind = \"job\"", "kind = \"job\"\nenv = { MODE = \"two\" }", 1);
    let b = "[workspace.metadata.services.b]";
    fixture.file("Cargo.toml", &edited.replacen(b, &format!("{b}\nenv = {{ MODE = \"two\" }}"), 1));
    let runs = |service: &str| fixture.service(service)["run"].clone();
    let seeded = runs("seed");
    fixture.xtask(&["up", "-d"]).ends_with(0).says("`MODE` changed");
    assert_eq!((started_with(&fixture, "b"), pid(&fixture, "a")), (vec!["two".into()], before.0));
    assert_eq!(runs("seed"), seeded, "the job does not run again");

    fixture.xtask(&["down", "b"]).ends_with(0);
    fixture.xtask(&["up", "-d", "--reset"]).ends_with(0);
    assert_eq!(phase(&fixture, "b"), "stopped");
}

#[test]
fn arguments_of_a_service_are_kept_until_reset() {
    let fixture = stand(&[("a", SERVE, "port = 0\n"), ("b", SERVE, "port = 0\n")]).write();
    let arguments = |service: &str| {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid(&fixture, service))).unwrap();
        String::from_utf8_lossy(&line).replace('\0', " ")
    };
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let other = pid(&fixture, "b");
    fixture.xtask(&["up", "-d", "a", "--", "--drain", "7"]).ends_with(0);
    let before = pid(&fixture, "a");
    assert!(arguments("a").contains("--drain 7"), "{}", arguments("a"));
    let kept = format!("Keeping a -- --drain 7 {FORGETS}");
    fixture.xtask(&["up", "-d"]).ends_with(0).says(&kept);
    assert_eq!((pid(&fixture, "a"), pid(&fixture, "b")), (before, other));
    fixture.xtask(&["restart", "a"]).ends_with(0);
    assert!(arguments("a").contains("--drain 7"), "{}", arguments("a"));
    fixture.xtask(&["up", "-d", "a", "--", "--drain", "8"]).ends_with(0);
    assert!(arguments("a").contains("--drain 8"), "{}", arguments("a"));
    fixture.xtask(&["up", "-d", "--reset"]).ends_with(0);
    assert!(!arguments("a").contains("--drain"), "{}", arguments("a"));
    assert_eq!(pid(&fixture, "b"), other);
    fixture.xtask(&["down"]).ends_with(0);
}
