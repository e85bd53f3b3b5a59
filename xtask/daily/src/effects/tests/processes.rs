//! Tests of spawning, signalling and reaping processes and their groups.

use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process, waitid};

use super::*;

#[test]
fn run_reports_started_exited_gone_in_order() {
    with_world(async |mut fixture| {
        fixture.spawn(3, shell("echo hello; exit 7"), Vec::new());
        let Event::Started { run: 3, pid, .. } = fixture.next().await else { panic!() };
        assert!(pid > 0);
        let Event::Exited { run: 3, exit, .. } = fixture.next().await else { panic!() };
        assert_eq!(exit, Exit::Code(7));
        // Its output is in the log before its exit is reported.
        assert_eq!(fixture.log(), ["hello"]);
        let Event::Gone { run: 3, .. } = fixture.next().await else { panic!() };
    });
}

#[test]
fn failed_start_names_its_cause() {
    with_world(async |mut fixture| {
        for (program, start) in [
            ("/no/such/program", "failed to execute `/no/such/program`: it does not exist"),
            (
                "no-such-program",
                "failed to find program `no-such-program`: it is in no folder of `PATH`",
            ),
            ("/etc/passwd", "failed to execute `/etc/passwd`: its mode 644"),
        ] {
            fixture.spawn(1, command(program, &[]), Vec::new());
            let Event::StartFailed { error, .. } = fixture.next().await else { panic!() };
            assert!(error.starts_with(start), "{error}");
        }
        let mut elsewhere = shell("true");
        elsewhere.cwd = "/no/such/folder".to_owned();
        fixture.spawn(1, elsewhere, Vec::new());
        let Event::StartFailed { error, .. } = fixture.next().await else { panic!() };
        assert!(
            error.starts_with("failed to enter the working folder `/no/such/folder`"),
            "{error}"
        );
        assert!(error.ends_with("; create it, or correct `cwd`"), "{error}");
    });
}

#[test]
fn forty_sockets_are_inherited_in_order() {
    with_world(async |mut fixture| {
        let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
        let ports = fixture.bind(names.iter().map(|name| port(name)).collect(), true).await;
        // The shell lists its own descriptors, with builtins only.
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

        let table = crate::system::tcp::listening();
        for (number, port) in ports.iter().enumerate() {
            let listener = table.iter().find(|listener| listener.local.port() == *port).unwrap();
            let expected = format!("{} socket:[{}]", number + 3, listener.inode);
            assert!(lines.contains(&expected), "no `{expected}` in {lines:#?}");
        }
        assert_eq!(lines.iter().filter(|line| line.contains(" socket:[")).count(), 40);
        assert!(lines.iter().any(|line| line.starts_with("0 /memfd:empty-input")), "{lines:#?}");

        // A missing program is reported with that many descriptors too.
        let mut missing = command;
        missing.program = "/no/such/program".to_owned();
        fixture.spawn(2, missing, Vec::new());
        let Event::StartFailed { error, .. } = fixture.next().await else { panic!() };
        assert!(error.contains("`/no/such/program`: it does not exist"), "{error}");
    });
}

#[test]
fn child_gets_its_own_group_and_variables() {
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
        assert_eq!(lines[1..3], ["/".to_owned(), format!("yes {mark}:a:1 none")]);
        assert_eq!(lines[3], format!("5000000 {pid}"));
    });
}

#[test]
fn child_blocks_and_ignores_no_signal() {
    with_world(async |mut fixture| {
        // Not in a shell, which blocks signals while it forks.
        let command = command("grep", &["-E", "Sig(Blk|Ign)", "/proc/self/status"]);
        let (_, lines) = fixture.run(command).await;
        assert_eq!(lines, ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]);
    });
}

#[test]
fn stop_signal_reaches_the_group() {
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
        until("the trap is set", || {
            std::fs::read_to_string(&log).is_ok_and(|t| t.contains("deaf"))
        })
        .await;
        fixture.signal(2, Signal::Stop("TERM".to_owned()));
        fixture.signal(2, Signal::Kill);
        assert_eq!(fixture.until_exited().await, Exit::Signal(9));
        fixture.until_gone().await;
    });
}

#[test]
fn exit_reaped_by_other_code_is_unknown() {
    with_world(async |mut fixture| {
        fixture.spawn(1, shell("exec sleep 1000"), Vec::new());
        let Event::Started { pid, .. } = fixture.next().await else { panic!() };
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        // No await in between, so the task of the run does not reap it first.
        kill_process(pid, rustix::process::Signal::KILL).unwrap();
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED).unwrap();
        assert_eq!(fixture.until_exited().await, Exit::Unknown);
        fixture.until_gone().await;
    });
}

#[test]
fn gone_waits_for_a_grandchild_after_the_leader() {
    with_world(async |mut fixture| {
        let script = "sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000' & sleep 0.05; exit 0";
        fixture.spawn(1, shell(script), Vec::new());
        assert_eq!(fixture.until_exited().await, Exit::Code(0));
        let grandchild = fixture.log()[0].clone();
        // The group is checked many times meanwhile.
        let early = tokio::time::timeout(Duration::from_millis(150), fixture.events.recv()).await;
        assert!(early.is_err(), "{early:?}");
        assert!(is_running(&grandchild));
        fixture.signal(1, Signal::Kill);
        fixture.until_gone().await;
        assert!(!is_running(&grandchild));
    });
}

#[test]
#[cfg(target_os = "linux")]
fn run_ends_with_the_thread_that_forked_it() {
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
    while is_running(&pid) {
        assert!(std::time::Instant::now() < deadline, "{pid} still runs");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn injected_kill_looks_like_a_crash() {
    with_world(async |mut fixture| {
        fixture.spawn(1, shell("sleep 1000"), Vec::new());
        fixture.until_started().await;
        fixture.signal(1, Signal::Kill);
        assert_eq!(fixture.until_exited().await, Exit::Signal(9));
        fixture.until_gone().await;
        // A signal to a run that has ended does nothing.
        fixture.signal(1, Signal::Kill);
    });
}

#[test]
fn pause_stops_the_group_until_resume() {
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
        for (signal, stopped) in
            [(Signal::Pause, true), (Signal::Resume, false), (Signal::Pause, true)]
        {
            fixture.signal(1, signal);
            for member in &members {
                while is_stopped(member) != stopped {
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

fn is_stopped(pid: &str) -> bool {
    ProcessStat::of(pid).unwrap().is_stopped()
}

#[test]
fn hundred_parallel_runs_end_and_leave_nothing() {
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
fn accepted_program_starts_from_its_kept_copy() {
    with_world(async |mut fixture| {
        let sh = which::which("sh").unwrap();
        let path = sh.to_string_lossy().into_owned();
        let program = path.into();
        fixture.world.perform(Effect::Accept { service: name(), program, image: None });
        let Event::Accepted { artifact, .. } = fixture.next().await else { panic!() };
        assert!(artifact.path.starts_with(fixture.folder.path().to_str().unwrap()));
        let (exit, _) = fixture.run(command(&artifact.path, &["-c", "exit 3"])).await;
        assert_eq!(exit, Exit::Code(3));
        fixture.world.perform(Effect::Accept {
            service: name(),
            program: "/no/such".to_owned().into(),
            image: None,
        });
        let Event::BuildFailed { message, .. } = fixture.next().await else { panic!() };
        assert!(message.contains("`/no/such`"), "{message}");
    });
}
