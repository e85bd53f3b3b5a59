//! The marks by which commands find what a dead stack has left, and what must not pass for it.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use xtask_client::StackPaths;
use xtask_test_support::stand::{SERVE, pid, stand};
use xtask_test_support::{Fixture, eventually};

use super::victim::{Fault, Victim, kill, mark, signal};

const PATIENCE: Duration = Duration::from_secs(10);

fn plain() -> Fixture {
    let flags = format!("{SERVE} --grandchild-setsid");
    stand(&[("plain", &flags, "port = 0\n")]).write()
}

fn mark_of(fixture: &Fixture) -> String {
    String::from_utf8(mark(pid(fixture, "plain")).unwrap()).unwrap()
}

fn paths(fixture: &Fixture) -> StackPaths {
    let workspace = xtask_client::workspace_name(&fixture.root());
    StackPaths::at(fixture.state().join(workspace).join("dev"))
}

/// A process of another user, in no folder of the fixture. The drop kills and reaps it.
struct Stranger(Child);

impl Stranger {
    fn with_mark(mark: &str) -> Self {
        let mut command = Command::new("sleep");
        command.arg("600").env_clear().env("XTASK_MARK", mark).current_dir("/");
        Self(command.uid(65534).gid(65534).stdin(Stdio::null()).spawn().unwrap())
    }

    #[track_caller]
    fn is_running(&mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "a process of another user was killed");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kill_all_three(victim: &Victim) {
    let all = [victim.guardian, victim.supervisor, victim.sweeper];
    all.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
    all.iter().for_each(|pid| kill(*pid));
}

#[test]
fn each_supervisor_has_a_mark_of_its_own() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let first = mark_of(&fixture);
    let (stack, key) = first.split_once('.').unwrap();
    assert_eq!((stack, key.len()), (&*paths(&fixture).short_name(), 32));
    fixture.xtask(&["down"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_ne!(mark_of(&fixture), first);
    fixture.xtask(&["down"]).ends_with(0);
}

#[test]
fn processes_of_another_user_survive_every_sweep() {
    if !rustix::process::geteuid().is_root() {
        return xtask_client::harness::skipped("root");
    }
    let fixture = plain();
    let name = paths(&fixture).short_name();
    for deleted in [false, true] {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let own = mark_of(&fixture);
        let marks = [&*own, &format!("{own}:plain:1"), &*name, &format!("{name}:plain:1")];
        let mut strangers = marks.map(Stranger::with_mark);
        let victim = Victim::of(&fixture, None);
        kill_all_three(&victim);
        if deleted {
            fs::remove_dir_all(fixture.state()).unwrap();
        }
        fixture.xtask(&["down"]).says("leftover process");
        strangers.iter_mut().for_each(Stranger::is_running);
        fixture.xtask(&["up", "-d"]).ends_with(0);
        Victim::of(&fixture, None).suffer(Fault::Both);
        fixture.xtask(&["status"]).ends_with(7);
        strangers.iter_mut().for_each(Stranger::is_running);
    }
}

#[test]
fn marked_process_of_an_earlier_supervisor_is_killed() {
    let fixture = plain();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let first = mark_of(&fixture);
    fixture.xtask(&["down"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let victim = Victim::of(&fixture, None);
    let mut left = Command::new("sleep");
    let mut left = left.arg("600").env("XTASK_MARK", format!("{first}:plain:1")).spawn().unwrap();
    eventually(PATIENCE, "its exec", || mark(left.id().cast_signed()));
    kill_all_three(&victim);
    fixture.xtask(&["status"]).ends_with(7).says(&format!("{} `sleep 600`", left.id()));
    left.wait().unwrap();
}

/// Each leaves its session and its parents, and then its mark, all variables, or its user.
#[test]
fn disguised_orphans_end_with_their_stack() {
    let mut orphans = vec!["env XTASK_MARK=other sleep 600", "env -i sleep 600"];
    let is_root = rustix::process::geteuid().is_root();
    if is_root && Path::new("/usr/bin/setpriv").exists() {
        orphans.push("setpriv --reuid=65534 --regid=65534 --clear-groups sleep 600");
    }
    let started: String = orphans.iter().map(|orphan| format!("(setsid {orphan} &) ; ")).collect();
    let fixture = Fixture::new("disguised")
        .workspace(&format!(
            "[workspace.metadata.services.plain]\n\
             command = [\"sh\", \"-c\", \"{started} echo started; exec sleep 601\"]\n\
             ready = {{ log = \"started\" }}\n"
        ))
        .write();
    for fault in [
        Fault::Supervisor,
        Fault::SupervisorThenGuardian,
        Fault::GuardianThenSupervisor,
        Fault::Both,
    ] {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let victim = Victim::of(&fixture, None);
        eventually(PATIENCE, "all orphans", || {
            let found = fixture.processes().into_iter();
            let orphans_now = found.filter(|process| process.command == "sleep 600").count();
            (orphans_now == orphans.len()).then_some(())
        });
        victim.suffer(fault);
        victim.is_gone_within_a_second(&fixture, &format!("{orphans:?}"));
    }
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    fixture.is_quiet();
}
