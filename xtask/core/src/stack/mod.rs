//! The reducer over the whole graph of a running stack: events in, effects out.
//!
//! It decides everything about what runs, and touches nothing: no clock (time is an
//! argument), no process, no file. Deadlines live in the phases.
//!
//! An event changes the service it is about; then a worklist settles that service,
//! and whoever can see a change of it, until nothing changes any more. No event
//! sweeps over all services, except those that are about all of them.

mod adoption;
mod build;
mod conditions;
mod deadlock;
mod edges;
pub mod effect;
pub mod event;
mod node;
mod phase;
mod ports;
mod render;
mod requests;
mod run;
mod settle;
mod snapshot;
mod start;
mod stop;
mod transitions;
pub(crate) mod words;

pub use deadlock::ServiceAddress;
pub use effect::{Command, Container, Effect, Report, Signal};
pub use event::{Artifact, BindFailure, Event, Exit, Fault, Run};

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::calls::Call;
use crate::plan::Faults;
use crate::terms::Name;
use edges::Ring;
use node::{Id, Node};

/// A running set of services: what is wanted, what is, and what to do about it.
///
/// Times are durations since the stack began.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// The latest time that was seen.
    now: Duration,
    identity: Identity,
    /// Every service that a plan ever named.
    nodes: Vec<Node>,
    ids: BTreeMap<Name, Id>,
    /// Services that start together.
    rings: Vec<Ring>,
    /// The order of views: dependencies first.
    order: Vec<Id>,
    worklist: Worklist,
    changes: Changes,
    starts: Starts,
    /// How many services hold their dependencies: they may have a process to wait for.
    holding: usize,
    ending: Ending,
    /// The calls that were observed in this step.
    calls: Vec<Call>,
}

/// Which stack this is, and where its files are.
#[derive(Clone, Debug, Default)]
struct Identity {
    /// The stack's name.
    stack: String,
    /// The workspace root.
    workspace: String,
    /// The data folder.
    data: String,
    /// The image that built images are based on.
    base_image: Option<String>,
}

/// Services to settle, now or at a deadline.
#[derive(Clone, Debug, Default)]
struct Worklist {
    queue: VecDeque<Id>,
    /// The deadlines of all services, earliest first.
    deadlines: BTreeSet<(Duration, Id)>,
    /// Services that may look different since the step began.
    touched: BTreeSet<Id>,
}

/// Services that may look different since [`Stack::take_changed`] was last called.
#[derive(Clone, Debug, Default)]
struct Changes {
    /// Each with the number of the change that put it in its phase.
    latest: BTreeMap<Id, u64>,
    /// How many changes there were.
    count: u64,
}

/// Starts that a fault delays or draws.
#[derive(Clone, Debug, Default)]
struct Starts {
    faults: Faults,
    /// Services that could start and wait to be drawn.
    startable: BTreeSet<Id>,
    /// How many services were drawn.
    turns: u64,
}

/// Whether the stack ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    /// It does not.
    #[default]
    No,
    /// In order.
    Shutdown,
    /// At once.
    Kill,
    /// It has.
    Over,
}

impl Stack {
    /// A stack without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event and appends what is to be done. Never panics on any event.
    pub fn step(&mut self, now: Duration, event: Event, effects: &mut Vec<Effect>) {
        if self.ending == Ending::Over {
            return;
        }
        // A clock that goes backwards is taken as one that stands still.
        self.now = self.now.max(now);
        self.take(event, effects);
        self.wake();
        self.settle_all(effects);
        self.report_phases(effects);
        self.end_if_over(effects);
        self.calls.clear();
    }

