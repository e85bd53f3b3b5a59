//! The reducer over the whole graph of a running stack: events in, effects out.
//!
//! It decides everything about what runs, and touches nothing: no clock (time is an argument),
//! no process, no file. Deadlines are in the phases.
//!
//! An event changes the service that it names. A worklist then settles that service and each
//! neighbour that can see the change, until nothing changes. Only events about all services
//! visit all services.

mod adoption;
mod build;
mod conditions;
mod deadlock;
mod edges;
pub mod effect;
pub mod event;
mod handover;
mod health;
pub(crate) mod messages;
mod node;
mod phase;
mod ports;
mod render;
mod requests;
mod run;
mod settle;
mod siblings;
mod snapshot;
mod start;
mod stop;
mod transitions;

pub use deadlock::ServiceAddress;
pub use effect::{Command, Container, Effect, Report, Signal};
pub use event::{Artifact, BindFailure, Event, Exit, ExitClue, Fault, LinkedProgram, Run};
pub use messages::{elsewhere as elsewhere_text, exit as exit_text, stopped as stopped_text};

use crate::sorted::{SortedMap, SortedSet};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::calls::Call;
use crate::plan::Faults;
use crate::terms::Name;
use edges::Ring;
use node::{Id, Node};

/// A running set of services: desired state, actual state, and how to get from one to the other.
///
/// Times are durations since the stack began.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// The latest time of an event.
    now: Duration,
    identity: Identity,
    /// Every service that a plan ever named.
    nodes: Vec<Node>,
    ids: SortedMap<Name, Id>,
    /// Services that start together.
    rings: Vec<Ring>,
    /// The order of views: dependencies first.
    order: Vec<Id>,
    worklist: Worklist,
    changes: Changes,
    starts: Starts,
    /// How many plans were applied.
    plans: u64,
    /// Services that wait until another service of the stack frees a port.
    port_waiters: SortedSet<Id>,
    /// How many services hold their dependencies: they may have a process to wait for.
    holding: usize,
    ending: Ending,
    /// The calls that were observed in this step.
    calls: Vec<Call>,
}

/// Which stack this is, and where its files are.
#[derive(Clone, Debug, Default)]
struct Identity {
    stack: String,
    workspace: String,
    data: String,
    /// The image that built images are based on.
    base_image: Option<String>,
}

/// Services to settle, now or at a deadline.
#[derive(Clone, Debug, Default)]
struct Worklist {
    queue: VecDeque<Id>,
    /// The deadlines of all services, earliest first.
    deadlines: SortedSet<(Duration, Id)>,
    /// Services that may look different since the step began.
    touched: SortedSet<Id>,
}

/// Services that may look different since [`Stack::take_changed`] was last called.
#[derive(Clone, Debug, Default)]
struct Changes {
    /// Each with the number of the change that put it in its phase.
    latest: SortedMap<Id, u64>,
    /// How many changes there were.
    count: u64,
}

/// Starts that a fault delays or draws.
#[derive(Clone, Debug, Default)]
struct Starts {
    faults: Faults,
    /// Services that could start and wait to be drawn.
    startable: SortedSet<Id>,
    /// How many services were drawn.
    turns: u64,
}

/// Whether and how the stack ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    No,
    /// Dependents stop before their dependencies.
    Shutdown,
    /// All processes are killed at once.
    Kill,
    /// [`Effect::End`] was emitted.
    Over,
}

impl Stack {
    /// A stack without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Processes one event and appends what has to be done. Never panics.
    pub fn step(&mut self, now: Duration, event: Event, effects: &mut Vec<Effect>) {
        if self.ending == Ending::Over {
            return;
        }
        // A clock that runs backwards counts as stopped.
        self.now = self.now.max(now);
        self.take(event, effects);
        self.wake();
        self.settle_all(effects);
        self.report_phases(effects);
        self.end_if_over(effects);
        self.calls.clear();
    }

    /// The time of the next [`Event::Tick`] that the stack needs.
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

