//! Killing whatever is left of a stack: by descent, and by the mark in its environment.
//!
//! No signal can reach a stranger. A process is only signalled through a descriptor
//! that was opened before the look at whose it is, or while it is our own child, whose
//! number stays taken until we reap it. Nothing is stopped in order here: whoever is
//! found is killed, again and again until nobody is found.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, wait,
};

use serde::{Deserialize, Serialize};

use crate::system::group::{ancestry, children_of, parent_of, processes};
use crate::system::port_holder::arguments;

/// The variable that tells whose child a process is.
pub(crate) const MARK: &str = "XTASK_MARK";

/// How long killed processes are waited for: one that the system cannot end, because
/// its disk does not answer, must not keep us for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The first and the longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// How long a process that shows neither arguments nor variables may be on its way to
/// its program; some show none all their life.
const UNSURE: Duration = Duration::from_millis(200);

/// How deep below a child it is looked. What lies deeper comes nearer when those
/// above it die.
const DEPTH: u32 = 64;

/// Programs that Podman, which has no daemon, leaves running below whoever called it. They
/// are other people's too: containers are removed by the engine, and these end with the last.
const OF_AN_ENGINE: [&str; 2] = [MONITOR, "aardvark-dns"];

/// What watches one container of Podman's, which is named in its arguments.
const MONITOR: &str = "conmon";

/// The longest command line that is told.
const LONGEST_COMMAND_BYTES: u64 = 200;

/// A process that was killed because of its mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KilledProcess {
    /// Its number.
    pub(crate) pid: i32,
    /// Its command line, or the beginning of it.
    pub(crate) command: String,
}

/// Kills everything below this process, which must be a child subreaper without
/// children that matter to anybody but for one, `spared`, which is forgotten if it ends
/// meanwhile. Whether nothing else is left.
pub(crate) fn end_descendants(spared: &mut Option<Pid>) -> bool {
    let me = getpid().as_raw_nonzero().get();
    let until = Instant::now() + PATIENCE;
    let (mut pause, longest) = PAUSES;
    loop {
        kill_below(me, None, me, *spared, 0);
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, _))) => {
                    *spared = spared.filter(|spared| *spared != pid);
                    pause = PAUSES.0;
                }
                Ok(None) => break,
                // There is no child any more; whoever was below one is a child by now.
                Err(rustix::io::Errno::CHILD) => return true,
                Err(_) => return false,
            }
        }
        let left = children_of(me);
        if left.iter().all(|pid| is_spared(*pid, *spared)) {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
}

/// Kills every process of this user and this machine that carries the mark, except
/// those in `spared`. Who was killed.
pub(crate) fn end_marked(mark: &str, spared: &[i32]) -> Vec<KilledProcess> {
    let until = Instant::now() + PATIENCE;
    let mut ended: Vec<KilledProcess> = Vec::new();
    // One that appears while the processes are listed can be missed once.
    let mut found_none = 0;
    let mut unsure_until = Instant::now() + UNSURE;
    while found_none < 2 {
        found_none += 1;
        for pid in processes() {
            if spared.contains(&pid) {
                continue;
            }
            match owner(pid, mark) {
                Owner::Mark => {}
                Owner::Other => continue,
                Owner::Unsure => {
                    if Instant::now() < unsure_until {
                        found_none = 0;
                    }
                    continue;
                }
            }
            let Some(pidfd) = open(pid) else { continue };
            // Once more, as the number may have changed hands before the descriptor.
            if owner(pid, mark) != Owner::Mark || !is_of_this_machine(pid) {
                continue;
            }
            let command = command_of(pid);
            if has_ended(&pidfd) {
                continue;
            }
            found_none = 0;
            unsure_until = Instant::now() + UNSURE;
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            if ended.iter().all(|known| known.pid != pid) {
                ended.push(KilledProcess { pid, command });
            }
        }
        if found_none == 0 {
            if Instant::now() > until {
                break;
            }
            std::thread::sleep(PAUSES.0);
        }
    }
    ended
}

