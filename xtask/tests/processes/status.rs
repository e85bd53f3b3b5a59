//! What `status` measures: uptime, memory, kept flags, and sources that are newer than what runs.

use std::time::{Duration, SystemTime};

use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE};

fn shop() -> Fixture {
    Fixture::new("shop")
        .package(
            PackageSpec::new("till", "till")
                .bin("till", SERVICE)
                .metadata("[package.metadata.service]\nport = 0\n"),
        )
        .write()
}

fn touch(fixture: &Fixture, path: &str, time: SystemTime) {
    let file = std::fs::File::options().append(true).open(fixture.root().join(path)).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn status_names_sources_newer_than_what_runs() {
    let fixture = shop();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let status = fixture.xtask(&["status"]).ends_with(0);
    assert!(!status.stdout.contains("outdated"), "{status}");
    let soon = SystemTime::now() + Duration::from_secs(2);
    touch(&fixture, "till/src/bin/till.rs", soon);
    let status = fixture.xtask(&["status"]).ends_with(0);
    let status = status.says("`till/src/bin/till.rs` is newer than till");
    status.says("`cargo xtask restart till`");
    let newer = fixture.service("till")["newer_source"].as_str().unwrap().to_owned();
    assert!(newer.ends_with("till/src/bin/till.rs"), "{newer}");
    // Cargo builds the same program again, which needs no new run.
    touch(&fixture, "till/src/bin/till.rs", SystemTime::now());
    fixture.xtask(&["up", "-d"]).ends_with(0).says("already running");
    let status = fixture.xtask(&["status"]).ends_with(0);
    assert!(!status.stdout.contains("outdated"), "{status}");
}

#[test]
fn status_shows_uptime_memory_and_kept_flags() {
    let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
    fixture.xtask(&["up", "-d", "--ports", "auto"]).ends_with(0);
    let status = fixture.xtask(&["status"]).ends_with(0).says("UPTIME").says("MiB");
    status.says("kept flags: --ports auto");
    let calm = fixture.service("calm");
    assert!(calm["memory_bytes"].as_u64().unwrap() > 50_000, "{calm:#}");
    assert!(calm["uptime_ms"].as_u64().unwrap() < 600_000, "{calm:#}");
    assert_eq!(fixture.status()["kept_flags"], "--ports auto");
}

#[test]
fn detached_up_names_the_foreground_that_holds_it() {
    let fixture = stand(&[("calm", SERVE, "port = 0\n")]).write();
    let owner = fixture.spawn(&["up"]);
    owner.says(Duration::from_secs(60), "SERVICE");
    let second = fixture.xtask(&["up", "-d"]).ends_with(0);
    second.says("Held by an `up` in another terminal, which stops the stack when it ends");
    owner.signal(libc::SIGINT);
    owner.wait(Duration::from_secs(60)).ends_with(130);
    fixture.xtask(&["status"]).ends_with(7);
    let alone = fixture.xtask(&["up", "-d"]).ends_with(0);
    assert!(!alone.stderr.contains("Held"), "{alone}");
}