    /// Settles every service, changed or not. Tests use it to check the worklist: it must have
    /// no effects.
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
            Event::Linked { service, program } => self.linked(&service, program, effects),
            Event::Accepted { service, artifact } => self.accepted(&service, artifact, effects),
            Event::BuildFailed { service, message } => {
                self.build_failed(&service, &message, effects);
            }
            Event::BuildEnded { ok } => self.build_ended(ok),
            Event::BuildInterrupted => self.build_interrupted(),
            Event::Bound { service, ports } => self.bound(&service, ports, effects),
            Event::BindFailed { service, failure, others } => {
                self.bind_failed(&service, failure, others, effects);
            }
            Event::PortsChecked { service, failures } => {
                self.ports_checked(&service, &failures, effects);
            }
            Event::HolderInspected { service, result } => {
                self.holder_inspected(&service, result, effects)
            }
            Event::LogTrouble { service, trouble } => {
                if let Some(id) = self.known(&service, "`log-trouble`", effects) {
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
            Event::PortsLost { service, run } => {
                self.with_run(&service, run, effects, Self::ports_lost);
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
                    stack.nodes[id].observed.status =
                        Some(status).filter(|status| !status.is_empty());
                });
            }
            Event::ExtendTimeout { service, run, by } => {
                self.with_run(&service, run, effects, |stack, id, _| stack.extend_timeout(id, by));
            }
            Event::WatchdogPing { service, run } => {
                self.with_run(&service, run, effects, |stack, id, _| stack.watchdog_ping(id));
            }
            Event::HealthChecked { service, run, failure } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.health_checked(id, failure, effects);
                });
            }
            Event::Exited { service, run, exit, clue } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.exited(id, exit, clue, effects);
                });
            }
            Event::Gone { service, run } => {
                self.with_run(&service, run, effects, |stack, id, effects| {
                    stack.gone(id, effects);
                });
            }
            Event::Calls { calls, elsewhere } => {
                self.calls = calls;
                self.note_listeners(elsewhere);
            }
            Event::Tick => {}
        }
    }

    /// The service of that name. An unknown name is reported.
    fn known(&self, name: &Name, what: &str, effects: &mut Vec<Effect>) -> Option<Id> {
        let id = self.ids.get(name).copied();
        if id.is_none() {
            unexpected(effects, format!("{what} for `{name}`, which is unknown"));
        }
        id
    }

    /// Queues every service whose deadline has passed.
    fn wake(&mut self) {
        let due = self.worklist.deadlines.iter().take_while(|(at, _)| *at <= self.now);
        let due: Vec<Id> = due.map(|(_, id)| *id).collect();
        for id in due {
            self.enqueue(id);
        }
    }

    /// Queues a service to be settled.
    fn enqueue(&mut self, id: Id) {
        if !core::mem::replace(&mut self.nodes[id].indexed.queued, true) {
            self.worklist.queue.push_back(id);
        }
        self.worklist.touched.insert(id);
    }

    /// Settles all queued services, and queues the neighbours of each that changed.
    fn settle_all(&mut self, effects: &mut Vec<Effect>) {
        // Neighbours must see what the event did even if settling reverts it.
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

    /// Queues the neighbours of a service that looks different to them.
    fn notice(&mut self, id: Id) {
        let visible = self.nodes[id].visible_state();
        if self.nodes[id].indexed.visible.as_ref() != Some(&visible) {
            self.holding += usize::from(visible.holds_dependencies);
            let old = self.nodes[id].indexed.visible.replace(visible);
            self.holding -= usize::from(old.is_some_and(|old| old.holds_dependencies));
            self.enqueue(id);
            self.enqueue_neighbours(id);
            self.enqueue_partner(id);
            self.enqueue_port_waiters();
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

    /// Reports each phase that the step changed.
    fn report_phases(&mut self, effects: &mut Vec<Effect>) {
        let mut touched: Vec<Id> =
            core::mem::take(&mut self.worklist.touched).into_iter().collect();
        // Report what an event ended before what its end made possible.
        touched.sort_by_key(|id| self.nodes[*id].public_phase().is_on_the_way());
        for id in touched {
            let phase = self.nodes[id].public_phase();
            self.changes.count += 1;
            if let Some(service) = self.nodes[id].handover.of {
                // Views see it as a part of its service.
                self.changes.latest.entry(service).or_insert(self.changes.count);
                continue;
            }
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

/// Reports an event that is out of place.
fn unexpected(effects: &mut Vec<Effect>, what: String) {
    effects.push(Effect::Report(Report::Unexpected { what }));
}
