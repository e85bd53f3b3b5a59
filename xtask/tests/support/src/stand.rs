//! Workspaces without anything to build: their services are the misbehaving program
//! with other flags each. No tests, only what several files of tests need.

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use serde_json::Value;

use crate::{Fixture, PackageSpec, misbehave};

/// Services by name, flags and further settings; `flags` is one word each.
pub fn stand(services: &[(&str, &str, &str)]) -> Fixture {
    let program = misbehave().display().to_string();
    let idle = PackageSpec::new("libs/idle", "idle").lib("");
    services.iter().fold(Fixture::new("stand").package(idle), |fixture, (name, flags, more)| {
        let mut command = vec![program.as_str()];
        command.extend(flags.split_whitespace());
        fixture.workspace(&format!(
            "[workspace.metadata.services.{name}]\ncommand = {}\n{more}\n",
            serde_json::to_string(&command).unwrap()
        ))
    })
}

/// Binds the port that it is given, and answers.
pub const SERVE: &str = "--listen-env --http 200";

/// `top` waits for `mid`, and that for `base`; `aside` stands apart and has no port.
pub fn tower(flags: &str, settings: &str) -> Fixture {
    let serve = format!("{SERVE} {flags}");
    let on = |on: &str| format!("port = 0\ndepends-on = [\"{on}\"]\n{settings}");
    stand(&[
        ("base", &serve, &format!("port = 0\n{settings}")),
        ("mid", &serve, &on("base")),
        ("top", &serve, &on("mid")),
        ("aside", flags, settings),
    ])
    .write()
}

/// A number out of a service's status.
#[track_caller]
pub fn pid(fixture: &Fixture, name: &str) -> i32 {
    let pid = fixture.service(name)["pid"].as_i64();
    i32::try_from(pid.unwrap_or_else(|| panic!("`{name}` has no process"))).unwrap()
}

/// The phase of a service.
#[track_caller]
pub fn phase(fixture: &Fixture, name: &str) -> String {
    fixture.service(name)["phase"].as_str().unwrap().to_owned()
}

/// The service's phase, and none while there is no stack yet.
pub fn phase_if_any(fixture: &Fixture, name: &str) -> Option<String> {
    let status = fixture.xtask(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status.stdout).ok()?;
    let found = status["services"].as_array()?.iter().find(|service| service["name"] == name)?;
    Some(found["phase"].as_str()?.to_owned())
}

/// The port of a service's address.
#[track_caller]
pub fn port(fixture: &Fixture, name: &str) -> u16 {
    let service = fixture.service(name);
    let url = service["url"].as_str().unwrap_or_else(|| panic!("no address in {service:#}"));
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// A program on a terminal of its own. The terminal vanishes with the file.
pub fn on_a_terminal(mut command: Command, args: &[&str]) -> (Child, File) {
    let (mut master, mut slave) = (0, 0);
    let none = std::ptr::null_mut::<()>();
    // SAFETY: both numbers live here, and the other pointers may be null.
    let opened = unsafe {
        libc::openpty(&raw mut master, &raw mut slave, none.cast(), none.cast(), none.cast())
    };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the two descriptors were opened above and have no other owner.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    for fd in [&master, &slave] {
        // SAFETY: the descriptor is open; the call changes nothing else.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    let copy = || slave.try_clone().unwrap();
    command.args(args).stdin(copy()).stdout(copy()).stderr(copy());
    // SAFETY: between fork and exec only two system calls are made.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    (command.spawn().unwrap(), File::from(master))
}

/// Fails the test if a service of the tower was signalled before its dependent had ended, by their
/// own log lines. Returns how many services ended by themselves.
#[track_caller]
pub fn stopped_in_order(fixture: &Fixture) -> usize {
    let logs = fixture.xtask(&["logs", "--json"]).ends_with(0);
    let lines: Vec<Value> =
        logs.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let time = |service: &str, text: &str| {
        let mut lines = lines.iter();
        let said = lines.find(|line| line["service"] == service && line["text"] == text)?;
        Some(said["time"].as_str().unwrap().to_owned())
    };
    for (dependent, dependency) in [("top", "mid"), ("mid", "base")] {
        let told = time(dependency, "draining");
        if let (Some(ended), Some(told)) = (time(dependent, "drained"), &told) {
            assert!(ended <= *told, "`{dependency}` before `{dependent}`\n{logs}");
        }
        let first = time(dependent, "draining");
        assert!(told.is_none() || first.is_some(), "`{dependent}` was not told\n{logs}");
    }
    ["top", "mid", "base", "aside"].iter().filter(|name| time(name, "drained").is_some()).count()
}
