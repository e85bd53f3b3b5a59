//! The reducer over the whole graph of a running stack: events in, effects out.
//!
//! It decides everything about what runs, and touches nothing: no clock (time is an
//! argument), no process, no file. Deadlines live in the phases.
//!
//! An event changes the service it is about; then a worklist settles that service,
//! and whoever can see a change of it, until nothing changes any more. No event
//! sweeps over all services, except those that are about all of them.

mod address;
mod adopt;
mod apply;
mod bringup;
mod build;
mod conditions;
mod container;
mod deadlock;
mod draw;
mod edges;
pub mod effect;
pub mod event;
mod fault;
mod liken;
pub(crate) mod likeness;
pub(crate) mod node;
mod phase;
mod program;
mod request;
mod run;
mod settle;
mod snapshot;
mod takedown;
pub(crate) mod tenancy;
mod trail;
mod verdict;
pub(crate) mod words;

pub use deadlock::Address;
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
    /// The stack's name.
    name: String,
    /// The workspace root.
    workspace: String,
    /// The stack's data folder.
    data: String,
    /// What images are built upon.
    base_image: Option<String>,
    /// Every service that was ever named by a plan.
    nodes: Vec<Node>,
    ids: BTreeMap<Name, Id>,
    /// Who starts together.
    rings: Vec<Ring>,
    /// The order of views: dependencies first.
    order: Vec<Id>,
    /// Services to settle.
    worklist: VecDeque<Id>,
    /// Every deadline, so that the next one is found without looking at everybody.
    deadlines: BTreeSet<(Duration, Id)>,
    /// Services that may look different since the step began.
    touched: BTreeSet<Id>,
    /// Services that may look different since somebody asked, each with the number of
    /// the change that put it in its phase.
    changed: BTreeMap<Id, u64>,
    /// How many changes there were.
    changes: u64,
    /// What makes starts worse than they need be.
    faults: Faults,
    /// Services that could start, and wait for their turn where it is drawn.
    startable: BTreeSet<Id>,
    /// How often a turn was drawn.
    turns: u64,
    /// How many services may have a process that can be waited for.
    in_the_way: usize,
    /// Whether, and how, everything is to end.
    ending: Ending,
    /// Who was seen to call whom in this step; nobody knows about any other.
    calls: Vec<Call>,
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
        self.deadlines.first().map(|(deadline, _)| *deadline)
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
            Event::Looked { service, occupant } => self.looked(&service, occupant, effects),
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
                    stack.nodes[id].shown.status = Some(status).filter(|said| !said.is_empty());
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
        if !core::mem::replace(&mut self.nodes[id].queued, true) {
            self.worklist.push_back(id);
        }
        self.touched.insert(id);
    }

    /// Works the worklist off, and tells the neighbours of whoever changed.
    fn settle_all(&mut self, effects: &mut Vec<Effect>) {
        // What the event did is noticed first: others may look at it before it is
        // settled, and must look again even if settling takes it back.
        for index in 0..self.worklist.len() {
            self.notice(self.worklist[index]);
        }
        loop {
            while let Some(id) = self.worklist.pop_front() {
                self.nodes[id].queued = false;
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
        let face = self.nodes[id].present_face();
        if self.nodes[id].face.as_ref() != Some(&face) {
            self.in_the_way += usize::from(face.in_the_way);
            let old = self.nodes[id].face.replace(face);
            self.in_the_way -= usize::from(old.is_some_and(|old| old.in_the_way));
            self.enqueue(id);
            self.enqueue_neighbours(id);
        }
    }

    fn index_deadline(&mut self, id: Id) {
        let deadline = self.nodes[id].deadline();
        let indexed = self.nodes[id].indexed;
        if deadline == indexed {
            return;
        }
        if let Some(old) = indexed {
            self.deadlines.remove(&(old, id));
        }
        if let Some(new) = deadline {
            self.deadlines.insert((new, id));
        }
        self.nodes[id].indexed = deadline;
    }

    /// Everybody whose conditions, order or address can depend on this service.
    fn enqueue_neighbours(&mut self, id: Id) {
        let edges = core::mem::take(&mut self.nodes[id].edges);
        for edge in &edges.dependencies {
            self.enqueue(edge.on);
        }
        for (dependent, _) in &edges.dependents {
            self.enqueue(*dependent);
        }
        for user in &edges.users {
            self.enqueue(*user);
        }
        if let Some(ring) = edges.ring {
            let outsiders = core::mem::take(&mut self.rings[ring].outsiders);
            outsiders.iter().for_each(|outsider| self.enqueue(*outsider));
            self.rings[ring].outsiders = outsiders;
        }
        self.nodes[id].edges = edges;
    }

    /// Says which phases are not what they were before the step.
    fn report_phases(&mut self, effects: &mut Vec<Effect>) {
        let mut touched: Vec<Id> = core::mem::take(&mut self.touched).into_iter().collect();
        // What an event ended comes before what could begin because of that.
        touched.sort_by_key(|id| self.nodes[*id].public_phase().is_on_the_way());
        for id in touched {
            let phase = self.nodes[id].public_phase();
            self.changes += 1;
            if phase == self.nodes[id].reported {
                self.changed.entry(id).or_insert(self.changes);
                continue;
            }
            self.changed.insert(id, self.changes);
            self.nodes[id].reported = phase;
            effects.push(Effect::Report(Report::Phase {
                service: self.nodes[id].spec.name.clone(),
                run: self.nodes[id].run,
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
