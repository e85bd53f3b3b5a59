//! Kills what is left of a stack: descendants of this process, processes that carry the mark of
//! the stack in their environment, and monitors of its containers.
//!
//! A signal never reaches an unrelated process. Each process is opened as a pidfd before it is
//! identified, or it is an unreaped child of this process. There is no order among the killed: the
//! scan kills and repeats until it finds no more.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, pidfd_send_signal, wait};
use serde::{Deserialize, Serialize};

use crate::system::{pidfd, proc};

/// The variable that marks the processes of a stack. Its value names the stack, or after a colon
/// also the run: `STACK` or `STACK:SERVICE:RUN`.
pub(crate) const MARK: &str = "XTASK_MARK";

/// How long a sweep waits for killed processes. The kernel cannot end a process whose disk does
/// not answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The first and the longest pause between two scans.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How long a process without arguments and variables may be between fork and exec. Some
/// processes never have either.
const EXEC_TIME: Duration = Duration::from_millis(200);

/// How deep below a child a scan descends. Deeper processes move up when their parents end.
const DEPTH: u32 = 64;

/// Programs that Podman, which has no daemon, leaves running below its caller. Other stacks use
/// them too. The engine removes containers, and these programs end with the last of them.
const ENGINE_PROGRAMS: [&str; 2] = [MONITOR, "aardvark-dns"];

/// The Podman program that watches one container, which its arguments name.
const MONITOR: &str = "conmon";

/// The longest reported command line, in characters.
const LONGEST_COMMAND: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KilledProcess {
    pub(crate) pid: i32,
    /// The command line, cut off after 200 characters.
    pub(crate) command: String,
}

