//! Services that end early: dead on arrival, or before they were ever ready.

use std::time::Duration;

use xtask_test_support::Fixture;
use xtask_test_support::stand::{pid, stand};

const PATIENCE: Duration = Duration::from_secs(60);

/// A panic with its backtrace, as the standard library prints it.
const PANIC: &str = "thread 'main' (7) panicked at src/main.rs:3:5:\\nSTOCK_URL is not set\\n\
                     stack backtrace:\\n   0: rust_begin_unwind\\n             at /rustc/lib.rs:1:2\\n";

/// `till` panics at each start because of a variable, unless the file `fixed` exists.
fn panicking(settings: &str) -> Fixture {
    let script = format!("test -e fixed && exec sleep 600; printf \"{PANIC}\" >&2; exit 101");
    let command = serde_json::to_string(&["sh", "-c", &script]).unwrap();
    let till = format!("[workspace.metadata.services.till]\ncommand = {command}\n{settings}");
    stand(&[("stock", "", "")]).workspace(&till).write()
}

#[test]
fn detached_up_fails_for_services_dead_on_arrival() {
    let fixture = stand(&[
        ("at-once", "--stderr no-library --exit-after 0 --code 127", ""),
        ("soon", "--exit-after 50 --code 3", "restart = \"no\"\n"),
        (
            "says",
            "--ready-line listening --exit-after 30 --code 101",
            "ready = { log = \"listen\" }\n",
        ),
        ("user", "", "depends-on = [\"soon\"]\n"),
    ])
    .write();
    let up = fixture.xtask(&["up", "-d", "at-once"]).ends_with(4);
    up.says("exited with status 127").says("| no-library");
    fixture.xtask(&["up", "-d", "user"]).ends_with(4).says("exited with status 3");
    fixture.xtask(&["up", "-d", "says"]).ends_with(4).says("exited with status 101");
    fixture.is_quiet();
}

#[test]
fn second_detached_up_waits_for_no_look() {
    let fixture = stand(&[("steady", "", "")]).write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let before = pid(&fixture, "steady");
    fixture.xtask(&["up", "-d"]).ends_with(0).says("already running");
    assert_eq!(pid(&fixture, "steady"), before);
}

#[test]
fn early_end_is_explained_before_its_retries() {
    let fixture = panicking("ready = { command = [\"false\"] }\n");
    let up = fixture.spawn(&["up", "-d", "till"]);
    up.says(PATIENCE, "add `depends-on = [\"stock\"]` at Cargo.toml:");
    let ran = up.wait(PATIENCE).ends_with(4);
    let ran = ran.says("| thread 'main' (7) panicked at src/main.rs:3:5:");
    assert!(!ran.stderr.contains("rust_begin_unwind"), "{ran}");
    let place = |text| ran.stderr.find(text).unwrap();
    assert!(place("STOCK_URL is not set") < place("error:"), "{ran}");
    // Once at the first end, and once when the service is given up.
    assert_eq!(ran.stderr.matches("| STOCK_URL is not set").count(), 2, "{ran}");
    fixture.is_quiet();
}

#[test]
fn explained_service_is_retried() {
    let fixture = panicking("ready = { command = [\"test\", \"-e\", \"fixed\"] }\n");
    let up = fixture.spawn(&["up", "-d", "till"]);
    up.says(PATIENCE, "STOCK_URL is not set");
    fixture.file("fixed", "");
    up.wait(PATIENCE).ends_with(0);
}

#[test]
fn foreground_shows_logs_before_anything_is_ready() {
    let settings = "ready = { command = [\"false\"] }\n";
    let fixture = stand(&[("stuck", "--stderr waits-for-a-lock", settings)]).write();
    let up = fixture.spawn(&["up"]);
    up.says(PATIENCE, "stuck | waits-for-a-lock");
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130).says("stuck | waits-for-a-lock");
    fixture.is_quiet();

    let up = fixture.spawn(&["up", "--json"]);
    up.says(PATIENCE, "\"text\":\"waits-for-a-lock\"");
    up.signal(libc::SIGINT);
    up.wait(PATIENCE).ends_with(130);
}
