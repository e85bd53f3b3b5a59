//! The events of a run: it starts, passes probes, sends notifications, exits.
//!
//! [`Stack::with_run`] drops the events of past runs, and nothing else does.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::{Exit, ExitClue, Run};
use super::node::Id;
use super::phase::{Phase, Rest, RunOrigin, Stage};
use super::ports::PortState;
use super::{Effect, Stack, messages, unexpected};
use crate::snapshot::Failure;
use crate::terms::Name;

impl Stack {
    /// Calls the handler of an event unless the event is about a past run.
    pub(super) fn with_run(
        &mut self,
        service: &Name,
        run: Run,
        effects: &mut Vec<Effect>,
        handle: impl FnOnce(&mut Self, Id, &mut Vec<Effect>),
    ) {
        let Some(id) = self.known(service, "an event of a run", effects) else { return };
        if run > self.last_run(id) {
            unexpected(effects, format!("an event of run {run} of `{service}`, never started"));
            return;
        }
        let present = |id: &Id| {
            let node = &self.nodes[*id];
            run == node.run() && !matches!(node.phase(), Phase::Rest(_))
        };
        if let Some(id) =
            [Some(id), self.nodes[id].handover.beside].into_iter().flatten().find(present)
        {
            handle(self, id, effects);
            self.enqueue_partner(id);
            self.enqueue(id);
        }
    }

    pub(super) fn started(&mut self, id: Id, pid: u32, effects: &mut Vec<Effect>) {
        if self.nodes[id].pid().is_some() || !self.nodes[id].has_process() {
            return self.out_of_place(id, "`started` twice", effects);
        }
        let job = self.nodes[id].runs_a_job();
        let held = !self.is_killing()
            && self.ends_for_request(id)
            && self.stopping_dependent(id).is_some();
        self.nodes[id].lifecycle.note_pid(pid);
        self.nodes[id].observed.started = true;
        match self.nodes[id].phase() {
            Phase::Starting(_) => {
                if job {
                    // A job has no time limit.
                    self.nodes[id].lifecycle.move_deadline(None);
                }
                self.ready_if_all_passed(id);
            }
            Phase::Stopping(stopping) => match stopping.stage {
                Stage::Lost => self.kill(id, effects),
                Stage::Unstarted { .. } if held => {
                    let probes = self.nodes[id].observed.seen.len();
                    self.nodes[id].lifecycle.resume_run(self.now, probes);
                }
                Stage::Unstarted { .. } | Stage::Signalled { .. } | Stage::Killed { .. } => {
                    self.send_stop_signal(id, effects);
                }
            },
            Phase::Rest(_) | Phase::Ready(_) => {}
        }
    }

    /// Whether it is ending, or due to end, because of a request and not by itself.
    fn ends_for_request(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        let replaced = node.stopping().is_some_and(|stopping| stopping.then == Rest::Idle);
        // An evicted process has no dependents.
        node.origin() == Some(RunOrigin::Started) && (node.is_due() || replaced)
    }

    pub(super) fn start_failed(&mut self, id: Id, error: String, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        if node.pid().is_some() || !node.has_process() {
            return self.out_of_place(id, "`start-failed` after `started`", effects);
        }
        if node.origin() != Some(RunOrigin::Started) {
            // The process is gone, so the port may be free now.
            return self.end_foreign_run(id, Rest::Idle);
        }
        if node.starting().is_some() && !node.is_due() {
            return self.fail(id, Failure::Start, error, effects);
        }
        let then = node.stopping().map_or(Rest::Idle, |stopping| stopping.then.clone());
        self.nodes[id].lifecycle.end_run(then);
    }

    /// The run has no process, because a port is no longer free. The next start requests the
    /// ports again, which does not count as a restart.
    pub(super) fn ports_lost(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let node = &mut self.nodes[id];
        if node.pid().is_some() || node.origin() != Some(RunOrigin::Started) {
            return self.out_of_place(id, "`ports-lost` after `started`", effects);
        }
        let then = node.stopping().map_or(Rest::Idle, |stopping| stopping.then.clone());
        node.lifecycle.end_run(then);
        node.ports.state = PortState::Unbound;
    }

