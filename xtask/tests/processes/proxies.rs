//! A proxy of the shell does not come between the services of a stack.

use std::time::Duration;

use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, Ran};

const SOON: Duration = Duration::from_secs(60);

fn up(fixture: &Fixture, shell: &[(&str, &str)]) -> Ran {
    let up = fixture.spawn_with(&["up", "-d"], |command| {
        command.envs(shell.iter().copied());
    });
    up.wait(SOON).ends_with(0);
    fixture.xtask(&["logs", "caller"]).ends_with(0)
}

#[test]
fn hosts_of_the_stack_bypass_the_shell_proxy() {
    let elsewhere = "port = 0\nhost = \"127.0.0.2\"\n";
    let fixture = stand(&[
        ("shop", SERVE, elsewhere),
        ("caller", &format!("{SERVE} --print-env"), "port = 0\nuses = [\"shop\"]\n"),
    ])
    .write();
    let shell = [("http_proxy", "http://proxy.invalid:1"), ("no_proxy", ".example")];
    let logs = up(&fixture, &shell);
    let list = ".example,localhost,127.0.0.1,::1,127.0.0.2";
    logs.says(&format!("env: NO_PROXY={list}")).says(&format!("env: no_proxy={list}"));
}

#[test]
fn shell_without_proxy_gets_no_list() {
    let fixture = stand(&[("caller", &format!("{SERVE} --print-env"), "port = 0\n")]).write();
    let logs = up(&fixture, &[]);
    assert!(!logs.stdout.to_lowercase().contains("no_proxy"), "{logs}");
}
