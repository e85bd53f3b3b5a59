//! Signals all members of a run, and reports when it has none left.
//!
//! Descendants of the leader are signalled at once. Orphans are signalled by one task for all runs:
//! it takes the requests that are there, looks at the orphans once, and sleeps until the next
//! request or the end of an orphan. So a hundred services that stop together cost one look.
//!
//! SIGTERM reaches all members, as at a system's shutdown. Another stop signal reaches the leader's
//! group and orphans: some servers give it another meaning in their children.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use xtask_core::sorted::{SortedMap, SortedSet};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::system::group::Leader;
use crate::system::members::{Member, Orphans, descendants, left_behind};
use crate::system::task;
use crate::system::wait_if_some;

/// How long a process may be in its exec, when no look can tell its run. Some processes never
/// have an environment.
const EXEC_TIME: Duration = Duration::from_millis(200);

/// The pause between two looks while a process is in its exec.
const EXEC_PAUSE: Duration = Duration::from_millis(2);

/// The handle of the task.
#[derive(Clone, Debug)]
pub(crate) struct Reaper(UnboundedSender<Request>);

#[derive(Debug)]
enum Request {
    /// Send a signal to the orphans of a run.
    Signal(Arc<Leader>, Signal),
    /// Send a stop signal to each orphan that has not received it.
    Stop(Arc<Leader>, Stop),
    /// The leader has exited: answer when no other member is left.
    Exited(Arc<Leader>, oneshot::Sender<()>),
}

#[derive(Debug)]
struct Stop {
    signal: Signal,
    /// Pid and start time of the members that received it.
    received: SortedSet<(i32, u64)>,
}

impl Reaper {
    pub(crate) fn start() -> io::Result<Self> {
        let mut ended = signal(SignalKind::child())?;
        let (sender, requests) = unbounded_channel();
        task::spawn(async move {
            let mut task = Task { requests, runs: SortedMap::new(), exec_until: None };
            while task.wait(&mut ended).await {
                task.look();
            }
        });
        Ok(Self(sender))
    }

    /// Sends a signal to all members of a run.
    pub(crate) fn signal(&self, leader: &Arc<Leader>, signal: Signal) {
        let members = descendants(leader);
        leader.known_members().keep(&members);
        leader.signal(signal);
        members.iter().for_each(|member| member.signal(signal));
        let _ = self.0.send(Request::Signal(Arc::clone(leader), signal));
    }

    /// Sends a run its stop signal.
    pub(crate) fn stop(&self, leader: &Arc<Leader>, signal: Signal) {
        let members = descendants(leader);
        // Once they are orphans, those without a mark would belong to no run.
        leader.known_members().keep(&members);
        let mut stop = Stop { signal, received: SortedSet::new() };
        // Children first: on a terminal the end of a parent kills its children with SIGHUP.
        stop.send(members.iter().rev(), leader);
        leader.signal(signal);
        // A stopped process does not receive it before it continues.
        leader.signal(Signal::CONT);
        let _ = self.0.send(Request::Stop(Arc::clone(leader), stop));
    }

    /// Waits until a run whose leader has exited has no other member.
    pub(crate) async fn none_left(&self, leader: &Arc<Leader>) {
        let (sender, answer) = oneshot::channel();
        let _ = self.0.send(Request::Exited(Arc::clone(leader), sender));
        let _ = answer.await;
    }
}

struct Task {
    requests: UnboundedReceiver<Request>,
    /// Runs that received a signal or whose leader has exited, by leader.
    runs: SortedMap<i32, EndingRun>,
    /// Until when looks are repeated because a process is in its exec.
    exec_until: Option<Instant>,
}

struct EndingRun {
    leader: Arc<Leader>,
    /// Signals for orphans that are not sent yet.
    signals: Vec<Signal>,
    stop: Option<Stop>,
    /// Whether it received SIGKILL, and so do orphans that are found later.
    killed: bool,
    /// Receives the answer once no member is left.
    none_left: Option<oneshot::Sender<()>>,
}

impl Task {
    /// Waits until a look is due. Returns whether the supervisor still runs.
    async fn wait(&mut self, ended: &mut tokio::signal::unix::Signal) -> bool {
        let exec = self.exec_until.map(|_| Instant::now() + EXEC_PAUSE);
        tokio::select! {
            request = self.requests.recv() => match request {
                Some(request) => self.take(request),
                None => return false,
            },
            Some(()) = ended.recv() => {}
            () = wait_if_some(exec.map(sleep_until)) => {}
        }
        while let Ok(request) = self.requests.try_recv() {
            self.take(request);
        }
        true
    }

