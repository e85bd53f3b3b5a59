//! Ctrl-C at every moment of a start, as a terminal sends it: to the whole foreground
//! group. It always ends, in order, with nothing left, and with code 130.
//!
//! A start is interrupted at a few points in time; `XTASK_TRIES=200` at so many.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Child;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::guardian::remains;
use xtask_test_support::stand::{SERVE, on_a_terminal, stand};
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually, within_a_second};

/// How long an end may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a terminal makes an interrupt of.
const CTRL_C: &[u8] = b"\x03";

/// The program that is built anew each time.
const SOURCE: &str = "late/src/bin/lated.rs";

fn points() -> u32 {
    std::env::var("XTASK_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(12)
}

/// How long what the services leave behind, which is deaf to SIGTERM, may take.
const STOP: &str = "stop = { timeout = \"300ms\" }\n";

/// Three that wait for each other and leave something behind, and one that is built.
fn start() -> Fixture {
    let flags = format!("{SERVE} --drain 20 --grandchild-daemon");
    let on = |on: &str| format!("port = 0\ndepends-on = [\"{on}\"]\n{STOP}");
    let base = format!("port = 0\n{STOP}");
    let late = PackageSpec::new("late", "late")
        .bin("lated", SERVICE)
        .metadata("[package.metadata.service]\nport = 0\ndepends-on = [\"base\"]\n");
    stand(&[("base", &flags, &base), ("mid", &flags, &on("base")), ("top", &flags, &on("mid"))])
        .package(late)
        .write()
}

/// An `up` in the foreground of a terminal, and what it shows there.
struct Foreground {
    child: Child,
    terminal: File,
    shown: JoinHandle<String>,
}

impl Foreground {
    fn up(fixture: &Fixture) -> Self {
        let (child, terminal) = on_a_terminal(fixture.command(), &["up"]);
        let mut reader = terminal.try_clone().unwrap();
        let shown = thread::spawn(move || {
            let mut all = Vec::new();
            let mut part = [0; 4096];
            // The end of a terminal is an error.
            while let Ok(length @ 1..) = reader.read(&mut part) {
                all.extend_from_slice(&part[..length]);
            }
            String::from_utf8_lossy(&all).into_owned()
        });
        // Before its first instruction the signal ends it, which shells call 130 too.
        let began = || catches_interrupts(child.id()).then_some(());
        eventually(PATIENCE, "a program that has begun", began);
        Self { child, terminal, shown }
    }

    fn interrupt(&mut self) {
        self.terminal.write_all(CTRL_C).unwrap();
    }

    /// The exit code, and what was shown.
    fn end(mut self) -> (Option<i32>, String) {
        let status = eventually(PATIENCE, "the end", || self.child.try_wait().unwrap());
        (status.code(), self.shown.join().unwrap())
    }
}

fn catches_interrupts(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok());
    caught.is_some_and(|caught| caught & (1 << (libc::SIGINT - 1)) != 0)
}

/// Makes the next build compile something.
fn change(fixture: &Fixture, number: u32) {
    fixture.file(SOURCE, &format!("{SERVICE}\n// {number}\n"));
}

/// The output lists the stopped services, dependents first.
fn stopped_in_order(shown: &str) {
    let place = |name: &str| shown.find(&format!("Stopped {name}"));
    for name in ["base", "mid", "top", "late"] {
        let was_up = shown.contains(&format!("Ready {name}"));
        assert!(!was_up || place(name).is_some(), "`{name}` was not stopped\n{shown}");
    }
    for (dependent, dependency) in [("top", "mid"), ("mid", "base"), ("late", "base")] {
        if let (Some(first), Some(second)) = (place(dependent), place(dependency)) {
            assert!(first < second, "`{dependency}` before `{dependent}`\n{shown}");
        }
    }
}

#[test]
fn ctrl_c_at_any_moment_stops_in_order() {
    let fixture = start();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    change(&fixture, 0);
    let begun = Instant::now();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    // A little beyond, so that the foreground is interrupted too.
    let whole = begun.elapsed() * 5 / 4;
    fixture.xtask(&["down"]).ends_with(0);
    let points = points();
    for point in 0..points {
        change(&fixture, point + 1);
        let delay = whole * point / points;
        let mut foreground = Foreground::up(&fixture);
        thread::sleep(delay);
        foreground.interrupt();
        let (code, shown) = foreground.end();
        assert_eq!(code, Some(130), "after {delay:?} of {whole:?}\n{shown}");
        within_a_second(&format!("Ctrl-C after {delay:?}\n{shown}"), || remains(&fixture));
        stopped_in_order(&shown);
    }
    fixture.xtask(&["up", "-d"]).ends_with(0);
}

/// Another client may hold the lock for ever, if it is suspended while it starts.
#[test]
fn ctrl_c_ends_a_queued_start() {
    let fixture = start();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let workspace = std::fs::read_dir(fixture.state()).unwrap().next().unwrap().unwrap().path();
    let held = File::options().write(true).open(workspace.join("dev/launch.lock")).unwrap();
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::flock(std::os::fd::AsRawFd::as_raw_fd(&held), libc::LOCK_EX) }, 0);
    let mut foreground = Foreground::up(&fixture);
    eventually(PATIENCE, "a client that waits", || {
        let pid = foreground.child.id().to_string();
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let waits = |line: &str| line.contains("-> FLOCK") && line.split(' ').any(|w| w == pid);
        locks.lines().any(waits).then_some(())
    });
    foreground.interrupt();
    let (code, shown) = foreground.end();
    assert_eq!(code, Some(130), "{shown}");
    drop(held);
    fixture.is_quiet();
}
