//! The members of a run: its leader, the descendants of that, and the orphans that they left.
//!
//! A member may be in a session or group of its own. An orphan is a child of this process, which
//! is a child subreaper. It belongs to the run that its group, its session or the mark in its
//! environment names, or to the run that it was seen to descend from. Only processes below this one
//! are read, and one look at the orphans serves any number of runs.
//!
//! A signal never reaches an unrelated process: each member is opened as a pidfd before it is
//! identified. This module does not decide which signals are sent.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use xtask_core::sorted::SortedMap;

use rustix::process::{Signal, getpid, pidfd_send_signal};
use xtask_control::process_stat::ProcessStat;
use xtask_core::terms::Name;

use crate::system::group::{Leader, is_orphan};
use crate::system::mark::{Mark, mark_of};
use crate::system::supervisors;
use crate::system::sweep::is_engine_program;
use crate::system::{pidfd, proc};

/// How deep below a process a look descends. Deeper processes move up when their parents end.
const DEPTH: u32 = 64;

/// A running member of a run other than its leader.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    /// With the pid, this identifies the process.
    pub(crate) started_ticks: u64,
    pub(crate) group: i32,
    /// Whether its parent has exited.
    pub(crate) is_orphan: bool,
    /// Whether it is, or descends from, the supervisor of a stack that the run started.
    pub(crate) in_other_stack: bool,
    pidfd: Arc<OwnedFd>,
}

impl Member {
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&*self.pidfd, signal);
    }
}

/// The members that earlier looks found, by pid.
#[derive(Debug, Default)]
pub(crate) struct KnownMembers(SortedMap<i32, Arc<OwnedFd>>);

impl KnownMembers {
    fn contains(&self, pid: i32) -> bool {
        self.0.get(&pid).is_some_and(|pidfd| !pidfd::has_ended(pidfd))
    }

    pub(crate) fn keep<'a>(&mut self, members: impl IntoIterator<Item = &'a Member>) {
        self.0.retain(|_, pidfd| !pidfd::has_ended(pidfd));
        let members = members.into_iter();
        self.0.extend(members.map(|member| (member.pid, Arc::clone(&member.pidfd))));
    }
}

/// The running orphans of this process at one moment.
#[derive(Debug, Default)]
pub(crate) struct Orphans(Vec<Orphan>);

#[derive(Debug)]
struct Orphan {
    pid: i32,
    stat: ProcessStat,
    mark: Mark,
}

#[cfg(test)]
thread_local! {
    static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many looks this thread has taken.
#[cfg(test)]
pub(crate) fn looks() -> usize {
    LOOKS.get()
}

impl Orphans {
    pub(crate) fn look() -> Self {
        #[cfg(test)]
        LOOKS.set(LOOKS.get() + 1);
        let orphans = proc::own_children().into_iter().filter(|pid| is_orphan(*pid));
        let orphan = |pid| Some(Orphan { pid, stat: proc::running_stat(pid)?, mark: mark_of(pid) });
        Self(orphans.filter_map(orphan).collect())
    }

    /// Whether the mark of one cannot be read at this moment, because it is in its exec.
    pub(crate) fn are_undecided(&self) -> bool {
        self.0.iter().any(|orphan| orphan.mark == Mark::Unreadable)
    }
}

/// The running descendants of the leader of a run, parents first; none once it is reaped.
pub(crate) fn descendants(leader: &Leader) -> Vec<Member> {
    let mut found = Vec::new();
    if !leader.is_reaped() {
        let below = Below { depth: DEPTH, in_other_stack: false };
        descend(leader.id(), &|| !leader.is_reaped(), below, &mut found);
    }
    found
}

/// The orphans that a run left and their descendants, parents first; none once its leader is
/// reaped.
pub(crate) fn left_behind(leader: &Leader, orphans: &Orphans) -> Vec<Member> {
    let mut found = Vec::new();
    for orphan in &orphans.0 {
        let names_run = [orphan.stat.group, orphan.stat.session].contains(&leader.id())
            || orphan.mark.is_run(leader.mark());
        if names_run || leader.known_members().contains(orphan.pid) {
            let started_ticks = orphan.stat.started_ticks;
            let is_same = |stat: &ProcessStat| {
                stat.parent == own_pid() && stat.started_ticks == started_ticks
            };
            let below = Below { depth: DEPTH, in_other_stack: false };
            add(orphan.pid, &is_same, below, &mut found);
        }
    }
    // The group id of a reaped leader may name another group.
    if leader.is_reaped() { Vec::new() } else { found }
}

/// A service with the pids of its run, that of the leader first.
pub(crate) type RunPids = (Name, Vec<i32>);

/// The pids of the leader and the other running members of a run.
pub(crate) fn pids_of(leader: &Leader, orphans: &Orphans) -> Vec<i32> {
    let mut others = descendants(leader);
    others.extend(left_behind(leader, orphans));
    let outside = others.iter().filter(|member| member.group != leader.id());
    leader.known_members().keep(outside);
    let leading = (!leader.is_reaped()).then(|| leader.id());
    leading.into_iter().chain(others.iter().map(|member| member.pid)).collect()
}

/// The first of these processes that a signal or a debugger has stopped.
pub(crate) fn stopped_of(pids: &[i32]) -> Option<i32> {
    let is_stopped = |pid: &i32| ProcessStat::of(pid).is_some_and(|stat| stat.is_stopped());
    pids.iter().copied().find(is_stopped)
}

/// Where a walk over descendants is.
#[derive(Clone, Copy)]
struct Below {
    /// How much deeper it descends.
    depth: u32,
    in_other_stack: bool,
}

/// Adds the descendants of a process. `is_parent` tells whether it is still that process.
fn descend(parent: i32, is_parent: &dyn Fn() -> bool, below: Below, found: &mut Vec<Member>) {
    for pid in proc::children(parent) {
        // If its parent has ended meanwhile, it is a child of this process.
        let is_descendant = |stat: &ProcessStat| {
            (stat.parent == parent && is_parent()) || (stat.parent == own_pid() && is_orphan(pid))
        };
        add(pid, &is_descendant, below, found);
    }
}

/// Adds a process and its descendants, if it still is the process that was meant.
fn add(pid: i32, is_meant: &dyn Fn(&ProcessStat) -> bool, below: Below, found: &mut Vec<Member>) {
    let Some(pidfd) = pidfd::open(pid).map(Arc::new) else { return };
    let Some(stat) = proc::running_stat(pid).filter(is_meant) else { return };
    let is_known = found.iter().any(|member| member.pid == pid);
    if is_known || is_engine_program(pid) {
        return;
    }
    let in_other_stack = below.in_other_stack || supervisors::of(pid).is_some();
    found.push(Member {
        pid,
        started_ticks: stat.started_ticks,
        group: stat.group,
        is_orphan: stat.parent == own_pid(),
        in_other_stack,
        pidfd: Arc::clone(&pidfd),
    });
    if below.depth > 0 {
        let below = Below { depth: below.depth - 1, in_other_stack };
        descend(pid, &|| !pidfd::has_ended(&pidfd), below, found);
    }
}

fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}
