//! What the build says: programs come one by one, or not at all.
//!
//! It starts nothing; a program that is there lets `settle` do that.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::event::Artifact;
use super::node::{Build, Check, Id, Phase, Rest};
use super::{Effect, Stack, unexpected};
use crate::plan::Program;
use crate::snapshot::Failure;
use crate::terms::Name;

impl Stack {
    pub(super) fn linked(&mut self, service: &Name, path: String, effects: &mut Vec<Effect>) {
        let Some(id) = self.buildable(service, "`linked`", effects) else { return };
        let node = &mut self.nodes[id];
        let serving = match node.build {
            Build::Pending { serving }
            | Build::Linked { serving }
            | Build::Failed { serving, .. } => serving,
            Build::Unneeded | Build::Accepted => node.is_running(),
        };
        node.build = Build::Linked { serving };
        node.linked = Some(path.clone());
        let image = self.image_wanted(id);
        effects.push(Effect::Accept { service: service.clone(), path, image });
        self.enqueue(id);
    }

    pub(super) fn accepted(
        &mut self,
        service: &Name,
        artifact: Artifact,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.buildable(service, "`accepted`", effects) else { return };
        let node = &mut self.nodes[id];
        let old = node.accepted.replace(artifact);
        let new = old.map(|old| old.content) != node.accepted.as_ref().map(|a| a.content);
        node.build = Build::Accepted;
        if node.is_running() || node.has_succeeded() {
            node.check = Check::Said;
        }
        // Another program is worth another try; the old one's failures are not its own.
        match &node.phase {
            Phase::Rest(Rest::Failed { failure, .. }) if new || *failure == Failure::Build => {
                node.series.reset();
                node.phase = Phase::Rest(Rest::Idle);
            }
            Phase::Rest(_) | Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_) => {}
        }
        self.enqueue(id);
    }

    pub(super) fn build_failed(
        &mut self,
        service: &Name,
        message: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.buildable(service, "`build-failed`", effects) else { return };
        self.fail_build(id, message);
    }

    /// Programs on their way into the stack's state are not lost by this: their answer
    /// comes.
    pub(super) fn build_ended(&mut self, ok: bool) {
        let message = if ok {
            "cargo ended without linking its program"
        } else {
            "its program could not be built"
        };
        for id in 0..self.nodes.len() {
            if let Build::Pending { .. } = self.nodes[id].build {
                self.fail_build(id, message);
            }
        }
    }

    fn fail_build(&mut self, id: Id, message: &str) {
        let node = &mut self.nodes[id];
        let serving = match node.build {
            Build::Pending { serving }
            | Build::Linked { serving }
            | Build::Failed { serving, .. } => serving,
            // Of two builds at once the other one did better.
            Build::Accepted => true,
            Build::Unneeded => false,
        };
        node.build = Build::Failed { serving, message: message.to_string() };
        node.check = Check::Done;
        self.enqueue(id);
    }

    fn buildable(&self, service: &Name, what: &str, effects: &mut Vec<Effect>) -> Option<Id> {
        let id = self.known(service, what, effects)?;
        match self.nodes[id].spec.program {
            Program::Artifact { .. } => Some(id),
            Program::Command { .. } | Program::External | Program::Image { .. } => {
                unexpected(effects, format!("{what} for `{service}`, which is not built"));
                None
            }
        }
    }
}
