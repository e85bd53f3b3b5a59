//! Kills what is left of a stack: descendants of this process, processes of this user that carry a
//! mark of the stack in their environment, and monitors of its containers.
//!
//! A signal never reaches an unrelated process. Each process is opened as a pidfd before it is
//! identified, or it is an unreaped child of this process. There is no order among the killed: the
//! scan kills and repeats until it finds no more.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpid, pidfd_send_signal, wait};
use serde::{Deserialize, Serialize};

use crate::system::mark::{Mark, Marks, mark_of};
use crate::system::{pidfd, proc};

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
        let is_kept = |pid| is_spared(pid, *spared);
        kill_below(me, None, &mut Walk { me, is_spared: &is_kept, note: &mut |_| {} }, 0);
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

/// Whether a process of this user and pid namespace carries a mark, except those in `spared`.
pub(crate) fn any_marked(marks: &Marks, spared: &[i32]) -> bool {
    proc::all().any(|pid| !spared.contains(&pid) && marks.include(&mark_of(pid)) && is_ours(pid))
}

/// Whether a process is one that this user started, in this pid namespace. Other users can set any
/// mark.
fn is_ours(pid: i32) -> bool {
    proc::is_own(pid) && proc::shares_pid_namespace(pid)
}

/// Kills every process of this user and pid namespace that carries a mark, and its descendants,
/// except those in `spared`. Returns the killed processes.
pub(crate) fn kill_marked(marks: &Marks, spared: &[i32]) -> Vec<KilledProcess> {
    let me = getpid().as_raw_nonzero().get();
    let is_spared = |pid: i32| spared.contains(&pid) || is_engine_program(pid);
    let until = Instant::now() + PATIENCE;
    let mut killed: Vec<KilledProcess> = Vec::new();
    // One scan can miss a process that starts during the scan.
    let mut scans_without_match = 0;
    let mut exec_until = Instant::now() + EXEC_TIME;
    while scans_without_match < 2 {
        scans_without_match += 1;
        for pid in proc::all().filter(|pid| !spared.contains(pid)) {
            match mark_of(pid) {
                found if marks.include(&found) => {}
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
            if !marks.include(&mark_of(pid)) || !is_ours(pid) {
                continue;
            }
            let mut note = |pid| {
                if killed.iter().all(|known| known.pid != pid) {
                    killed.push(KilledProcess { pid, command: command_of(pid) });
                }
            };
            // Once its parent has ended, one that changed its mark or its user is not found.
            kill_below(
                pid,
                Some(&pidfd),
                &mut Walk { me, is_spared: &is_spared, note: &mut note },
                0,
            );
            if pidfd::has_ended(&pidfd) {
                continue;
            }
            note(pid);
            scans_without_match = 0;
            exec_until = Instant::now() + EXEC_TIME;
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
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

/// Kills this user's monitors of containers whose names start with `prefix`, and everything below
/// them. A Podman command that is killed midway can leave a monitor whose container Podman forgot.
pub(crate) fn kill_monitors(prefix: &str) {
    let me = getpid().as_raw_nonzero().get();
    for pid in proc::all().filter(|pid| monitors(*pid, prefix)) {
        let Some(pidfd) = pidfd::open(pid) else { continue };
        // The pid may have been reused before the descriptor was opened, so check again.
        if monitors(pid, prefix) && is_ours(pid) {
            // No exception for engine programs: between fork and exec, a child of a monitor still
            // looks like a monitor.
            let mut walk = Walk { me, is_spared: &|_| false, note: &mut |_| {} };
            kill_below(pid, Some(&pidfd), &mut walk, 0);
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

/// A walk over descendants that kills them.
struct Walk<'a> {
    /// This process.
    me: i32,
    is_spared: &'a dyn Fn(i32) -> bool,
    /// Gets each pid before its process is killed.
    note: &'a mut dyn FnMut(i32),
}

/// Kills the descendants of a process, deepest first. `held` is the descriptor of `parent`, or
/// none if that is this process.
fn kill_below(parent: i32, held: Option<&OwnedFd>, walk: &mut Walk<'_>, depth: u32) {
    for pid in proc::children(parent) {
        if (walk.is_spared)(pid) {
            continue;
        }
        let Some(pidfd) = pidfd::open(pid) else { continue };
        // If its parent has ended meanwhile, it is a child of this process.
        let is_descendant = match proc::parent(pid) {
            Some(now) if now == walk.me => true,
            Some(now) => now == parent && held.is_some_and(|held| !pidfd::has_ended(held)),
            None => false,
        };
        if !is_descendant {
            continue;
        }
        if depth < DEPTH {
            kill_below(pid, Some(&pidfd), walk, depth + 1);
        }
        (walk.note)(pid);
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
    use crate::system::mark::MARK;
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
        let mark = format!("sweep-{}.1f", std::process::id());
        let marks = Marks::test(&mark);
        let hit = marked(&format!("{mark}:a:1"));
        let other = marked(&format!("{mark}x"));
        let spared = marked(&mark);
        // The environment can be read once the exec is done.
        let is_marked = |group: &Group| marks.include(&mark_of(group.pid()));
        wait_until(|| is_marked(&hit) && is_marked(&spared));

        let killed = kill_marked(&marks, &[spared.pid()]);

        assert_eq!(killed, [KilledProcess { pid: hit.pid(), command: "sleep 600".to_owned() }]);
        wait_until(|| !hit.is_running());
        assert!(other.is_running() && spared.is_running());
        drop(spared);
        assert_eq!(kill_marked(&marks, &[]), []);
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
