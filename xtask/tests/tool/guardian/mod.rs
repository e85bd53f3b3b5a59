//! Nothing survives: whatever is killed, at whatever moment, a second later nothing of
//! the stack is there, as seen from outside: no process in its folders or with its
//! mark, no listener on its ports, no socket, no note of a running supervisor.
//!
//! Each fault is tried a few times; `XTASK_TRIES=100` tries harder.

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Fixture, PackageSpec, Running, SERVICE, alive, eventually, misbehave};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Supervisor,
    Guardian,
    SupervisorThenGuardian,
    GuardianThenSupervisor,
    /// At the same instant, so that neither can answer to the death of the other.
    Both,
    /// Everything in the process group of the terminal that the stack was started from.
    Terminal,
}

const FAULTS: [Fault; 6] = [
    Fault::Supervisor,
    Fault::Guardian,
    Fault::SupervisorThenGuardian,
    Fault::GuardianThenSupervisor,
    Fault::Both,
    Fault::Terminal,
];

/// Between the two that are not killed at once.
const APART: Duration = Duration::from_millis(50);

fn tries() -> usize {
    std::env::var("XTASK_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(2)
}

/// Ten services, most of them badly behaved.
fn zoo(name: &str) -> Fixture {
    const HABITS: [&str; 6] = [
        r#""--ignore-term", "--listen-env", "--grandchild", "--grandchild-setsid""#,
        r#""--listen-env", "--drain", "30000""#,
        r#""--listen-env", "--flood", "20000""#,
        r#""--listen-env", "--grandchild-setsid""#,
        r#""--listen-env""#,
        r#""--ignore-term", "--listen-env", "--grandchild-daemon", "--flood-on""#,
    ];
    let program = misbehave().display().to_string();
    let mut services = String::new();
    for number in 0..10 {
        let habits = HABITS[number % HABITS.len()];
        let waits = match number {
            0 => String::new(),
            _ => format!("depends-on = [\"s{}\"]\n", (number - 1) / 2),
        };
        services.push_str(&format!(
            "[workspace.metadata.services.s{number}]\n\
             command = [{program:?}, {habits}, \"--ready-line\", \"up\"]\n\
             port = 0\nready = {{ log = \"^up\" }}\nstop = {{ timeout = \"3s\" }}\n{waits}"
        ));
    }
    Fixture::new(name).workspace(&services)
}

/// A package whose build does not end by itself.
fn endless_build() -> PackageSpec {
    PackageSpec::new("slow", "slow")
        .bin("slow", SERVICE)
        .metadata("[package.metadata.service]\nport = 0\n")
}

const ENDLESS: &str = "fn main() { std::thread::sleep(std::time::Duration::from_secs(300)) }\n";

/// A running stack as its files and its status show it.
struct Victim {
    supervisor: i32,
    guardian: i32,
    /// The client that leads the terminal's process group.
    client: Option<i32>,
    mark: Vec<u8>,
    ports: Vec<u16>,
}

impl Victim {
    fn of(fixture: &Fixture, client: Option<&Running>) -> Self {
        let status = fixture.status();
        let pid = |value: &serde_json::Value| i32::try_from(value.as_i64().unwrap()).unwrap();
        let services = status["services"].as_array().unwrap();
        let ports = services.iter().filter_map(|service| {
            service["url"].as_str()?.rsplit(':').next()?.trim_end_matches('/').parse().ok()
        });
        let marked = services.iter().find(|service| service["pid"].is_i64()).unwrap();
        Self {
            supervisor: pid(&status["supervisor_pid"]),
            guardian: pid(&status["guardian_pid"]),
            client: client.map(Running::pid),
            mark: mark(pid(&marked["pid"])).unwrap(),
            ports: ports.collect(),
        }
    }

    fn suffer(&self, fault: Fault) {
        match fault {
            Fault::Supervisor => kill(self.supervisor),
            Fault::Guardian => kill(self.guardian),
            Fault::SupervisorThenGuardian => {
                kill(self.supervisor);
                thread::sleep(APART);
                kill(self.guardian);
            }
            Fault::GuardianThenSupervisor => {
                kill(self.guardian);
                thread::sleep(APART);
                kill(self.supervisor);
            }
            Fault::Both => {
                for pid in [self.guardian, self.supervisor] {
                    signal(pid, libc::SIGSTOP);
                }
                kill(self.guardian);
                kill(self.supervisor);
            }
            Fault::Terminal => kill(-self.client.expect("a client in a group of its own")),
        }
    }

    /// What is left of it.
    fn remains(&self, fixture: &Fixture) -> Vec<String> {
        let mut left = remains(fixture);
        left.extend(marked(&self.mark).into_iter().map(|pid| format!("process {pid} by its mark")));
        left.extend(
            (self.ports.iter())
                .filter(|port| TcpStream::connect(("127.0.0.1", **port)).is_ok())
                .map(|port| format!("port {port} answers")),
        );
        left
    }
}

/// Everything of a fixture that a stack which is gone has no use for.
pub(crate) fn remains(fixture: &Fixture) -> Vec<String> {
    let processes = fixture.processes();
    let mut left: Vec<String> =
        processes.iter().map(|found| format!("{} {}", found.pid, found.command)).collect();
    let files = files_below(fixture.state().parent().unwrap().join("run").as_path());
    left.extend(files.into_iter().map(|file| file.display().to_string()));
    left.extend(
        (files_below(&fixture.state()).into_iter())
            .filter(|file| file.ends_with("supervisor.json"))
            .map(|file| file.display().to_string()),
    );
    left
}

/// Fails the test if something is left a second after `begun`.
#[track_caller]
pub(crate) fn gone_within_a_second(begun: Instant, what: &str, remains: impl Fn() -> Vec<String>) {
    loop {
        let late = begun.elapsed() > Duration::from_secs(1);
        let left = remains();
        if left.is_empty() {
            return;
        }
        assert!(!late, "left after {what}: {left:#?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The first of the clients is the one in the terminal.
#[track_caller]
fn suffers(fixture: &Fixture, fault: Fault, clients: Vec<Running>) {
    let victim = Victim::of(fixture, clients.first());
    victim.suffer(fault);
    let begun = Instant::now();
    gone_within_a_second(begun, &format!("{fault:?}"), || victim.remains(fixture));
    for client in clients {
        let ran = client.wait(Duration::from_secs(5));
        assert_ne!(ran.code, Some(101), "{ran}");
    }
}

/// Brings everything up: for the terminal's fault by a client that stays.
fn up(fixture: &Fixture, fault: Fault) -> Vec<Running> {
    if fault != Fault::Terminal {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        return Vec::new();
    }
    let client = in_a_terminal(fixture, &["up"]);
    client.says(Duration::from_secs(30), "SERVICE");
    vec![client]
}

/// A client that leads a process group, as a shell has it.
fn in_a_terminal(fixture: &Fixture, args: &[&str]) -> Running {
    fixture.spawn_with(args, |command| {
        command.process_group(0);
    })
}

#[test]
fn nothing_survives_a_kill_in_a_steady_state_and_the_next_up_works_at_once() {
    let fixture = zoo("steady").write();
    for _ in 0..tries() {
        for fault in FAULTS {
            let clients = up(&fixture, fault);
            suffers(&fixture, fault, clients);
        }
    }
    fixture.xtask(&["up", "-d"]).ends_with(0);
    suffers(&fixture, Fault::Supervisor, Vec::new());
    fixture.xtask(&["up", "-d"]).ends_with(0).says("was killed");
    fixture.xtask(&["up", "-d"]).ends_with(0).says("already running");
}

#[test]
fn nothing_survives_a_kill_during_a_restart() {
    let fixture = zoo("restart").write();
    for _ in 0..tries() {
        for fault in FAULTS {
            let mut clients = up(&fixture, fault);
            clients.push(fixture.spawn(&["restart", "s1"]));
            eventually(Duration::from_secs(10), "a service that stops", || {
                (fixture.service("s1")["phase"] == "stopping").then_some(())
            });
            suffers(&fixture, fault, clients);
        }
    }
}

#[test]
fn nothing_survives_a_kill_while_a_build_runs_compilers_included() {
    let fixture = zoo("build").package(endless_build()).write();
    fixture.file("slow/build.rs", ENDLESS);
    for _ in 0..tries() {
        for fault in FAULTS {
            let client = building(&fixture);
            suffers(&fixture, fault, vec![client]);
        }
    }
}

/// The first five milliseconds, and then a millisecond later with each try.
#[test]
fn nothing_survives_a_kill_in_the_first_moments_of_a_start() {
    let fixture = zoo("start").write();
    let tries = u32::try_from(tries()).unwrap();
    let first = (0..tries).map(|number| Duration::from_millis(5) * number / tries);
    let later = (0..tries).map(|number| Duration::from_millis(5 + u64::from(number)));
    for delay in first.chain(later) {
        for fault in FAULTS {
            let client = in_a_terminal(&fixture, &["up", "-d"]);
            let (guardian, supervisor) = started(&client);
            thread::sleep(delay);
            let (mark, ports) = (Vec::new(), Vec::new());
            let victim = Victim { supervisor, guardian, client: Some(client.pid()), mark, ports };
            victim.suffer(fault);
            let begun = Instant::now();
            gone_within_a_second(begun, &format!("{fault:?} after {delay:?}"), || {
                remains(&fixture)
            });
            assert_ne!(client.wait(Duration::from_secs(5)).code, Some(101));
        }
    }
    fixture.xtask(&["up", "-d"]).ends_with(0);
}

/// The guardian and the supervisor that a client has just started, found without a pause.
fn started(client: &Running) -> (i32, i32) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let guardian = children(client.pid()).into_iter().find(|pid| supervises(*pid));
        // The sweeper is forked first.
        if let Some(guardian) = guardian
            && let [_, supervisor, ..] = children(guardian)[..]
        {
            return (guardian, supervisor);
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

fn sweeper(fixture: &Fixture) -> Option<i32> {
    fixture.processes().into_iter().map(|process| process.pid).find(|pid| is_sweeper(*pid))
}

fn is_sweeper(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "xtask-sweeper\n")
}

/// One command after the other finds out what is left once nobody is there any more.
#[test]
fn after_a_kill_of_all_three_at_once_the_next_command_ends_what_is_detached_and_says_so() {
    let fixture = zoo("all").write();
    for next in [&["status"][..], &["down"], &["logs"], &["graph"], &["up", "-d"]] {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let victim = Victim::of(&fixture, None);
        // While they are stopped none can answer to the death of another.
        let all = [victim.guardian, victim.supervisor, sweeper(&fixture).unwrap()];
        all.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
        all.iter().for_each(|pid| kill(*pid));
        eventually(Duration::from_secs(1), "only detached grandchildren", || {
            let left = fixture.processes();
            let detached = left.iter().all(|process| process.command.ends_with("--hold"));
            (!left.is_empty() && detached).then_some(())
        });
        let ran = fixture.xtask(next).says("were still there and are ended");
        assert!(ran.stderr.contains(&format!("supervisor {}", victim.supervisor)), "{ran}");
        if next[0] != "up" {
            assert_eq!(victim.remains(&fixture), Vec::<String>::new());
        }
        assert!(!fixture.xtask(&["logs"]).stderr.contains("Cleaned"), "it is said once");
    }
}

/// The sweeper is at work then, and whoever comes next waits for what it has to tell.
#[test]
fn after_a_kill_of_both_at_once_the_next_command_says_what_was_ended() {
    let fixture = zoo("both").write();
    for next in [&["status"][..], &["up", "-d"]] {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let victim = Victim::of(&fixture, None);
        victim.suffer(Fault::Both);
        let ran = fixture.xtask(next).says("were still there and are ended");
        assert!(ran.stderr.contains(&format!("supervisor {}", victim.supervisor)), "{ran}");
    }
}

#[test]
fn a_sweeper_that_is_killed_is_replaced_and_the_stack_does_not_notice() {
    let fixture = zoo("sweeper").write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let victim = Victim::of(&fixture, None);
    let first = sweeper(&fixture).unwrap();
    kill(first);
    eventually(Duration::from_secs(10), "another sweeper", || {
        sweeper(&fixture).filter(|now| *now != first)
    });
    assert_eq!(fixture.status()["state"], "ready");
    victim.suffer(Fault::GuardianThenSupervisor);
    let begun = Instant::now();
    gone_within_a_second(begun, "both, after the sweeper", || victim.remains(&fixture));
}

#[test]
fn a_guardian_passes_signals_on_and_sleeps_otherwise() {
    let program = misbehave().display().to_string();
    let fixture = Fixture::new("signals")
        .workspace(&format!(
            "[workspace.metadata.services.calm]\n\
             command = [{program:?}, \"--drain\", \"50\", \"--ready-line\", \"up\"]\n\
             ready = {{ log = \"up\" }}\n"
        ))
        .write();
    for number in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let victim = Victim::of(&fixture, None);
        let before = switches(victim.guardian);
        // Neither its terminal nor a crash of a service concerns it.
        signal(victim.guardian, libc::SIGQUIT);
        signal(victim.guardian, libc::SIGTSTP);
        fixture.xtask(&["restart", "calm"]).ends_with(0);
        assert_eq!(switches(victim.guardian), before, "it woke up");
        signal(victim.guardian, number);
        eventually(Duration::from_secs(5), "the end", || {
            victim.remains(&fixture).is_empty().then_some(())
        });
        let logs = fixture.xtask(&["logs", "calm", "-n", "1"]).ends_with(0);
        assert!(logs.stdout.contains("draining"), "it was not stopped in order\n{logs}");
        assert!(!logs.stderr.contains("Cleaned"), "{logs}");
    }
}

/// An `up` whose build has come to the script that does not end, with the services that
/// need no build up.
fn building(fixture: &Fixture) -> Running {
    let client = in_a_terminal(fixture, &["up"]);
    eventually(Duration::from_secs(60), "a build script", || {
        let found = fixture.processes();
        found.iter().any(|process| process.command.contains("build-script-build")).then_some(())
    });
    eventually(Duration::from_secs(30), "the services without a build", || {
        (fixture.service("s9")["phase"] == "ready").then_some(())
    });
    client
}

fn kill(pid: i32) {
    // It may be gone already: that is what the other kill was for.
    // SAFETY: the call takes two numbers; the process is one that the fixture started.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn signal(pid: i32, number: i32) {
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
}

fn mark(pid: i32) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environment.split(|byte| *byte == 0);
    entries.find_map(|entry| entry.strip_prefix(b"XTASK_MARK=")).map(<[u8]>::to_vec)
}

fn marked(wanted: &[u8]) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| mark(*pid).is_some_and(|mark| mark == wanted) && alive(*pid))
        .collect()
}

/// How often a process went to sleep by itself.
fn switches(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(found) if found.is_dir() => files.extend(files_below(&entry.path())),
            Ok(_) => files.push(entry.path()),
            Err(_) => {}
        }
    }
    files
}
