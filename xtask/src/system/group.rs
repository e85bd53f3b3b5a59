//! Process groups: a leader that is signalled and reaped safely, and who else is in
//! its group.
//!
//! The number of a group stays taken while its leader is not reaped, so a signal can
//! never hit a stranger: the leader is reaped last, and from then on no signal is
//! sent. When to stop or kill is not decided here.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use xtask_core::stack::Exit;

/// The first process of a group, a child of ours.
#[derive(Debug)]
pub(crate) struct Leader {
    pid: Pid,
    reaped: Mutex<bool>,
}

/// The children that this process started and has not reaped: whoever else is its child was
/// left behind by one of them.
static CHILDREN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn own_children() -> MutexGuard<'static, BTreeSet<i32>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_orphan(pid: i32) -> bool {
    !own_children().contains(&pid)
}

impl Leader {
    /// Takes charge of the child that `fork` makes. Nobody can take it for a stranger between
    /// its birth and its entry into the own_children.
    ///
    /// # Errors
    /// Those of `fork`.
    pub(crate) fn fork(fork: impl FnOnce() -> io::Result<Pid>) -> io::Result<Self> {
        let mut own_children = own_children();
        let pid = fork()?;
        own_children.insert(pid.as_raw_nonzero().get());
        Ok(Self { pid, reaped: Mutex::new(false) })
    }

    /// The leader's process, which is also the number of the group.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to every member of the group. A group that is gone is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    /// How the leader ended, if it did; it stays a zombie.
    pub(crate) fn exit(&self) -> io::Result<Option<Exit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let Some(status) = rustix::process::waitid(WaitId::Pid(self.pid), options)? else {
            return Ok(None);
        };
        Ok(Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        }))
    }

    /// Gives up the leader's number. To be called when the leader ended and its group
    /// is empty; it waits for a leader that still runs.
    pub(crate) fn reap(&self) {
        let mut reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            let _ = rustix::process::waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
            *reaped = true;
            own_children().remove(&self.pid.as_raw_nonzero().get());
        }
    }

    /// Whether the leader's number was given up.
    pub(crate) fn is_reaped(&self) -> bool {
        *self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a member other than the leader lives. To be asked when the leader has
    /// ended: what it left behind is then below some child of ours that we did not
    /// start, and mostly there is none, which costs one small file to find out.
    pub(crate) fn has_survivors(&self) -> bool {
        let group = self.pid.as_raw_nonzero().get();
        let strangers = match children() {
            Some(children) => children.into_iter().filter(|pid| is_orphan(*pid)).collect(),
            None => vec![group],
        };
        let mut suspect = false;
        for pid in strangers {
            match status(pid) {
                Some(status) if status.is_zombie() && status.group == group && pid != group => {
                    reap(pid);
                }
                Some(status) if status.is_zombie() && pid != group => {}
                _ => suspect = true,
            }
        }
        // A member that appears or changes its parent meanwhile can be missed once.
        suspect && (has_running_member(group) || has_running_member(group))
    }
}

/// Whether a group has a living member beside its leader, which has ended: all of them
/// descend from children of ours that we did not start. To look at those alone matters, as
/// this is asked many times while a deaf one has its grace.
fn has_running_member(group: i32) -> bool {
    let is_member = |pid: i32| {
        pid != group && status(pid).is_some_and(|found| found.group == group && !found.is_zombie())
    };
    let Some(mut unseen) = children() else { return members(group).into_iter().any(is_member) };
    unseen.retain(|pid| is_orphan(*pid));
    while let Some(pid) = unseen.pop() {
        if is_member(pid) {
            return true;
        }
        unseen.extend(children_of(pid));
    }
    false
}

/// The living members of a group, its leader included.
#[cfg(not(target_os = "macos"))]
pub(crate) fn members(group: i32) -> Vec<i32> {
    let alive =
        |pid: &i32| status(*pid).is_some_and(|status| status.group == group && !status.is_zombie());
    processes().filter(alive).collect()
}

/// Every living process of this machine, with its group.
pub(crate) fn members_of_all_groups() -> impl Iterator<Item = (i32, i32)> {
    processes().filter_map(|pid| {
        status(pid).filter(|status| !status.is_zombie()).map(|status| (pid, status.group))
    })
}

