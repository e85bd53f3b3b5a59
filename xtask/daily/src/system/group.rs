//! Process groups: a leader that is signalled and reaped safely, and orphans that became children
//! of this process.
//!
//! A pid stays taken until the process is reaped. The leader is therefore reaped last, and no
//! signal is sent after that, so a signal never reaches an unrelated process. This module does
//! not decide when to stop or kill. What left the group is found by [`crate::system::members`].

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xtask_core::sorted::SortedSet;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use xtask_control::process_stat::ProcessStat;
use xtask_core::stack::Exit;

use crate::system::mark::Mark;
use crate::system::members::KnownMembers;
use crate::system::proc;

/// The first process of a group, a child of this process.
#[derive(Debug)]
pub(crate) struct Leader {
    pid: Pid,
    /// The mark in the environment of what it starts.
    mark: Mark,
    known_members: Mutex<KnownMembers>,
    reaped: Mutex<bool>,
    /// Whether its group received a signal from the stack.
    signalled: AtomicBool,
}

/// Children that this process spawned and has not reaped. Every other child is an orphan that
/// one of them left behind.
static SPAWNED: Mutex<SortedSet<i32>> = Mutex::new(SortedSet::new());

fn spawned() -> MutexGuard<'static, SortedSet<i32>> {
    SPAWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a child of this process was left behind by another child.
pub(crate) fn is_orphan(pid: i32) -> bool {
    !spawned().contains(&pid)
}

impl Leader {
    /// Runs `fork` and registers the child. The lock keeps other threads from taking the child
    /// for an orphan before it is registered.
    pub(crate) fn spawn<E>(mark: Mark, fork: impl FnOnce() -> Result<Pid, E>) -> Result<Self, E> {
        let mut spawned = spawned();
        let known_members = Mutex::default();
        let (pid, reaped) = (fork()?, Mutex::new(false));
        let leader = Self { pid, mark, known_members, reaped, signalled: AtomicBool::new(false) };
        spawned.insert(leader.id());
        Ok(leader)
    }

    /// The pid of the leader, which is also the id of the group.
    pub(crate) fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    pub(crate) fn known_members(&self) -> MutexGuard<'_, KnownMembers> {
        self.known_members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a signal to every member of the group. A group without members is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        self.signalled.store(true, Ordering::Relaxed);
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }

    /// Whether the stack signalled its group, so that its end is no surprise.
    pub(crate) fn was_signalled(&self) -> bool {
        self.signalled.load(Ordering::Relaxed)
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
}

pub(crate) fn zombie_orphans() -> SortedSet<i32> {
    orphans(|stat| stat.is_zombie()).collect()
}

pub(crate) fn running_orphans() -> impl Iterator<Item = i32> {
    orphans(|stat| !stat.is_zombie())
}

fn orphans(wanted: impl Fn(&ProcessStat) -> bool) -> impl Iterator<Item = i32> {
    let children = proc::own_children().into_iter();
    children
        .filter(move |pid| is_orphan(*pid) && ProcessStat::of(pid).as_ref().is_some_and(&wanted))
}

/// Reaps a child if it has ended. Returns whether it is no longer a child.
pub(crate) fn reap(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    !matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None))
}
