//! A stack that something is about to be done to, and what is left of it afterwards.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use xtask_test_support::{Fixture, Running, alive, within_a_second};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Supervisor,
    Guardian,
    SupervisorThenGuardian,
    GuardianThenSupervisor,
    /// At the same instant, so that neither can answer to the death of the other.
    Both,
    /// Everything in the process group of the terminal that the stack was started from.
    Terminal,
}

/// Between the two that are not killed at once.
const APART: Duration = Duration::from_millis(50);

/// A running stack as its files and its status show it.
pub(super) struct Victim {
    pub(super) supervisor: i32,
    pub(super) guardian: i32,
    pub(super) sweeper: i32,
    /// The client that leads the terminal's process group.
    pub(super) client: Option<i32>,
    /// Unknown in the first moments.
    pub(super) mark: Option<Vec<u8>>,
    pub(super) ports: Vec<u16>,
}

impl Victim {
    pub(super) fn of(fixture: &Fixture, client: Option<&Running>) -> Self {
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
            sweeper: sweeper(fixture).unwrap(),
            client: client.map(Running::pid),
            mark: Some(mark(pid(&marked["pid"])).unwrap()),
            ports: ports.collect(),
        }
    }

    pub(super) fn suffer(&self, fault: Fault) {
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
    pub(super) fn remains(&self, fixture: &Fixture) -> Vec<String> {
        let mut left = remains(fixture);
        let marked = self.mark.iter().flat_map(|mark| marked(mark));
        left.extend(marked.map(|pid| format!("process {pid} by its mark")));
        left.extend(
            (self.ports.iter())
                .filter(|port| TcpStream::connect(("127.0.0.1", **port)).is_ok())
                .filter(|port| !is_anothers(**port, self.mark.as_deref()))
                .map(|port| format!("port {port} answers")),
        );
        left
    }

    /// Fails the test if something is left a second from now. Something is left while the guardian
    /// or the sweeper works, and a closer look would only slow them down.
    #[track_caller]
    pub(super) fn is_gone_within_a_second(&self, fixture: &Fixture, what: &str) -> Duration {
        let all = [self.supervisor, self.guardian, self.sweeper];
        within_a_second(what, || match all.into_iter().find(|pid| alive(*pid)) {
            Some(pid) => vec![format!("process {pid} of {all:?}")],
            None => self.remains(fixture),
        })
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

pub(crate) fn sweeper(fixture: &Fixture) -> Option<i32> {
    fixture.processes().into_iter().map(|process| process.pid).find(|pid| is_sweeper(*pid))
}

fn is_sweeper(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "xtask-sweeper\n")
}

pub(super) fn kill(pid: i32) {
    // It may be gone already: that is what the other kill was for.
    // SAFETY: the call takes two numbers; the process is one that the fixture started.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

pub(super) fn signal(pid: i32, number: i32) {
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
}

/// The stack in the mark in the environment of a process, without the run.
pub(crate) fn mark(pid: i32) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut entries = environment.split(|byte| *byte == 0);
    let value = entries.find_map(|entry| entry.strip_prefix(b"XTASK_MARK="))?;
    value.split(|byte| *byte == b':').next().map(<[u8]>::to_vec)
}

fn marked(wanted: &[u8]) -> Vec<i32> {
    pids().filter(|pid| mark(*pid).is_some_and(|mark| mark == wanted) && alive(*pid)).collect()
}

fn pids() -> impl Iterator<Item = i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether the listener on a port has another mark, because its process got the number once it was
/// free again.
fn is_anothers(port: u16, own: Option<&[u8]>) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = format!(":{port:04X}");
    let mut listeners = fields.filter(|line| line[1].ends_with(&ours) && line[3] == "0A");
    let Some(link) = listeners.next().map(|line| format!("socket:[{}]", line[9])) else {
        return false;
    };
    let holds = |pid: &i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.flat_map(|found| fs::read_link(found.path())).any(|to| to.as_os_str() == &*link)
    };
    let mut holders = pids().filter(holds).peekable();
    holders.peek().is_some() && holders.all(|pid| mark(pid).as_deref() != own)
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
