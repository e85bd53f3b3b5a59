//! Process groups: a leader that is signalled and reaped safely, the members of its group, and
//! orphans that became children of this process.
//!
//! A pid stays taken until the process is reaped. The leader is therefore reaped last, and no
//! signal is sent after that, so a signal never reaches an unrelated process. This module does
//! not decide when to stop or kill.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use xtask_client::process_stat::ProcessStat;
use xtask_core::stack::Exit;

use crate::system::proc;

/// The first process of a group, a child of this process.
#[derive(Debug)]
pub(crate) struct Leader {
    pid: Pid,
    reaped: Mutex<bool>,
}

/// Children that this process spawned and has not reaped. Every other child is an orphan that
/// one of them left behind.
static SPAWNED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn spawned() -> MutexGuard<'static, BTreeSet<i32>> {
    SPAWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_orphan(pid: i32) -> bool {
    !spawned().contains(&pid)
}

impl Leader {
    /// Runs `fork` and registers the child. The lock keeps other threads from taking the child
    /// for an orphan before it is registered.
    pub(crate) fn spawn(fork: impl FnOnce() -> io::Result<Pid>) -> io::Result<Self> {
        let mut spawned = spawned();
        let leader = Self { pid: fork()?, reaped: Mutex::new(false) };
        spawned.insert(leader.id());
        Ok(leader)
    }

    /// The pid of the leader, which is also the id of the group.
    pub(crate) fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal to every member of the group. A group without members is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    /// The exit of the leader, if it has ended. The leader stays a zombie.
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

    /// Reaps the leader, and waits for it if it is still running. Call this when the group has
    /// no other member.
    pub(crate) fn reap(&self) {
        let mut reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            let _ = rustix::process::waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
            *reaped = true;
            spawned().remove(&self.id());
        }
    }

    pub(crate) fn is_reaped(&self) -> bool {
        *self.reaped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a member other than the leader, which has ended, is still running. Mostly there is
    /// no orphan, and then this reads a few small files. Zombies of the group are reaped.
    pub(crate) fn has_survivors(&self) -> bool {
        let group = self.id();
        for pid in zombie_orphans() {
            if ProcessStat::of(pid).is_some_and(|stat| stat.group == group) {
                reap(pid);
            }
        }
        // One scan can miss a member that starts or changes its parent during the scan.
        has_running_member(group) || has_running_member(group)
    }
}

/// Whether a group whose leader has ended has another running member. It searches orphans and
/// their descendants only, because this is called often while a member ignores its stop signal.
fn has_running_member(group: i32) -> bool {
    let is_member =
        |pid: i32| pid != group && proc::running_stat(pid).is_some_and(|stat| stat.group == group);
    let Some(mut unseen) = proc::own_children() else {
        return members(group).into_iter().any(is_member);
    };
    unseen.retain(|pid| is_orphan(*pid));
    while let Some(pid) = unseen.pop() {
        if is_member(pid) {
            return true;
        }
        unseen.extend(proc::children(pid));
    }
    false
}

/// The running members of a group, its leader included.
#[cfg(not(target_os = "macos"))]
pub(crate) fn members(group: i32) -> Vec<i32> {
    proc::running().filter(|(_, stat)| stat.group == group).map(|(pid, _)| pid).collect()
}

/// The running members of a group, its leader included.
#[cfg(target_os = "macos")]
pub(crate) fn members(group: i32) -> Vec<i32> {
    let mut pids = vec![0_i32; 1024];
    let bytes = i32::try_from(size_of_val(pids.as_slice())).unwrap_or(i32::MAX);
    // SAFETY: `bytes` is the size of the buffer.
    let count = unsafe { libc::proc_listpgrppids(group, pids.as_mut_ptr().cast(), bytes) };
    pids.truncate(usize::try_from(count).unwrap_or_default());
    pids
}

pub(crate) fn zombie_orphans() -> BTreeSet<i32> {
    orphans(|stat| stat.is_zombie()).collect()
}

pub(crate) fn running_orphans() -> impl Iterator<Item = i32> {
    orphans(|stat| !stat.is_zombie())
}

fn orphans(wanted: impl Fn(&ProcessStat) -> bool) -> impl Iterator<Item = i32> {
    let children = proc::own_children().unwrap_or_default().into_iter();
    children
        .filter(move |pid| is_orphan(*pid) && ProcessStat::of(pid).as_ref().is_some_and(&wanted))
}

/// Reaps a child if it has ended. Returns whether it is no longer a child.
pub(crate) fn reap(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn members_include_the_calling_process() {
        let group = rustix::process::getpgrp().as_raw_nonzero().get();
        assert!(members(group).contains(&std::process::id().cast_signed()));
    }
}