    fn take(&mut self, request: Request) {
        let leader = match &request {
            Request::Signal(leader, _) | Request::Stop(leader, _) | Request::Exited(leader, _) => {
                leader
            }
        };
        let new = || EndingRun::of(Arc::clone(leader));
        let run = self.runs.entry(leader.id()).or_insert_with(new);
        match request {
            Request::Signal(_, signal) => {
                run.killed |= signal == Signal::KILL;
                run.signals.push(signal);
            }
            Request::Stop(_, stop) => run.stop = Some(stop),
            Request::Exited(_, none_left) => run.none_left = Some(none_left),
        }
    }

    fn look(&mut self) {
        self.runs.retain(|_, run| !run.leader.is_reaped());
        if self.runs.is_empty() {
            return;
        }
        let orphans = Orphans::look();
        let look = |(id, run): (&i32, &mut EndingRun)| run.look(&orphans).then_some(*id);
        let empty: Vec<i32> = self.runs.iter_mut().filter_map(look).collect();
        self.runs.retain(|_, run| run.is_ending());
        if empty.is_empty() {
            self.exec_until = None;
            return;
        }
        // One look can miss a member that starts or changes its parent during the look.
        let orphans = Orphans::look();
        let now = Instant::now();
        self.exec_until =
            orphans.are_undecided().then(|| self.exec_until.unwrap_or(now + EXEC_TIME));
        if self.exec_until.is_some_and(|until| now < until) {
            return;
        }
        self.exec_until = None;
        for id in empty {
            if let Some(run) = self.runs.get_mut(&id)
                && run.look(&orphans)
                && let Some(none_left) = run.none_left.take()
            {
                let _ = none_left.send(());
                self.runs.remove(&id);
            }
        }
    }
}

impl EndingRun {
    fn of(leader: Arc<Leader>) -> Self {
        Self { leader, signals: Vec::new(), stop: None, killed: false, none_left: None }
    }

    fn is_ending(&self) -> bool {
        self.stop.is_some() || self.killed || self.none_left.is_some()
    }

    /// Sends the signals that are due. Returns whether the leader has exited and no other member
    /// was found.
    fn look(&mut self, orphans: &Orphans) -> bool {
        let members = left_behind(&self.leader, orphans);
        for signal in self.signals.drain(..) {
            members.iter().for_each(|member| member.signal(signal));
        }
        if self.killed {
            members.iter().for_each(|member| member.signal(Signal::KILL));
        } else if let Some(stop) = &mut self.stop {
            stop.send(members.iter().rev(), &self.leader);
        }
        self.none_left.is_some() && members.is_empty()
    }
}

impl Stop {
    /// Sends the signal to members outside of the leader's group, each once.
    fn send<'a>(&mut self, members: impl Iterator<Item = &'a Member>, leader: &Leader) {
        for member in members.filter(|member| member.group != leader.id()) {
            // The supervisor of a stack that the run started stops it at the first signal, and
            // kills it at the second one, which its parent may send.
            let passed = self.signal != Signal::TERM || member.in_other_stack;
            let due = member.is_orphan || !passed;
            if due && self.received.insert((member.pid, member.started_ticks)) {
                member.signal(self.signal);
                member.signal(Signal::CONT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use rustix::process::Pid;

    use super::*;
    use crate::system::mark::Mark;
    use crate::system::members::looks;

    fn exited_leader() -> Arc<Leader> {
        let spawn = || {
            let child = Command::new("true").process_group(0).spawn()?;
            Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("no pid"))
        };
        let leader = Leader::spawn(Mark::Absent, spawn).unwrap();
        while leader.exit().unwrap().is_none() {
            std::thread::yield_now();
        }
        Arc::new(leader)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn one_look_serves_all_runs_that_end_together() {
        let (sender, requests) = unbounded_channel();
        let mut task = Task { requests, runs: SortedMap::new(), exec_until: None };
        let leaders: Vec<_> = (0..100).map(|_| exited_leader()).collect();
        let mut answers = Vec::new();
        for leader in &leaders {
            let (none_left, answer) = oneshot::channel();
            sender.send(Request::Exited(Arc::clone(leader), none_left)).unwrap();
            answers.push(answer);
        }
        while let Ok(request) = task.requests.try_recv() {
            task.take(request);
        }
        let before = looks();
        task.look();
        assert_eq!(looks() - before, 2);
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_ok()));
        assert!(task.runs.is_empty());
        leaders.iter().for_each(|leader| leader.reap());
    }
}
