//! Readers of the output of `up`: one that closes the pipe, one that is stuck, and none.

use std::io::{PipeReader, PipeWriter, Write as _, pipe};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use xtask_test_support::stand::{SERVE, phase_if_any, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually};

/// How long anything beside other tests may take.
const SOON: Duration = Duration::from_secs(60);

/// A service that has to be built, so that cargo speaks, and one that has not.
fn shop(source: &str) -> Fixture {
    let built = PackageSpec::new("built", "built")
        .bin("built", source)
        .metadata("[package.metadata.service]\nport = 0\n");
    stand(&[("plain", SERVE, "port = 0\n")]).package(built).write()
}

fn spawn(fixture: &Fixture, args: &[&str], stdout: Stdio, stderr: Stdio) -> Child {
    fixture.command().args(args).stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap()
}

fn code(mut child: Child) -> Option<i32> {
    eventually(SOON, "the end of `up`", || child.try_wait().unwrap()).code()
}

/// A pipe whose reader is closed.
fn left() -> PipeWriter {
    pipe().unwrap().1
}

/// A full pipe whose reader does not read.
fn stuck() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    // SAFETY: the descriptor is open, and the call takes numbers.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
    writer.write_all(&vec![b'.'; usize::try_from(size).unwrap()]).unwrap();
    (reader, writer)
}

fn is_up(fixture: &Fixture) -> bool {
    ["plain", "built"].iter().all(|name| phase_if_any(fixture, name).as_deref() == Some("ready"))
}

#[test]
fn detached_start_continues_without_its_readers() {
    let fixture = shop(SERVICE);
    for json in [&[][..], &["--json"]] {
        let args = [&["up", "-d"][..], json].concat();
        let child = spawn(&fixture, &args, left().into(), left().into());
        assert_eq!(code(child), Some(0));
        assert!(is_up(&fixture), "{:#}", fixture.status());
        fixture.xtask(&["down"]).ends_with(0);
        fixture.file("built/src/bin/built.rs", &format!("{SERVICE}\n// {json:?}\n"));
    }
    fixture.file("built/src/bin/built.rs", "fn main() { wrong }\n");
    let child = spawn(&fixture, &["up", "-d"], left().into(), left().into());
    assert_eq!(code(child), Some(3));
    fixture.is_quiet();
}

#[test]
fn ctrl_c_works_while_stderr_is_stuck() {
    let fixture = shop(SERVICE);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let (_reader, writer) = stuck();
    let child = spawn(&fixture, &["up"], Stdio::null(), writer.into());
    eventually(SOON, "everything ready", || is_up(&fixture).then_some(()));
    // SAFETY: the call takes two numbers, and the child is not waited for yet.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) }, 0);
    assert_eq!(code(child), Some(130));
    fixture.is_quiet();
}
