//! The programs of generated workspaces behave as the other tests require.

use std::process::{Command, Stdio};
use std::time::Duration;

use xshell::cmd;
use xtask_test_support::{Fixture, JOB, PackageSpec, SERVICE, eventually, free_port, get, shell};

#[test]
fn programs_of_generated_workspaces_work() {
    let fixture = Fixture::new("ground")
        .package(PackageSpec::new("a", "a-package").bin("serve", SERVICE).lib("//! Nothing."))
        .package(PackageSpec::new("b", "b-package").bin("work", JOB))
        .write();
    let shell = shell(fixture.root());
    cmd!(shell, "cargo build --quiet --offline").run().unwrap();

    let port = free_port();
    let mut serve = Command::new(fixture.root().join("target/debug/serve"))
        .args(["--one", "two"])
        .env("PORT", port.to_string())
        .env("XTASK_STATE_DIR", fixture.state())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = eventually(Duration::from_secs(10), "an answer", || get(port, "/"));
    assert_eq!(pid.body, serve.id().to_string());
    assert_eq!(get(port, "/args").unwrap().body, "--one\ntwo");
    assert_eq!(get(port, "/env/PORT").unwrap().body, port.to_string());
    assert_eq!(get(port, "/status/401").unwrap().status, 401);
    assert_eq!(get(port, &format!("/call/127.0.0.1:{port}/args")).unwrap().body, "--one\ntwo");
    let found = fixture.processes();
    assert!(found.iter().any(|process| process.pid == serve.id().cast_signed()), "{found:?}");
    serve.kill().unwrap();
    serve.wait().unwrap();
    assert_eq!(fixture.processes(), []);

    let file = fixture.out().join("job");
    let program = fixture.root().join("target/debug/work");
    for _ in 0..2 {
        cmd!(shell, "{program}").env("JOB_FILE", &file).run().unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "done\ndone\n");
}