    /// When the next [`Event::Tick`] is wanted, if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.ending == Ending::Over {
            return None;
        }
        self.worklist.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Whether [`Effect::End`] was emitted; nothing follows it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ending == Ending::Over
    }

    pub(crate) fn id_of(&self, name: &str) -> Option<Id> {
        self.ids.get(name).copied()
    }

    /// Settles every service, changed or not. Nothing may come of it: tests hold the
    /// worklist against it.
    #[doc(hidden)]
    pub fn sweep(&mut self, effects: &mut Vec<Effect>) {
        if self.ending == Ending::Over {
            return;
        }
        for id in 0..self.nodes.len() {
            self.enqueue(id);
        }
        self.settle_all(effects);
        self.report_phases(effects);
        self.end_if_over(effects);
    }

    fn take(&mut self, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Apply { plan } => self.apply(plan, effects),
            Event::TakeDown { services, only } => self.take_down(&services, only, effects),
            Event::Restart { services } => self.restart(&services, false, effects),
            Event::Replace { services } => self.restart(&services, true, effects),
            Event::Fault { service, fault } => self.fault(&service, fault, effects),
            Event::Shutdown => self.shut_down(Ending::Shutdown),
            Event::KillNow => self.shut_down(Ending::Kill),
            Event::Linked { service, path } => self.linked(&service, path, effects),
            Event::Accepted { service, artifact } => self.accepted(&service, artifact, effects),
            Event::BuildFailed { service, message } => {
                self.build_failed(&service, &message, effects);
            }
            Event::BuildEnded { ok } => self.build_ended(ok),
            Event::Bound { service, ports } => self.bound(&service, ports, effects),
            Event::BindFailed { service, failure, others } => {
                self.bind_failed(&service, failure, others, effects);
            }
            Event::HolderInspected { service, result } => {
                self.holder_inspected(&service, result, effects)
            }
            Event::LogTrouble { service, trouble } => {
                if let Some(id) = self.known(&service, "a word about a log", effects) {
                    self.nodes[id].log_trouble = trouble;
                    self.enqueue(id);
                }
            }
            Event::Started { service, run, pid } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.started(id, pid, effects);
                });
            }
            Event::StartFailed { service, run, error } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.start_failed(id, error, effects);
                });
            }
            Event::ProbePassed { service, run, probe } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.probe_passed(id, probe, effects);
                });
            }
            Event::ProbeSeen { service, run, probe, seen } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.probe_seen(id, probe, seen, effects);
                });
            }
            Event::Status { service, run, status } => {
                self.with_run(&service, run, effects, |stack, id, _| {
                    stack.nodes[id].observed.status = Some(status).filter(|said| !said.is_empty());
                });
            }
            Event::ExtendTimeout { service, run, by } => {
                self.with_run(&service, run, effects, |stack, id, _| stack.extend_timeout(id, by));
            }
            Event::WatchdogPing { service, run } => {
                self.with_run(&service, run, effects, |stack, id, _| stack.watchdog_ping(id));
            }
            Event::Exited { service, run, exit } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.exited(id, exit, effects);
                });
            }
            Event::Gone { service, run } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.gone(id, effects);
                });
            }
            Event::Calls { calls } => self.calls = calls,
            Event::Tick => {}
        }
    }

    /// The service of that name, or a report that there is none.
    fn known(&self, name: &Name, what: &str, effects: &mut Vec<Effect>) -> Option<Id> {
        let id = self.ids.get(name).copied();
        if id.is_none() {
            unexpected(effects, format!("{what} for `{name}`, which is not a service here"));
        }
        id
    }

    /// Puts everything whose deadline has come onto the worklist.
    fn wake(&mut self) {
        let due: Vec<Id> = self
            .worklist
            .deadlines
            .iter()
            .take_while(|(at, _)| *at <= self.now)
            .map(|(_, id)| *id)
            .collect();
        for id in due {
            self.enqueue(id);
        }
    }

    /// Puts a service onto the worklist.
    fn enqueue(&mut self, id: Id) {
        if !core::mem::replace(&mut self.nodes[id].indexed.queued, true) {
            self.worklist.queue.push_back(id);
        }
        self.worklist.touched.insert(id);
    }

    /// Works the worklist off, and tells the neighbours of whoever changed.
    fn settle_all(&mut self, effects: &mut Vec<Effect>) {
        // What the event did is noticed first: others may look at it before it is
        // settled, and must look again even if settling takes it back.
        for index in 0..self.worklist.queue.len() {
            self.notice(self.worklist.queue[index]);
        }
        loop {
            while let Some(id) = self.worklist.queue.pop_front() {
                self.nodes[id].indexed.queued = false;
                self.settle(id, effects);
                self.index_deadline(id);
                self.notice(id);
            }
            match self.draw() {
                Some(id) => self.start_or_hold(id, effects),
                None => return,
            }
        }
    }

    /// Tells the neighbours of a service if they see a change of it.
    fn notice(&mut self, id: Id) {
        let visible = self.nodes[id].visible_state();
        if self.nodes[id].indexed.visible.as_ref() != Some(&visible) {
            self.holding += usize::from(visible.holds_dependencies);
            let old = self.nodes[id].indexed.visible.replace(visible);
            self.holding -= usize::from(old.is_some_and(|old| old.holds_dependencies));
            self.enqueue(id);
            self.enqueue_neighbours(id);
        }
    }

    fn index_deadline(&mut self, id: Id) {
        let deadline = self.nodes[id].deadline();
        let indexed = self.nodes[id].indexed.deadline;
        if deadline == indexed {
            return;
        }
        if let Some(old) = indexed {
            self.worklist.deadlines.remove(&(old, id));
        }
        if let Some(new) = deadline {
            self.worklist.deadlines.insert((new, id));
        }
        self.nodes[id].indexed.deadline = deadline;
    }

    /// Says which phases are not what they were before the step.
    fn report_phases(&mut self, effects: &mut Vec<Effect>) {
        let mut touched: Vec<Id> =
            core::mem::take(&mut self.worklist.touched).into_iter().collect();
        // What an event ended comes before what could begin because of that.
        touched.sort_by_key(|id| self.nodes[*id].public_phase().is_on_the_way());
        for id in touched {
            let phase = self.nodes[id].public_phase();
            self.changes.count += 1;
            if phase == self.nodes[id].indexed.phase {
                self.changes.latest.entry(id).or_insert(self.changes.count);
                continue;
            }
            self.changes.latest.insert(id, self.changes.count);
            self.nodes[id].indexed.phase = phase;
            effects.push(Effect::Report(Report::Phase {
                service: self.nodes[id].spec.name.clone(),
                run: self.nodes[id].run(),
                phase,
                reason: self.reason(id),
            }));
        }
    }
}

/// Appends a report of something that should not have come.
fn unexpected(effects: &mut Vec<Effect>, what: String) {
    effects.push(Effect::Report(Report::Unexpected { what }));
}
