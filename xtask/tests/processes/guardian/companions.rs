//! The guardian and the sweeper by themselves, and the commands that find out what was left
//! when they were killed, too.

use std::fs;
use std::time::Duration;

use super::victim::{Fault, Victim, kill, signal, sweeper};
use super::zoo;
use xtask_test_support::{Fixture, eventually, misbehave};

/// Each command finds what remains after all three processes have died.
#[test]
fn next_command_ends_orphans_after_killing_all_three() {
    let fixture = zoo("all").write();
    for next in [&["status"][..], &["down"], &["logs"], &["graph"], &["up", "-d"]] {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let victim = Victim::of(&fixture, None);
        // While they are stopped none can answer to the death of another.
        let all = [victim.guardian, victim.supervisor, victim.sweeper];
        all.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));
        all.iter().for_each(|pid| kill(*pid));
        eventually(Duration::from_secs(1), "only detached grandchildren", || {
            let left = fixture.processes();
            let detached = left.iter().all(|process| process.command.ends_with("--hold"));
            (!left.is_empty() && detached).then_some(())
        });
        let ran = fixture.xtask(next).says(" leftover processes: ");
        assert!(ran.stderr.contains(&format!("supervisor {}", victim.supervisor)), "{ran}");
        if next[0] != "up" {
            assert_eq!(victim.remains(&fixture), Vec::<String>::new());
        }
        assert!(!fixture.xtask(&["logs"]).stderr.contains("Cleaned"), "it is said once");
    }
}

/// The sweeper is working then, and the next command waits for its report.
#[test]
fn next_command_reports_the_sweep_after_killing_both() {
    let fixture = zoo("both").write();
    for next in [&["status"][..], &["up", "-d"]] {
        fixture.xtask(&["up", "-d"]).ends_with(0);
        let victim = Victim::of(&fixture, None);
        victim.suffer(Fault::Both);
        let ran = fixture.xtask(next).says(" leftover processes: ");
        assert!(ran.stderr.contains(&format!("supervisor {}", victim.supervisor)), "{ran}");
    }
}

#[test]
fn killed_sweeper_is_replaced() {
    let fixture = zoo("sweeper").write();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let mut victim = Victim::of(&fixture, None);
    let first = victim.sweeper;
    kill(first);
    victim.sweeper = eventually(Duration::from_secs(10), "another sweeper", || {
        sweeper(&fixture).filter(|now| *now != first)
    });
    assert_eq!(fixture.status()["state"], "ready");
    victim.suffer(Fault::GuardianThenSupervisor);
    victim.is_gone_within_a_second(&fixture, "both, after the sweeper");
}

#[test]
fn guardian_forwards_signals_and_otherwise_sleeps() {
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
        assert!(logs.stdout.contains("drained"), "it was not stopped in order\n{logs}");
        assert!(!logs.stderr.contains("Cleaned"), "{logs}");
    }
}

/// How often a process went to sleep by itself.
fn switches(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}
