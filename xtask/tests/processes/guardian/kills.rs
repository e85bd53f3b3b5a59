//! Kills of supervisor, guardian and both, at every moment of a stack's life.
//!
//! Each fault is tried a few times; `XTASK_TRIES=100` tries harder, and `--nocapture` shows how
//! long it took at the most until nothing was left.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::thread;
use std::time::{Duration, Instant};

use super::victim::{Fault, Victim};
use super::zoo;
use serde_json::Value;
use xtask_test_support::{Fixture, PackageSpec, Running, SERVICE, alive, eventually};

const FAULTS: [Fault; 6] = [
    Fault::Supervisor,
    Fault::Guardian,
    Fault::SupervisorThenGuardian,
    Fault::GuardianThenSupervisor,
    Fault::Both,
    Fault::Terminal,
];

fn tries() -> usize {
    std::env::var("XTASK_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(2)
}

/// A package whose build does not end by itself.
fn endless_build() -> PackageSpec {
    PackageSpec::new("slow", "slow")
        .bin("slow", SERVICE)
        .metadata("[package.metadata.service]\nport = 0\n")
}

const ENDLESS: &str = "fn main() { std::thread::sleep(std::time::Duration::from_secs(300)) }\n";

/// How often nothing was left, and after how long at the most.
#[derive(Default)]
struct Cleanings {
    count: usize,
    longest: Duration,
}

impl Cleanings {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.longest = self.longest.max(took);
    }
}

impl Drop for Cleanings {
    fn drop(&mut self) {
        println!("{} kills: nothing left after {:?} at the most", self.count, self.longest);
    }
}

/// The first of the clients is the one in the terminal. Returns when nothing was left.
#[track_caller]
fn suffers(fixture: &Fixture, fault: Fault, clients: Vec<Running>) -> Duration {
    let victim = Victim::of(fixture, clients.first());
    victim.suffer(fault);
    let took = victim.is_gone_within_a_second(fixture, &format!("{fault:?}"));
    for client in clients {
        let ran = client.wait(Duration::from_secs(5));
        assert_ne!(ran.code, Some(101), "{ran}");
    }
    took
}

/// Brings everything up: for the terminal's fault by a client that stays.
fn up(fixture: &Fixture, fault: Fault) -> Vec<Running> {
    if fault != Fault::Terminal {
        fixture.xtask(starting(fault)).ends_with(0);
        return Vec::new();
    }
    let client = in_a_terminal(fixture, starting(fault));
    client.says(Duration::from_secs(30), "SERVICE");
    vec![client]
}

/// The command for a stack that this fault ends: a terminal takes only those with it that a
/// client holds, and `up -d` lets go as soon as everything is ready.
fn starting(fault: Fault) -> &'static [&'static str] {
    if fault == Fault::Terminal { &["up"] } else { &["up", "-d"] }
}

/// A client that leads a process group, as a shell has it.
fn in_a_terminal(fixture: &Fixture, args: &[&str]) -> Running {
    fixture.spawn_with(args, |command| {
        command.process_group(0);
    })
}

#[test]
fn kill_in_steady_state_leaves_no_process() {
    let fixture = zoo("steady").write();
    let mut cleanings = Cleanings::default();
    for _ in 0..tries() {
        for fault in FAULTS {
            let clients = up(&fixture, fault);
            cleanings.add(suffers(&fixture, fault, clients));
        }
    }
    fixture.xtask(&["up", "-d"]).ends_with(0);
    suffers(&fixture, Fault::Supervisor, Vec::new());
    fixture.xtask(&["up", "-d"]).ends_with(0).says("was killed");
    fixture.xtask(&["up", "-d"]).ends_with(0).says("already running");
}

#[test]
fn kill_during_a_restart_leaves_no_process() {
    let fixture = zoo("restart").write();
    let mut cleanings = Cleanings::default();
    for _ in 0..tries() {
        for fault in FAULTS {
            let mut clients = up(&fixture, fault);
            clients.push(fixture.spawn(&["restart", "s1"]));
            eventually(Duration::from_secs(10), "a service that stops", || {
                (fixture.service("s1")["phase"] == "stopping").then_some(())
            });
            cleanings.add(suffers(&fixture, fault, clients));
        }
    }
}

#[test]
fn kill_during_a_build_leaves_no_compiler() {
    let fixture = zoo("build").package(endless_build()).write();
    fixture.file("slow/build.rs", ENDLESS);
    let mut cleanings = Cleanings::default();
    for _ in 0..tries() {
        for fault in FAULTS {
            let client = building(&fixture);
            cleanings.add(suffers(&fixture, fault, vec![client]));
        }
    }
}

/// The first five milliseconds, and then a millisecond later with each try.
#[test]
fn kill_during_the_start_leaves_no_process() {
    let fixture = zoo("start").write();
    let mut cleanings = Cleanings::default();
    let tries = u32::try_from(tries()).unwrap();
    let first = (0..tries).map(|number| Duration::from_millis(5) * number / tries);
    let later = (0..tries).map(|number| Duration::from_millis(5 + u64::from(number)));
    for delay in first.chain(later) {
        for fault in FAULTS {
            let client = in_a_terminal(&fixture, starting(fault));
            let (guardian, sweeper, supervisor) = started(&client);
            thread::sleep(delay);
            let (mark, ports) = (None, Vec::new());
            let terminal = Some(client.pid());
            let victim = Victim { supervisor, guardian, sweeper, client: terminal, mark, ports };
            victim.suffer(fault);
            let what = format!("{fault:?} after {delay:?}");
            cleanings.add(victim.is_gone_within_a_second(&fixture, &what));
            assert_ne!(client.wait(Duration::from_secs(5)).code, Some(101));
        }
    }
    fixture.xtask(&["up", "-d"]).ends_with(0);
}

/// The guardian, the sweeper and the supervisor that a client has just started, found without
/// a pause.
fn started(client: &Running) -> (i32, i32, i32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // The client starts the sweeper, that forks the guardian, and that the supervisor.
        let sweeper = children(client.pid()).into_iter().find(|pid| supervises(*pid));
        if let Some(sweeper) = sweeper
            && let [guardian, ..] = children(sweeper)[..]
            && let [supervisor, ..] = children(guardian)[..]
        {
            return (guardian, sweeper, supervisor);
        }
        assert!(Instant::now() < deadline, "it does not start\n{}", client.said());
        thread::yield_now();
    }
}

/// The children of a process in the order in which they were made.
fn children(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    texts
        .flat_map(|text| text.split(' ').filter_map(|p| p.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn supervises(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(b"supervise")
}

/// An `up` whose build has come to the script that does not end, with the services that
/// need no build up.
fn building(fixture: &Fixture) -> Running {
    let client = in_a_terminal(fixture, &["up"]);
    let stays = || assert!(alive(client.pid()), "it ended by itself\n{}", client.said());
    eventually(Duration::from_secs(60), "a build script", || {
        stays();
        let found = fixture.processes();
        found.iter().any(|process| process.command.contains("build-script-build")).then_some(())
    });
    eventually(Duration::from_secs(30), "the services without a build", || {
        stays();
        // The build begins before the supervisor.
        let status = fixture.xtask(&["status", "--json"]);
        let services = (status.code == Some(0)).then(|| status.json()["services"].clone())?;
        let is_ready = |it: &Value| it["name"] == "s9" && it["phase"] == "ready";
        services.as_array().unwrap().iter().any(is_ready).then_some(())
    });
    client
}
