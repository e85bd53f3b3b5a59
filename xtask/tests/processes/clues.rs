//! Programs that end or stay silent for a reason which they do not print.

use std::time::Duration;

use xtask_test_support::{Fixture, PackageSpec, eventually};

fn fixture(name: &str, services: &str) -> Fixture {
    Fixture::new(name).package(PackageSpec::new("m", "m").lib("")).workspace(services).write()
}

#[test]
fn program_that_ends_with_its_input_is_explained() {
    let fixture = fixture(
        "input",
        "[workspace.metadata.services.plain]\ncommand = [\"cat\"]\n\
         [workspace.metadata.services.port]\nport = 0\ncommand = [\"sh\", \"-c\", \"cat; exit 0\"]\n\
         [workspace.metadata.services.other]\ncommand = [\"false\"]\nrestart = \"no\"\n",
    );
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    assert_eq!(up.stderr.matches("it read its standard input, which is empty").count(), 2, "{up}");
    let up = up.says("tail -f /dev/null | PROGRAM");
    assert!(!up.stderr.contains("PROGRAM\"]` right after"), "{up}");
}

#[test]
fn program_that_leaves_for_the_background_is_explained() {
    let background = "setsid sleep 600 & exit 0";
    let fixture = fixture(
        "background",
        &format!(
            "[workspace.metadata.services.daemon]\ncommand = [\"sh\", \"-c\", \"{background}\"]\n\
             restart = \"no\"\nstop = {{ timeout = \"1s\" }}\n"
        ),
    );
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    up.says("it left processes in the background").says("keeps it in the foreground");
    fixture.take_down();
    eventually(Duration::from_secs(60), "no process", || {
        fixture.processes().is_empty().then_some(())
    });
}

#[test]
fn silent_program_with_a_log_probe_is_explained() {
    let fixture = fixture(
        "silent",
        "[workspace.metadata.services.held]\ncommand = [\"./python3\", \"app.py\"]\n\
         ready = { log = \"listening\" }\nstart-timeout = \"500ms\"\n",
    );
    fixture.file("python3", "#!/bin/sh\nexec sleep 600\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(fixture.root().join("python3"), mode).unwrap();
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    up.says("it may hold its output back").says("PYTHONUNBUFFERED");
}
