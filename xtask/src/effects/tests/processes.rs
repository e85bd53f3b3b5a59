//! Starting, signalling and ending processes and their groups.

use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};

use super::*;

#[test]
fn a_run_is_started_exits_and_is_gone_in_that_order() {
    with_world(async |mut fixture| {
        fixture.spawn(3, shell("echo hello; exit 7"), Vec::new());
        let Event::Started { run: 3, pid, .. } = fixture.next().await else { panic!() };
        assert!(pid > 0);
        let Event::Exited { run: 3, exit, .. } = fixture.next().await else { panic!() };
        assert_eq!(exit, Exit::Code(7));
        // What it printed is in the log before the news of its end.
        assert_eq!(fixture.log(), ["hello"]);
        let Event::Gone { run: 3, .. } = fixture.next().await else { panic!() };
    });
}

#[test]
fn a_missing_program_is_named_and_looks_started_at_no_time() {
    with_world(async |mut fixture| {
        for (program, words) in [
            ("/no/such/program", "program `/no/such/program` does not exist"),
            ("no-such-program", "program `no-such-program` is in no folder of `PATH`"),
            ("/etc/passwd", "cannot execute `/etc/passwd`: Permission denied"),
        ] {
            fixture.spawn(1, command(program, &[]), Vec::new());
            let Event::StartFailed { error, .. } = fixture.next().await else { panic!() };
            assert!(error.starts_with(words), "{error}");
        }
        let mut elsewhere = shell("true");
        elsewhere.cwd = "/no/such/folder".to_owned();
        fixture.spawn(1, elsewhere, Vec::new());
        let Event::StartFailed { error, .. } = fixture.next().await else { panic!() };
        assert!(error.starts_with("cannot enter the working folder `/no/such/folder`"), "{error}");
    });
}

#[test]
fn forty_sockets_are_inherited_in_order_with_a_right_listen_pid() {
    with_world(async |mut fixture| {
        let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
        let ports = fixture.bind(names.iter().map(|name| port(name)).collect(), true).await;
        // The descriptors are listed by the process itself: a shell that only uses builtins.
        let mut command = shell(
            "echo $LISTEN_PID $$ $LISTEN_FDS $LISTEN_FDNAMES; \
             for fd in $(seq 0 60); do \
               test -e /proc/$$/fd/$fd && echo $fd $(readlink /proc/$$/fd/$fd); done; true",
        );
        command.sockets.clone_from(&names);
        let (exit, lines) = fixture.run(command.clone()).await;
        assert_eq!(exit, Exit::Code(0));
        let pid = lines[0].split(' ').next().unwrap();
        assert_eq!(lines[0], format!("{pid} {pid} 40 {}", names.join(":")));

        let table = crate::system::listeners::all();
        for (number, port) in ports.iter().enumerate() {
            let listener = table.iter().find(|listener| listener.address.port() == *port).unwrap();
            let expected = format!("{} socket:[{}]", number + 3, listener.inode);
            assert!(lines.contains(&expected), "no `{expected}` in {lines:#?}");
        }
        assert_eq!(lines.iter().filter(|line| line.contains(" socket:[")).count(), 40);
        assert!(lines.contains(&"0 /dev/null".to_owned()), "{lines:#?}");

        // With as many descriptors a missing program is still found missing.
        let mut missing = command;
        missing.program = "/no/such/program".to_owned();
        fixture.spawn(2, missing, Vec::new());
        let Event::StartFailed { error, .. } = fixture.next().await else { panic!() };
        assert_eq!(error, "program `/no/such/program` does not exist");
    });
}