    pub(super) fn probe_passed(&mut self, id: Id, probe: usize, effects: &mut Vec<Effect>) {
        match self.nodes[id].phase() {
            Phase::Starting(starting) if probe < starting.probes => {
                self.nodes[id].lifecycle.pass_probe(probe);
                // What the probe saw before explains nothing any more.
                if let Some(slot) = self.nodes[id].observed.seen.get_mut(probe) {
                    *slot = None;
                }
                self.ready_if_all_passed(id);
            }
            // Late probes add nothing.
            Phase::Ready(ready) if probe < ready.probes => {}
            Phase::Stopping(_) | Phase::Rest(_) => {}
            Phase::Starting(_) | Phase::Ready(_) => {
                self.out_of_place(id, "an unknown probe", effects)
            }
        }
    }

    pub(super) fn probe_seen(
        &mut self,
        id: Id,
        probe: usize,
        seen: String,
        effects: &mut Vec<Effect>,
    ) {
        let node = &mut self.nodes[id];
        let passed = node.is_ready()
            || node.starting().is_some_and(|starting| !starting.missing.contains(&probe));
        match node.observed.seen.get_mut(probe) {
            // A result that was sent before the probe passed.
            Some(_) if passed => {}
            Some(slot) => *slot = Some(seen),
            None => self.out_of_place(id, "an unknown probe", effects),
        }
    }

    /// Ready, if the process exists and no probe is missing. A job is never ready: it succeeds
    /// or fails.
    fn ready_if_all_passed(&mut self, id: Id) {
        let node = &self.nodes[id];
        let Some(starting) = node.starting() else { return };
        let has_process = starting.pid.is_some() || node.is_external() || self.is_hidden(id);
        if has_process && starting.missing.is_empty() && !node.runs_a_job() {
            self.become_ready(id);
        }
    }

    pub(super) fn extend_timeout(&mut self, id: Id, by: Duration) {
        self.nodes[id].lifecycle.move_deadline(Some(self.now.saturating_add(by)));
    }

    pub(super) fn watchdog_ping(&mut self, id: Id) {
        let every = self.nodes[id].spec.watchdog;
        let next = every.map(|every| self.now.saturating_add(every));
        self.nodes[id].lifecycle.reset_watchdog(next);
    }

    /// The leader exited. Its group receives the stop signal and has to end as well.
    pub(super) fn exited(
        &mut self,
        id: Id,
        exit: Exit,
        clue: Option<ExitClue>,
        effects: &mut Vec<Effect>,
    ) {
        let node = &mut self.nodes[id];
        // A service that was ready and failed has another cause.
        let is_early = !node.is_ready() || exit == Exit::Code(0);
        node.observed.clue = clue.filter(|_| is_early);
        let (alive, adopted) = (node.is_alive(), node.is_adopted() && node.pid().is_some());
        match node.phase() {
            Phase::Starting(_) | Phase::Ready(_) if adopted => self.adopted_ended(id, exit),
            Phase::Starting(_) | Phase::Ready(_) if alive => {
                let reason = messages::exit(exit);
                let then = self.after_exit(id, exit, &reason);
                self.stop_after_exit(id, then, reason, effects);
            }
            Phase::Stopping(stopping) if !stopping.exited => node.lifecycle.note_exit(),
            Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_) | Phase::Rest(_) => {
                self.out_of_place(id, "`exited` twice", effects);
            }
        }
    }

    pub(super) fn gone(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if !self.nodes[id].stopping().is_some_and(|stopping| stopping.exited) {
            self.out_of_place(id, "`gone` before `exited`", effects);
            self.exited(id, Exit::Signal(0), None, effects);
        }
        if self.nodes[id].origin() == Some(RunOrigin::Evicted) {
            return self.end_foreign_run(id, Rest::Idle);
        }
        let node = &mut self.nodes[id];
        if node.stopping().is_some() {
            node.lifecycle.gone(node.wanted);
        }
    }

    fn out_of_place(&self, id: Id, what: &str, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        let phase = node.public_phase().as_str();
        let (name, run) = (&node.spec.name, node.run());
        unexpected(effects, format!("{what}, of `{name}` (run {run}), which is {phase}"));
    }
}