/// Kills and reaps every descendant of this process except `spared`, which becomes none if it
/// ends. This process must be a child subreaper that needs none of its other children. Returns
/// whether only spared processes are left.
pub(crate) fn kill_descendants(spared: &mut Option<Pid>) -> bool {
    let me = getpid().as_raw_nonzero().get();
    let until = Instant::now() + PATIENCE;
    let (mut pause, longest) = PAUSES;
    loop {
        kill_below(me, None, me, &|pid| is_spared(pid, *spared), 0);
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, _))) => {
                    *spared = spared.filter(|spared| *spared != pid);
                    pause = PAUSES.0;
                }
                Ok(None) => break,
                // Without children there are no descendants: orphans become children.
                Err(rustix::io::Errno::CHILD) => return true,
                Err(_) => return false,
            }
        }
        if proc::children(me).iter().all(|pid| is_spared(*pid, *spared)) {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// Whether a process of this user and pid namespace carries the mark, except those in `spared`.
pub(crate) fn any_marked(mark: &str, spared: &[i32]) -> bool {
    proc::all().any(|pid| {
        !spared.contains(&pid) && mark_of(pid).is_stack(mark) && proc::shares_pid_namespace(pid)
    })
}

/// Kills every process of this user and pid namespace that carries the mark, except those in
/// `spared`. Returns the killed processes.
pub(crate) fn kill_marked(mark: &str, spared: &[i32]) -> Vec<KilledProcess> {
    let until = Instant::now() + PATIENCE;
    let mut killed: Vec<KilledProcess> = Vec::new();
    // One scan can miss a process that starts during the scan.
    let mut scans_without_match = 0;
    let mut exec_until = Instant::now() + EXEC_TIME;
    while scans_without_match < 2 {
        scans_without_match += 1;
        for pid in proc::all().filter(|pid| !spared.contains(pid)) {
            match mark_of(pid) {
                found if found.is_stack(mark) => {}
                Mark::Absent | Mark::Value(_) => continue,
                Mark::Unreadable => {
                    if Instant::now() < exec_until {
                        scans_without_match = 0;
                    }
                    continue;
                }
            }
            let Some(pidfd) = pidfd::open(pid) else { continue };
            // The pid may have been reused before the descriptor was opened, so check again.
            if !mark_of(pid).is_stack(mark) || !proc::shares_pid_namespace(pid) {
                continue;
            }
            let command = command_of(pid);
            if pidfd::has_ended(&pidfd) {
                continue;
            }
            scans_without_match = 0;
            exec_until = Instant::now() + EXEC_TIME;
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            if killed.iter().all(|known| known.pid != pid) {
                killed.push(KilledProcess { pid, command });
            }
        }
        if scans_without_match == 0 {
            if Instant::now() > until {
                break;
            }
            std::thread::sleep(PAUSES.0);
        }
    }
    killed
}

/// Kills the monitors of containers whose names start with `prefix`, and everything below them.
/// A Podman command that is killed midway can leave a monitor whose container Podman forgot.
pub(crate) fn kill_monitors(prefix: &str) {
    let me = getpid().as_raw_nonzero().get();
    for pid in proc::all().filter(|pid| monitors(*pid, prefix)) {
        let Some(pidfd) = pidfd::open(pid) else { continue };
        // The pid may have been reused before the descriptor was opened, so check again.
        if monitors(pid, prefix) && proc::shares_pid_namespace(pid) {
            // No exception for engine programs: between fork and exec, a child of a monitor still
            // looks like a monitor.
            kill_below(pid, Some(&pidfd), me, &|_| false, 0);
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}

/// Whether a process is the monitor of a container whose name starts with `prefix`.
fn monitors(pid: i32, prefix: &str) -> bool {
    let names_container = |two: &[String]| two[0] == "-n" && two[1].starts_with(prefix);
    executes(pid, &[MONITOR]) && proc::arguments(pid).windows(2).any(names_container)
}

fn executes(pid: i32, names: &[&str]) -> bool {
    proc::executable(pid)
        .is_some_and(|program| names.iter().any(|name| Path::new(&program.path).ends_with(name)))
}

/// Kills the descendants of a process, deepest first. `held` is the descriptor of `parent`, or
/// none if that is this process.
fn kill_below(
    parent: i32,
    held: Option<&OwnedFd>,
    me: i32,
    is_spared: &dyn Fn(i32) -> bool,
    depth: u32,
) {
    for pid in proc::children(parent) {
        if is_spared(pid) {
            continue;
        }
        let Some(pidfd) = pidfd::open(pid) else { continue };
        // If its parent has ended meanwhile, it is a child of this process.
        let is_descendant = match proc::parent(pid) {
            Some(now) if now == me => true,
            Some(now) => now == parent && held.is_some_and(|held| !pidfd::has_ended(held)),
            None => false,
        };
        if !is_descendant {
            continue;
        }
        if depth < DEPTH {
            kill_below(pid, Some(&pidfd), me, is_spared, depth + 1);
        }
        let _ = pidfd_send_signal(pidfd.as_fd(), Signal::KILL);
    }
}

fn is_spared(pid: i32, spared: Option<Pid>) -> bool {
    spared.is_some_and(|spared| spared.as_raw_nonzero().get() == pid) || is_engine_program(pid)
}

/// Whether a process runs containers of an engine that has no daemon. Containers of other stacks
/// may need it.
pub(crate) fn is_engine_program(pid: i32) -> bool {
    executes(pid, &ENGINE_PROGRAMS)
}

/// The value of [`MARK`] in the environment that a process was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Absent,
    /// The process is in its exec, and its environment cannot be read at this moment.
    Unreadable,
    Value(Vec<u8>),
}

impl Mark {
    /// The mark of what a run of a stack starts.
    pub(crate) fn of_run(stack: &str, service: &str, run: u64) -> Self {
        Self::Value(format!("{stack}:{service}:{run}").into_bytes())
    }

    /// Whether it names this run, the value of a leader's mark.
    pub(crate) fn is_run(&self, run: &Self) -> bool {
        matches!(self, Self::Value(_)) && self == run
    }

    /// Whether it names this stack, or a run of it.
    pub(crate) fn is_stack(&self, stack: &str) -> bool {
        let Self::Value(value) = self else { return false };
        let rest = value.strip_prefix(stack.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"))
    }
}

/// Looks for the mark in the environment that a process was started with.
pub(crate) fn mark_of(pid: i32) -> Mark {
    let Some(variables) = proc::environment(pid) else { return Mark::Absent };
    let mut is_empty = true;
    for variable in variables {
        is_empty = false;
        if let Some(value) = proc::value_of(&variable, MARK) {
            return Mark::Value(value.to_vec());
        }
    }
    // Kernel threads and zombies have no program.
    if is_empty && proc::arguments(pid).is_empty() && proc::executable(pid).is_some() {
        Mark::Unreadable
    } else {
        Mark::Absent
    }
}

fn command_of(pid: i32) -> String {
    let line = proc::command_line(pid);
    line.trim_end().chars().filter(|c| !c.is_control()).take(LONGEST_COMMAND).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    use rustix::process::kill_process_group;

    use super::*;
    use crate::system::pidfd::has_died;

    /// A child in a group of its own. The drop kills and reaps the group.
    struct Group(Child);

    impl Group {
        fn spawn(command: &mut Command) -> Self {
            use std::os::unix::process::CommandExt as _;
            Self(command.process_group(0).stdin(Stdio::null()).spawn().unwrap())
        }

        fn pid(&self) -> i32 {
            self.0.id().cast_signed()
        }

        fn is_running(&self) -> bool {
            !has_died(self.0.id())
        }
    }

    impl Drop for Group {
        fn drop(&mut self) {
            let group = Pid::from_raw(self.pid()).unwrap();
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.0.wait();
        }
    }

    fn marked(mark: &str) -> Group {
        Group::spawn(Command::new("sleep").arg("600").env(MARK, mark))
    }

    fn wait_until(holds: impl Fn() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until);
            std::thread::yield_now();
        }
    }

    #[test]
    fn kill_marked_kills_only_the_exact_mark() {
        let mark = format!("sweep-{}", std::process::id());
        let hit = marked(&format!("{mark}:a:1"));
        let other = marked(&format!("{mark}x"));
        let spared = marked(&mark);
        // The environment can be read once the exec is done.
        let is_marked = |group: &Group| mark_of(group.pid()).is_stack(&mark);
        wait_until(|| is_marked(&hit) && is_marked(&spared));

        let killed = kill_marked(&mark, &[spared.pid()]);

        assert_eq!(killed, [KilledProcess { pid: hit.pid(), command: "sleep 600".to_owned() }]);
        wait_until(|| !hit.is_running());
        assert!(other.is_running() && spared.is_running());
        drop(spared);
        assert_eq!(kill_marked(&mark, &[]), []);
    }

    #[test]
    fn kill_monitors_kills_matching_monitors_and_their_children() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(MONITOR);
        std::fs::copy("/bin/sh", &program).unwrap();
        let mark = format!("monitors-{}", std::process::id());
        let monitor = |name: String| {
            let mut command = Command::new(&program);
            command.args(["-c", "sleep 600 & echo $!; wait", "conmon", "-n"]).arg(name);
            let mut group = Group::spawn(command.stdout(Stdio::piped()));
            let mut child = String::new();
            BufReader::new(group.0.stdout.take().unwrap()).read_line(&mut child).unwrap();
            (group, child.trim().parse::<u32>().unwrap())
        };
        let (matching, child) = monitor(format!("xtask-{mark}-front-1"));
        let (other, child_of_other) = monitor(format!("xtask-{mark}x-front-1"));

        kill_monitors(&format!("xtask-{mark}-"));

        wait_until(|| !matching.is_running() && has_died(child));
        assert!(other.is_running() && !has_died(child_of_other));
    }

    #[test]
    fn engine_programs_and_the_named_process_are_spared() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(MONITOR);
        std::fs::copy("/bin/sleep", &program).unwrap();
        let engine = Group::spawn(Command::new(&program).arg("600"));
        let other = marked("spared");
        assert!(is_spared(engine.pid(), None));
        assert!(!is_spared(other.pid(), None));
        assert!(is_spared(other.pid(), Pid::from_raw(other.pid())));
    }
}
