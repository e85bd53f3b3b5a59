//! Services whose processes are in a session or group of their own.

use std::fs;

use xtask_test_support::stand::{SERVE, phase, stand};
use xtask_test_support::{Fixture, alive, misbehave};

/// Whether this machine and user can try a wrapper.
fn is_usable(wrapper: &str) -> bool {
    let program = wrapper.split_whitespace().next().unwrap();
    let for_root = program == "su" && !rustix::process::geteuid().is_root();
    !for_root && (program == "set" || which::which(program).is_ok())
}

#[test]
fn listener_in_its_own_session_is_the_service() {
    let wrappers = [
        "setsid -w sh server",
        "set -m; sh server & wait",
        "script -qec 'exec sh server' /dev/null",
        "su -s /bin/sh -c 'exec sh server' root",
    ];
    for wrapper in wrappers.into_iter().filter(|wrapper| is_usable(wrapper)) {
        let server = format!("exec {} {SERVE} --drain 1 > out\n", misbehave().display());
        let fixture = Fixture::new("wrapped")
            .workspace(&format!(
                "[workspace.metadata.services.wrapped]\nport = 0\n\
                 command = [\"bash\", \"-c\", \"{wrapper}\"]\n"
            ))
            .write();
        fs::write(fixture.root().join("server"), server).unwrap();
        fixture.xtask(&["up", "-d"]).ends_with(0);
        fixture.xtask(&["down"]).ends_with(0);
        let printed = fs::read_to_string(fixture.root().join("out")).unwrap();
        assert!(printed.contains("draining"), "{wrapper}: {printed}");
        fixture.is_quiet();
    }
}

#[test]
fn deaf_child_of_a_job_holds_no_dependent() {
    let job = "kind = \"job\"\nstop = { timeout = \"600s\" }\n";
    let fixture = stand(&[
        ("job", "--grandchild-setsid --exit-after 0", job),
        ("after", SERVE, "port = 0\ndepends-on = [\"job\"]\n"),
    ])
    .write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!((&*phase(&fixture, "job"), &*phase(&fixture, "after")), ("succeeded", "ready"));
    let logs = fixture.xtask(&["logs", "job"]).ends_with(0).stdout;
    let child = logs.split("grandchild ").nth(1).unwrap().lines().next().unwrap();
    assert!(alive(child.trim().parse().unwrap()), "the child still runs");
    fixture.xtask(&["down", "--now"]).ends_with(0);
    fixture.is_quiet();
}

#[test]
fn program_in_the_background_fails_and_leaves_nothing() {
    let fixture = Fixture::new("daemon")
        .workspace(&format!(
            "[workspace.metadata.services.daemon]\nport = 0\nrestart = \"no\"\n\
             command = [\"sh\", \"-c\", \"setsid {} {SERVE} & sleep 0.5\"]\n",
            misbehave().display()
        ))
        .write();
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    let up = up.says("exited with status 0 before it was ready").says("runs in the foreground");
    assert!(!up.to_string().contains("another program"), "{up}");
    fixture.is_quiet();
}
