//! What runs is ended: its stop signal, SIGKILL, and what is left to say when even
//! that does not help.
//!
//! Who has to end, and what comes after, is decided elsewhere.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::node::{Id, Phase, Rest, Stage, Stopping};
use super::phase::PATIENCE;
use super::{Effect, Ending, Signal, Stack, unexpected, words};

/// How far `EXTEND_TIMEOUT_USEC=` can put off SIGKILL: a stop always ends.
pub(super) const LONGEST_EXTENSION: Duration = Duration::from_secs(300);

impl Stack {
    /// Whether everything is killed at once.
    pub(super) fn is_killing(&self) -> bool {
        match self.ending {
            Ending::Kill => true,
            Ending::No | Ending::Shutdown | Ending::Over => false,
        }
    }

    /// Ends a run that has to end, unless a dependent that has to end too is still there.
    pub(super) fn stop_if_free(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if !self.is_killing() && self.is_held(id) {
            return;
        }
        self.stop(id, Rest::Idle, None, effects);
    }

    /// Ends a run. `then` is what follows when nothing of it is left.
    pub(super) fn stop(
        &mut self,
        id: Id,
        then: Rest,
        reason: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        if self.nodes[id].is_adopted() {
            return self.release(id, then, effects);
        }
        self.stop_probes(id, effects);
        let external = !self.nodes[id].is_alive();
        if external {
            self.nodes[id].phase = Phase::Rest(then);
            return;
        }
        let pid = self.nodes[id].pid();
        let give_up = self.now.saturating_add(PATIENCE);
        self.nodes[id].phase = Phase::Stopping(Stopping {
            pid,
            stage: Stage::Unborn { give_up },
            exited: false,
            reason,
            then,
        });
        if pid.is_some() {
            self.tell(id, effects);
        } else {
            // A container may take long to be made, and its image longer to be fetched.
            let node = &self.nodes[id];
            effects.push(Effect::CallOff { service: node.spec.name.clone(), run: node.run });
        }
    }

    /// Sends the first signal to a process that is there.
    pub(super) fn tell(&mut self, id: Id, effects: &mut Vec<Effect>) {
        if self.is_killing() {
            return self.kill(id, effects);
        }
        let signal = Signal::Stop(self.nodes[id].spec.stop.signal.clone());
        let kill_at = self.now.saturating_add(self.nodes[id].spec.stop.timeout);
        let latest = kill_at.saturating_add(LONGEST_EXTENSION);
        self.set_stage(id, Stage::Told { kill_at, latest });
        self.signal(id, signal, effects);
    }

    /// Kills what is left of a run.
    pub(super) fn kill(&mut self, id: Id, effects: &mut Vec<Effect>) {
        self.set_stage(id, Stage::Killed { give_up: self.now.saturating_add(PATIENCE) });
        self.signal(id, Signal::Kill, effects);
    }

    /// Waits no longer for a run, but lets nothing take its place.
    pub(super) fn lose(&mut self, id: Id, effects: &mut Vec<Effect>) {
        self.set_stage(id, Stage::Lost);
        let node = &self.nodes[id];
        unexpected(effects, format!("`{}` (run {}) {}", node.spec.name, node.run, words::LOST));
    }

    fn set_stage(&mut self, id: Id, stage: Stage) {
        if let Phase::Stopping(stopping) = &mut self.nodes[id].phase {
            stopping.stage = stage;
        }
    }

    fn signal(&self, id: Id, signal: Signal, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        effects.push(Effect::Signal { service: node.spec.name.clone(), run: node.run, signal });
    }

    /// Stops the probes of a run that has not become ready.
    fn stop_probes(&self, id: Id, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        let open = match &node.phase {
            Phase::Starting(starting) => !starting.missing.is_empty(),
            Phase::Rest(_) | Phase::Ready(_) | Phase::Stopping(_) => false,
        };
        if open {
            effects.push(Effect::StopProbes { service: node.spec.name.clone(), run: node.run });
        }
    }

    /// Ends the stack once nothing is left to wait for.
    pub(super) fn end_if_over(&mut self, effects: &mut Vec<Effect>) {
        match self.ending {
            Ending::Shutdown | Ending::Kill if self.in_the_way == 0 => {
                self.ending = Ending::Over;
                effects.push(Effect::End);
            }
            Ending::No | Ending::Shutdown | Ending::Kill | Ending::Over => {}
        }
    }
}