/// Kills the monitors of containers whose names begin so, with what they watch. A command line
/// of Podman's that is killed between two steps leaves a monitor of whose container Podman
/// knows nothing any more.
pub(crate) fn end_monitors(names: &str) {
    let me = getpid().as_raw_nonzero().get();
    for pid in processes().filter(|pid| monitors(*pid, names)) {
        let Some(pidfd) = open(pid) else { continue };
        // Once more, as the number may have changed hands before the descriptor.
        if monitors(pid, names) && is_of_this_machine(pid) {
            kill_below(pid, Some(&pidfd), me, None, 0);
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}

/// Whether a process is Podman's monitor of a container with a name that begins so.
fn monitors(pid: i32, names: &str) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|program| program.ends_with(MONITOR))
        && arguments(pid).windows(2).any(|words| words[0] == "-n" && words[1].starts_with(names))
}

/// This process, and those that it descends from.
pub(crate) fn ourselves() -> Vec<i32> {
    ancestry(getpid().as_raw_nonzero().get())
}

/// Whether there is no process of that number, but for one that waits to be reaped. One that
/// cannot be looked at has not died.
pub(crate) fn has_died(pid: u32) -> bool {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => has_ended(&pidfd),
        Err(error) => error == rustix::io::Errno::SRCH,
    }
}

/// Whether the process that a descriptor means has ended.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut wanted = [PollFd::new(pidfd, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut wanted, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Kills the children of a process, theirs first. `held` keeps the process from being
/// taken for another one; it is none for ourselves.
fn kill_below(parent: i32, held: Option<&OwnedFd>, me: i32, spared: Option<Pid>, depth: u32) {
    for pid in children_of(parent) {
        if is_spared(pid, spared) {
            continue;
        }
        let Some(pidfd) = open(pid) else { continue };
        // Its parent may have died meanwhile, and then it is our child.
        let is_ours = match parent_of(pid) {
            Some(now) if now == me => true,
            Some(now) => now == parent && held.is_some_and(|held| !has_ended(held)),
            None => false,
        };
        if !is_ours {
            continue;
        }
        if depth < DEPTH {
            kill_below(pid, Some(&pidfd), me, spared, depth + 1);
        }
        let _ = pidfd_send_signal(pidfd.as_fd(), Signal::KILL);
    }
}

fn is_spared(pid: i32, spared: Option<Pid>) -> bool {
    let program = || std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    spared.is_some_and(|spared| spared.as_raw_nonzero().get() == pid)
        || program().is_some_and(|program| OF_AN_ENGINE.iter().any(|name| program.ends_with(name)))
}

/// A descriptor that means this process and no other, however its number is used later.
pub(crate) fn open(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// That of the mark.
    Mark,
    /// Somebody else's.
    Other,
    /// It is about to become its program, and shows nothing at this moment.
    Unsure,
}

/// Looks for the mark in the environment that a process was started with.
pub(crate) fn owner(pid: i32, mark: &str) -> Owner {
    let Ok(environment) = File::open(format!("/proc/{pid}/environ")) else { return Owner::Other };
    let mut environment = BufReader::with_capacity(4096, environment);
    let mut entry = Vec::new();
    let mut is_empty = true;
    loop {
        entry.clear();
        match environment.read_until(0, &mut entry) {
            Ok(0) if is_empty && is_nameless(pid) => return Owner::Unsure,
            Ok(0) | Err(_) => return Owner::Other,
            Ok(_) => is_empty = false,
        }
        let value = entry.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        if let Some(value) = value {
            let is_ours = value.strip_suffix(&[0]).unwrap_or(value) == mark.as_bytes();
            return if is_ours { Owner::Mark } else { Owner::Other };
        }
    }
}

