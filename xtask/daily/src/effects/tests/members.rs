//! Tests of runs whose processes left the group of their leader.

use super::*;

/// Prints its pid, and `got it` on SIGTERM.
const HEARING: &str = "trap 'echo got it; exit' TERM\necho $$\nwhile :; do sleep 0.02; done\n";

/// Prints its pid, and ignores SIGTERM.
const DEAF: &str = "trap '' TERM\necho $$\nexec sleep 1000\n";

impl Fixture {
    /// Starts a shell with this script, in which `MEMBER` is a command that runs `member`. Waits
    /// until the member has printed its pid.
    async fn leave(&mut self, run: Run, script: &str, member: &str) -> String {
        let file = self.folder.path().join("member");
        std::fs::write(&file, member).unwrap();
        let before = self.pids().len();
        let member = format!("sh {}", file.display());
        let script = script.replace("MEMBER", &member);
        self.spawn(run, command("bash", &["-c", &script]), Vec::new());
        self.until_started().await;
        until("a pid in the log", || self.pids().len() > before).await;
        self.pids().pop().unwrap()
    }

    fn pids(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| line.parse::<i32>().is_ok()).collect()
    }

    fn stop(&mut self, run: Run, signal: &str) {
        self.signal(run, Signal::Stop(signal.to_owned()));
    }
}

/// Waits until a process is a child of this one.
async fn is_inherited(pid: &str) {
    let own = std::process::id().cast_signed();
    until("an orphan", || ProcessStat::of(pid).is_some_and(|stat| stat.parent == own)).await;
}

#[test]
#[cfg(target_os = "linux")]
fn stop_signal_reaches_members_outside_the_group() {
    with_world(async |mut fixture| {
        let starts = [
            "exec setsid -w MEMBER",
            "setsid MEMBER & wait",
            "set -m; MEMBER & wait",
            // The member is an orphan before the stop.
            "(setsid MEMBER &); sleep 1000",
            "(env -i PATH=$PATH setsid MEMBER & sleep 1000); exit",
            // The leader waits for its child before it takes the signal.
            "set -m; trap exit TERM; MEMBER",
        ];
        for (run, start) in (1..).zip(starts) {
            let member = fixture.leave(run, start, HEARING).await;
            fixture.stop(run, "SIGTERM");
            fixture.until_gone().await;
            assert!(!is_running(&member), "{start}");
            let got = fixture.log().iter().filter(|line| *line == "got it").count();
            assert_eq!(got as u64, run, "{start}");
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn stop_signal_other_than_term_spares_children_of_parents() {
    with_world(async |mut fixture| {
        let member = "trap 'echo interrupted' INT\necho $$\nwhile :; do sleep 0.02; done\n";
        let start = "trap 'kill -9 $child; exit' INT; setsid MEMBER & child=$!; \
                     wait; sleep 1.5; kill -9 $child; exit";
        let pid = fixture.leave(1, start, member).await;
        fixture.stop(1, "SIGINT");
        fixture.until_gone().await;
        assert!(!is_running(&pid) && !fixture.log().contains(&"interrupted".to_owned()));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn gone_waits_for_members_that_the_leader_left() {
    with_world(async |mut fixture| {
        let starts = [
            "setsid MEMBER & sleep 0.3",
            "setsid -f MEMBER; sleep 0.3",
            "set -m; MEMBER & sleep 0.3",
        ];
        for (run, start) in (1..).zip(starts) {
            let member = fixture.leave(run, start, DEAF).await;
            fixture.until_exited().await;
            is_inherited(&member).await;
            fixture.stop(run, "SIGTERM");
            let early = Duration::from_millis(100);
            let early = tokio::time::timeout(early, fixture.events.recv()).await;
            assert!(early.is_err() && is_running(&member), "{start}: {early:?}");
            fixture.signal(run, Signal::Kill);
            fixture.until_gone().await;
            assert!(!is_running(&member), "{start}");
        }
    });
}

#[test]
#[cfg(target_os = "linux")]
fn members_of_other_runs_get_no_signal() {
    with_world(async |mut fixture| {
        let one = fixture.leave(1, "(setsid MEMBER &); sleep 1000", HEARING).await;
        let two = fixture.leave(2, "(setsid MEMBER &); sleep 1000", HEARING).await;
        is_inherited(&one).await;
        is_inherited(&two).await;
        fixture.stop(2, "SIGTERM");
        fixture.until_gone().await;
        assert!(is_running(&one) && !is_running(&two));
        drop(fixture);
        assert!(!is_running(&one));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn pause_stops_members_outside_the_group() {
    with_world(async |mut fixture| {
        let member = fixture.leave(1, "setsid MEMBER & wait", "echo $$\nexec sleep 1000\n").await;
        let is_stopped = || ProcessStat::of(&member).is_some_and(|stat| stat.is_stopped());
        fixture.signal(1, Signal::Pause);
        until("a stopped member", is_stopped).await;
        fixture.signal(1, Signal::Resume);
        until("a running member", || !is_stopped()).await;
        fixture.signal(1, Signal::Pause);
        until("a stopped member", is_stopped).await;
        fixture.stop(1, "SIGTERM");
        fixture.until_gone().await;
        assert!(!is_running(&member));
    });
}