/// The members of a group; the system leaves out those that ended.
#[cfg(target_os = "macos")]
pub(crate) fn members(group: i32) -> Vec<i32> {
    let mut pids = vec![0_i32; 1024];
    let bytes = i32::try_from(size_of_val(pids.as_slice())).unwrap_or(i32::MAX);
    // SAFETY: the buffer is as long as the call is told.
    let count = unsafe { libc::proc_listpgrppids(group, pids.as_mut_ptr().cast(), bytes) };
    pids.truncate(usize::try_from(count).unwrap_or_default());
    pids
}

/// Our children that ended, that nobody reaped, and that this module did not start.
pub(crate) fn zombie_orphans() -> BTreeSet<i32> {
    let is_orphan_zombie =
        |pid: &i32| is_orphan(*pid) && status(*pid).is_some_and(|status| status.is_zombie());
    children().unwrap_or_default().into_iter().filter(is_orphan_zombie).collect()
}

/// Our living children that this module did not start.
pub(crate) fn running_orphans() -> Vec<i32> {
    let lives =
        |pid: &i32| is_orphan(*pid) && status(*pid).is_some_and(|status| !status.is_zombie());
    children().unwrap_or_default().into_iter().filter(lives).collect()
}

/// Reaps one child if it ended. Whether it is no child any more.
pub(crate) fn reap(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None))
}

/// What matters of `/proc/PID/stat`.
struct Status {
    state: u8,
    parent: i32,
    group: i32,
}

impl Status {
    fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

fn status(pid: i32) -> Option<Status> {
    parse_status(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (name) STATE PARENT GROUP …`, where the name may hold anything.
fn parse_status(stat: &[u8]) -> Option<Status> {
    let after_name = memchr::memrchr(b')', stat)? + 1;
    let text = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    let mut words = text.split_ascii_whitespace();
    let state = *words.next()?.as_bytes().first()?;
    let parent = words.next()?.parse().ok()?;
    let group = words.next()?.parse().ok()?;
    Some(Status { state, parent, group })
}

/// Whether somebody has stopped a process, as with `kill -STOP`.
pub(crate) fn is_stopped(pid: i32) -> bool {
    status(pid).is_some_and(|status| status.state == b'T')
}

/// The parent of a process; 0 for one that has none here.
pub(crate) fn parent_of(pid: i32) -> Option<i32> {
    Some(status(pid)?.parent)
}

/// A process, and those that it descends from.
pub(crate) fn ancestry(pid: i32) -> Vec<i32> {
    let mut line = vec![pid];
    while let Some(parent) = line.last().and_then(|pid| parent_of(*pid))
        && parent > 0
        && !line.contains(&parent)
    {
        line.push(parent);
    }
    line
}

/// Every process of this machine.
pub(crate) fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The children of this process, if the system tells of all.
fn children() -> Option<Vec<i32>> {
    let (children, all) = listed_children(std::process::id().cast_signed());
    all.then_some(children)
}

/// The children of all threads of a process. Where the system does not list them,
/// every process is asked for its parent.
pub(crate) fn children_of(parent: i32) -> Vec<i32> {
    match listed_children(parent) {
        (_, false) if !Path::new("/proc/thread-self/children").exists() => {
            processes().filter(|pid| parent_of(*pid) == Some(parent)).collect()
        }
        (children, _) => children,
    }
}

/// The children of a process that the system lists, and whether these are all: a thread
/// that ends meanwhile leaves its children to another one, and not every system has lists.
fn listed_children(parent: i32) -> (Vec<i32>, bool) {
    let mut children = Vec::new();
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{parent}/task")) else {
        return (children, false);
    };
    let mut all = true;
    for task in tasks.flatten() {
        match std::fs::read_to_string(task.path().join("children")) {
            Ok(text) => {
                children.extend(text.split_ascii_whitespace().filter_map(|w| w.parse::<i32>().ok()))
            }
            Err(_) => all = false,
        }
    }
    (children, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_and_spaces_does_not_confuse() {
        let status = parse_status(b"12 (a) b) Z) S 1 77 77 0 -1").unwrap();
        assert_eq!((status.state, status.parent, status.group), (b'S', 1, 77));
        assert!(parse_status(b"12 (a").is_none());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn our_own_group_has_us_as_a_member() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(members(group).contains(&own));
    }
}