#[test]
fn a_child_gets_its_own_group_and_its_variables() {
    with_world(async |mut fixture| {
        let mut command = shell(
            "echo $(cut -d' ' -f5 /proc/$$/stat) $$; \
             pwd; echo $MINE $XTASK_MARK ${CARGO_PKG_NAME-none}; echo $WATCHDOG_USEC $WATCHDOG_PID",
        );
        command.env.push(("MINE".to_owned(), "yes".to_owned()));
        command.watchdog_us = Some(5_000_000);
        let (_, lines) = fixture.run(command).await;
        let (group, pid) = lines[0].split_once(' ').unwrap();
        assert_eq!(group, pid);
        let mark = mark(fixture.folder.path());
        assert_eq!(lines[1..3], ["/".to_owned(), format!("yes {mark} none")]);
        assert_eq!(lines[3], format!("5000000 {pid}"));
    });
}

#[test]
fn no_signal_is_blocked_or_ignored_in_a_child() {
    with_world(async |mut fixture| {
        // Not by way of a shell, which blocks signals itself while it forks.
        let command = command("grep", &["-E", "Sig(Blk|Ign)", "/proc/self/status"]);
        let (_, lines) = fixture.run(command).await;
        assert_eq!(lines, ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]);
    });
}

#[test]
fn the_stop_signal_reaches_the_group_and_a_deaf_one_is_killed() {
    with_world(async |mut fixture| {
        fixture.spawn(1, shell("sleep 1000"), Vec::new());
        fixture.until_started().await;
        fixture.signal(1, Signal::Stop("SIGTERM".to_owned()));
        assert_eq!(fixture.until_exited().await, Exit::Signal(15));
        fixture.until_gone().await;

        fixture.spawn(
            2,
            shell("trap '' TERM; echo deaf; while :; do sleep 0.01; done"),
            Vec::new(),
        );
        let log = fixture.folder.path().join("state/logs/a.log");
        until("it is deaf", || std::fs::read_to_string(&log).is_ok_and(|t| t.contains("deaf")))
            .await;
        fixture.signal(2, Signal::Stop("TERM".to_owned()));
        fixture.signal(2, Signal::Kill);
        assert_eq!(fixture.until_exited().await, Exit::Signal(9));
        fixture.until_gone().await;
    });
}

#[test]
fn an_end_that_somebody_else_took_the_news_of_is_unknown() {
    with_world(async |mut fixture| {
        fixture.spawn(1, shell("exec sleep 1000"), Vec::new());
        let Event::Started { pid, .. } = fixture.next().await else { panic!() };
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        // Nothing is awaited in between, so the task of the run cannot be quicker.
        kill_process(pid, rustix::process::Signal::KILL).unwrap();
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).unwrap();
        assert_eq!(fixture.until_exited().await, Exit::Unknown);
        fixture.until_gone().await;
    });
}

#[test]
fn gone_is_said_only_when_a_grandchild_that_outlives_its_leader_is_gone() {
    with_world(async |mut fixture| {
        let script = "sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000' & sleep 0.05; exit 0";
        fixture.spawn(1, shell(script), Vec::new());
        assert_eq!(fixture.until_exited().await, Exit::Code(0));
        let grandchild = fixture.log()[0].clone();
        // The group is looked at many times meanwhile.
        let early = tokio::time::timeout(Duration::from_millis(150), fixture.events.recv()).await;
        assert!(early.is_err(), "{early:?}");
        assert!(is_alive(&grandchild));
        fixture.signal(1, Signal::Kill);
        fixture.until_gone().await;
        assert!(!is_alive(&grandchild));
    });
}