/// Whether a process has a program and no arguments, not even its name. Threads of the
/// kernel have no program, and neither has who ended.
fn is_nameless(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
        && std::fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

/// Whether a process counts its processes as we do: one inside a container may have a
/// stack in a folder of the same name.
fn is_of_this_machine(pid: i32) -> bool {
    let space = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = space("self");
    own.is_some() && space(&pid.to_string()) == own
}

fn command_of(pid: i32) -> String {
    let mut line = Vec::new();
    if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
        let _ = file.take(LONGEST_COMMAND_BYTES).read_to_end(&mut line);
    }
    let text = String::from_utf8_lossy(&line);
    text.trim_end_matches('\0').replace('\0', " ").chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use crate::system::sweep::*;

    fn marked(mark: &str) -> std::process::Child {
        Command::new("sleep").arg("600").env(MARK, mark).stdin(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn only_processes_with_the_very_mark_are_ended_and_told() {
        let mark = format!("sweep-{}", std::process::id());
        let mut hit = marked(&mark);
        let mut other = marked(&format!("{mark}x"));
        let mut spared = marked(&mark);
        let number = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        let hit_pid = number(&hit);
        // Its environment is there as soon as it is its program.
        let carries = |pid| owner(pid, &mark) == Owner::Mark;
        while !carries(hit_pid) || !carries(number(&spared)) {
            std::thread::yield_now();
        }

        let ended = end_marked(&mark, &[number(&spared)]);

        assert_eq!(ended, [KilledProcess { pid: hit_pid, command: "sleep 600".to_owned() }]);
        assert!(hit.wait().unwrap().code().is_none());
        assert!(other.try_wait().unwrap().is_none() && spared.try_wait().unwrap().is_none());
        for mut child in [other, spared] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(end_marked(&mark, &[]), []);
    }

    #[test]
    fn our_own_line_begins_with_us_and_ends_with_the_first_process() {
        let line = ourselves();
        assert_eq!(line[0], i32::try_from(std::process::id()).unwrap());
        assert!(line.len() > 1);
        assert_eq!(parent_of(line[line.len() - 1]), Some(0));
    }

    #[test]
    fn monitors_of_removed_containers_end_with_what_they_watch_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(MONITOR);
        std::fs::copy("/bin/sh", &program).unwrap();
        let mark = format!("monitors-{}", std::process::id());
        let monitor = |name: String| {
            let mut command = Command::new(&program);
            command.args(["-c", "sleep 600 & echo $!; wait", "conmon", "-n"]).arg(name);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut watched = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut watched).unwrap();
            (child, watched.trim().parse::<u32>().unwrap())
        };
        let (mut left, inside) = monitor(format!("xtask-{mark}-front-1"));
        let (mut other, others) = monitor(format!("xtask-{mark}x-front-1"));

        end_monitors(&format!("xtask-{mark}-"));

        assert!(left.wait().unwrap().code().is_none());
        let until = Instant::now() + PATIENCE;
        while !has_died(inside) {
            assert!(Instant::now() < until, "{inside} is there");
            std::thread::yield_now();
        }
        assert!(other.try_wait().unwrap().is_none() && !has_died(others));
        end_monitors(&format!("xtask-{mark}x-"));
        other.wait().unwrap();
    }

    #[test]
    fn what_an_engine_keeps_running_is_spared_as_the_one_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("conmon");
        std::fs::copy("/bin/sleep", &program).unwrap();
        let mut engines = Command::new(&program).arg("600").spawn().unwrap();
        let mut other = marked("spared");
        let number = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        assert!(is_spared(number(&engines), None));
        assert!(!is_spared(number(&other), None));
        assert!(is_spared(number(&other), Pid::from_raw(number(&other))));
        for child in [&mut engines, &mut other] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_child_is_found_below_its_parent() {
        let mut child = marked("children");
        let pid = i32::try_from(child.id()).unwrap();
        let me = getpid().as_raw_nonzero().get();
        assert!(children_of(me).contains(&pid));
        assert_eq!(parent_of(pid), Some(me));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children_of(me).contains(&pid));
    }
}
