//! What happens to a run: it starts, is probed, speaks, ends.
//!
//! Events of a run that is over are dropped in [`Stack::with_run`], and nowhere else.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::{Exit, Run};
use super::node::{Check, Id, Origin, Phase, Rest, Stage, Starting};
use super::{Effect, Stack, unexpected, words};
use crate::snapshot::Failure;
use crate::terms::Name;

impl Stack {
    /// Hands an event about a run to what handles it, if that run is the present one
    /// and not over.
    pub(super) fn with_run(
        &mut self,
        service: &Name,
        run: Run,
        effects: &mut Vec<Effect>,
        handle: impl FnOnce(&mut Self, Id, &mut Vec<Effect>),
    ) {
        let Some(id) = self.known(service, "an event of a run", effects) else { return };
        let node = &self.nodes[id];
        if run > node.run {
            unexpected(effects, format!("an event of run {run} of `{service}`, never started"));
            return;
        }
        let over = match node.phase {
            Phase::Rest(_) => true,
            Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_) => false,
        };
        if run < node.run || over {
            return;
        }
        handle(self, id, effects);
        self.enqueue(id);
    }

    pub(super) fn started(&mut self, id: Id, pid: u32, effects: &mut Vec<Effect>) {
        if self.nodes[id].pid().is_some() || !self.nodes[id].has_process() {
            return self.nonsense(id, "`started` twice", effects);
        }
        let job = self.nodes[id].runs_a_job();
        let held = !self.is_killing() && self.is_making_room(id) && self.is_held(id);
        match &mut self.nodes[id].phase {
            Phase::Starting(starting) => {
                starting.pid = Some(pid);
                if job {
                    // It takes as long as it takes.
                    starting.deadline = None;
                }
                self.ready_if_all_passed(id);
            }
            Phase::Stopping(stopping) => {
                stopping.pid = Some(pid);
                match stopping.stage {
                    Stage::Lost => self.kill(id, effects),
                    Stage::Unborn { .. } if held => self.wait_for_dependents(id, pid),
                    Stage::Unborn { .. } | Stage::Told { .. } | Stage::Killed { .. } => {
                        self.tell(id, effects);
                    }
                }
            }
            Phase::Rest(_) | Phase::Ready(_) => {}
        }
    }

    /// Whether it ends, or has to, because something else is wanted, or nothing.
    fn is_making_room(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        let replaced = match &node.phase {
            Phase::Stopping(stopping) => stopping.then == Rest::Idle,
            Phase::Rest(_) | Phase::Starting(_) | Phase::Ready(_) => false,
        };
        // Nobody depends on what was not started here and makes room.
        node.origin() == Some(Origin::Started) && (node.is_due() || replaced)
    }

    /// It was to be told to stop, and by now dependents have to end before it: it runs
    /// until they have, though never to be ready.
    fn wait_for_dependents(&mut self, id: Id, pid: u32) {
        let now = self.now;
        let node = &mut self.nodes[id];
        let probes = node.shown.seen.len();
        node.replace = true;
        node.phase = Phase::Starting(Starting {
            since: now,
            pid: Some(pid),
            deadline: None,
            probes,
            missing: (0..probes).collect(),
        });
    }

    pub(super) fn start_failed(&mut self, id: Id, error: String, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        if node.pid().is_some() || !node.has_process() {
            return self.nonsense(id, "`start-failed` after `started`", effects);
        }
        if node.origin() != Some(Origin::Started) {
            // It is no more: the port may be free by now.
            return self.part(id, Rest::Idle);
        }
        match &node.phase {
            Phase::Starting(_) if !node.is_due() => {
                self.fail(id, Failure::Start, error, effects);
            }
            Phase::Stopping(stopping) => {
                self.nodes[id].phase = Phase::Rest(stopping.then.clone());
            }
            Phase::Starting(_) | Phase::Ready(_) | Phase::Rest(_) => {
                self.nodes[id].phase = Phase::Rest(Rest::Idle);
            }
        }
    }

    pub(super) fn probe_passed(&mut self, id: Id, probe: usize, effects: &mut Vec<Effect>) {
        match &mut self.nodes[id].phase {
            Phase::Starting(starting) if probe < starting.probes => {
                starting.missing.retain(|missing| *missing != probe);
                self.ready_if_all_passed(id);
            }
            // Late ones say nothing new.
            Phase::Ready(ready) if probe < ready.probes => {}
            Phase::Stopping(_) | Phase::Rest(_) => {}
            Phase::Starting(_) | Phase::Ready(_) => self.nonsense(id, "an unknown probe", effects),
        }
    }

    pub(super) fn probe_seen(
        &mut self,
        id: Id,
        probe: usize,
        seen: String,
        effects: &mut Vec<Effect>,
    ) {
        match self.nodes[id].shown.seen.get_mut(probe) {
            Some(slot) => *slot = Some(seen),
            None => self.nonsense(id, "an unknown probe", effects),
        }
    }

    /// Ready, if the process is there, nothing is missing, and it is not a job: a job
    /// is never ready, it succeeds or fails.
    fn ready_if_all_passed(&mut self, id: Id) {
        let node = &self.nodes[id];
        let all = match &node.phase {
            Phase::Starting(starting) => {
                let faceless = node.is_external() || self.is_hidden(id);
                let there = starting.pid.is_some() || faceless;
                there && starting.missing.is_empty() && !node.runs_a_job()
            }
            Phase::Rest(_) | Phase::Ready(_) | Phase::Stopping(_) => false,
        };
        if all {
            self.become_ready(id);
        }
    }

    pub(super) fn extend_timeout(&mut self, id: Id, by: Duration) {
        let new = self.now.saturating_add(by);
        match &mut self.nodes[id].phase {
            Phase::Starting(starting) => {
                if let Some(deadline) = &mut starting.deadline {
                    *deadline = new;
                }
            }
            Phase::Stopping(stopping) => match &mut stopping.stage {
                Stage::Told { kill_at, latest } => *kill_at = new.min(*latest),
                Stage::Unborn { .. } | Stage::Killed { .. } | Stage::Lost => {}
            },
            Phase::Rest(_) | Phase::Ready(_) => {}
        }
    }

    pub(super) fn watchdog_ping(&mut self, id: Id) {
        let every = self.nodes[id].spec.watchdog;
        let next = every.map(|every| self.now.saturating_add(every));
        if let Phase::Ready(ready) = &mut self.nodes[id].phase
            && ready.watchdog.is_some()
        {
            ready.watchdog = next;
        }
    }

    /// The leader ended; its group is told to end too, and waited for.
    pub(super) fn exited(&mut self, id: Id, exit: Exit, effects: &mut Vec<Effect>) {
        let node = &mut self.nodes[id];
        let (alive, adopted) = (node.is_alive(), node.is_adopted() && node.pid().is_some());
        match &mut node.phase {
            Phase::Starting(_) | Phase::Ready(_) if adopted => self.adopted_ended(id, exit),
            Phase::Starting(_) | Phase::Ready(_) if alive => {
                let reason = words::exit(exit);
                let then = if self.nodes[id].is_due() {
                    Rest::Idle
                } else {
                    self.after_end(id, exit, &reason)
                };
                self.leader_is_gone(id, then, reason, effects);
            }
            Phase::Stopping(stopping) if !stopping.exited => stopping.exited = true,
            Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_) | Phase::Rest(_) => {
                self.nonsense(id, "`exited` twice", effects);
            }
        }
    }

    /// Nothing is left of the run.
    pub(super) fn gone(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let exited = match &self.nodes[id].phase {
            Phase::Stopping(stopping) => stopping.exited,
            Phase::Rest(_) | Phase::Starting(_) | Phase::Ready(_) => false,
        };
        if !exited {
            self.nonsense(id, "`gone` before `exited`", effects);
            self.exited(id, Exit::Signal(0), effects);
        }
        if self.nodes[id].origin() == Some(Origin::Evicted) {
            return self.part(id, Rest::Idle);
        }
        let now = self.now;
        let node = &mut self.nodes[id];
        if let Phase::Stopping(stopping) = &node.phase {
            let due = !node.wanted || node.replace;
            let then = if due { Rest::Idle } else { stopping.then.clone() };
            if then == Rest::Succeeded {
                node.shown.ready_at = Some(now);
            } else {
                node.check = Check::Done;
            }
            node.phase = Phase::Rest(then);
            node.replace = false;
        }
    }

    fn nonsense(&self, id: Id, what: &str, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        let phase = node.public_phase().as_str();
        let (name, run) = (&node.spec.name, node.run);
        unexpected(effects, format!("{what}, of `{name}` (run {run}), which is {phase}"));
    }
}