#[test]
fn a_detached_grandchild_that_holds_the_pipes_delays_nothing_and_is_reaped() {
    with_world(async |mut fixture| {
        let detached = leave_a_detached_grandchild(&mut fixture).await;
        let pid = rustix::process::Pid::from_raw(detached.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let path = PathBuf::from(format!("/proc/{detached}"));
        until("the orphan is reaped", || !path.exists()).await;
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_detached_grandchild_ends_with_the_stack() {
    with_world(async |mut fixture| {
        let detached = leave_a_detached_grandchild(&mut fixture).await;
        drop(fixture);
        assert!(!PathBuf::from(format!("/proc/{detached}")).exists());
    });
}

/// Runs a program that leaves one behind in a session of its own: its process.
async fn leave_a_detached_grandchild(fixture: &mut Fixture) -> String {
    let script = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.1";
    fixture.spawn(1, shell(script), Vec::new());
    fixture.until_gone().await;
    let detached = fixture.log()[0].clone();
    assert!(is_alive(&detached));
    detached
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_does_not_outlive_the_thread_that_started_it() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let supervisor = std::thread::spawn(move || {
        with_world(async |mut fixture| {
            fixture.spawn(1, shell("trap '' TERM HUP; exec sleep 1000"), Vec::new());
            sender.send(fixture.until_started().await.to_string()).unwrap();
        });
    });
    let pid = receiver.recv().unwrap();
    supervisor.join().unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while is_alive(&pid) {
        assert!(std::time::Instant::now() < deadline, "{pid} still runs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_kill_as_a_fault_looks_like_a_crash() {
    with_world(async |mut fixture| {
        fixture.spawn(1, shell("sleep 1000"), Vec::new());
        fixture.until_started().await;
        fixture.signal(1, Signal::Kill);
        assert_eq!(fixture.until_exited().await, Exit::Signal(9));
        fixture.until_gone().await;
        // A run that is over is left alone.
        fixture.signal(1, Signal::Kill);
    });
}

#[test]
fn a_paused_run_stands_still_with_its_whole_group_goes_on_when_told_and_can_be_stopped() {
    with_world(async |mut fixture| {
        fixture.spawn(1, shell("sleep 1000 & wait"), Vec::new());
        let leader = fixture.until_started().await.to_string();
        let members = loop {
            let members = children_of(&leader);
            if !members.is_empty() {
                break [members, vec![leader.clone()]].concat();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        for (signal, stands) in
            [(Signal::Pause, true), (Signal::Resume, false), (Signal::Pause, true)]
        {
            fixture.signal(1, signal);
            for member in &members {
                while stands_still(member) != stands {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        fixture.signal(1, Signal::Stop("SIGTERM".to_owned()));
        assert_eq!(fixture.until_exited().await, Exit::Signal(15));
        fixture.until_gone().await;
    });
}

fn children_of(pid: &str) -> Vec<String> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    std::fs::read_to_string(path).unwrap().split_whitespace().map(str::to_owned).collect()
}

fn stands_still(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
}

#[test]
fn a_hundred_runs_at_once_all_end_and_leave_nothing() {
    with_world(async |mut fixture| {
        for run in 1..=100 {
            fixture.spawn(run, command("sleep", &["1000"]), Vec::new());
        }
        for _ in 0..100 {
            fixture.until_started().await;
        }
        for run in 1..=100 {
            fixture.signal(run, Signal::Stop("SIGTERM".to_owned()));
        }
        for _ in 0..100 {
            fixture.until_gone().await;
        }
    });
}

#[test]
fn an_accepted_program_is_started_from_where_it_is_kept() {
    with_world(async |mut fixture| {
        let sh = which::which("sh").unwrap();
        let path = sh.to_string_lossy().into_owned();
        fixture.world.perform(Effect::Accept { service: name(), path, image: None });
        let Event::Accepted { artifact, .. } = fixture.next().await else { panic!() };
        assert!(artifact.path.starts_with(fixture.folder.path().to_str().unwrap()));
        let (exit, _) = fixture.run(command(&artifact.path, &["-c", "exit 3"])).await;
        assert_eq!(exit, Exit::Code(3));
        fixture.world.perform(Effect::Accept {
            service: name(),
            path: "/no/such".to_owned(),
            image: None,
        });
        let Event::BuildFailed { message, .. } = fixture.next().await else { panic!() };
        assert!(message.contains("`/no/such`"), "{message}");
    });
}
