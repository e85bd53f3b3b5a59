//! Programs: what a service runs, and how far its build is.
//!
//! Nothing is started here; `settle` starts a service once its program is available.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::event::{Artifact, LinkedProgram};
use super::node::Id;
use super::phase::{Phase, Rest};
use super::{Effect, Stack, messages, unexpected};
use crate::plan::Program;
use crate::snapshot::Failure;
use crate::terms::Name;

#[derive(Clone, Debug, Default)]
pub(crate) struct Build {
    pub(crate) state: BuildState,
    /// Where cargo put the program, once it is linked.
    pub(crate) linked: Option<String>,
    /// The program that is kept for starts, once there is one.
    pub(crate) accepted: Option<Artifact>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum BuildState {
    /// The service runs no built program.
    #[default]
    Unneeded,
    /// Cargo has not linked it yet. While `serving`, as the service ran when the build began, the
    /// accepted program keeps running and may start again.
    Pending { serving: bool },
    /// Cargo linked it, and the driver is copying it into the stack's state.
    Linked { serving: bool },
    /// The driver keeps the program.
    Accepted,
    /// The program could not be built or kept.
    Failed { serving: bool, message: String },
}

/// Whether a run can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramState<'a> {
    Available,
    /// A build is under way.
    Pending,
    /// The build failed, with this message.
    Failed(&'a str),
}

impl BuildState {
    /// Whether a build may still provide another program.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Linked { .. })
    }

    /// Whether the accepted program may start, if the state depends on that.
    fn serving(&self) -> Option<bool> {
        match self {
            Self::Pending { serving } | Self::Linked { serving } | Self::Failed { serving, .. } => {
                Some(*serving)
            }
            Self::Unneeded | Self::Accepted => None,
        }
    }

    pub(super) fn program(&self) -> ProgramState<'_> {
        match self {
            Self::Unneeded
            | Self::Accepted
            | Self::Pending { serving: true }
            | Self::Linked { serving: true }
            | Self::Failed { serving: true, .. } => ProgramState::Available,
            Self::Pending { serving: false } | Self::Linked { serving: false } => {
                ProgramState::Pending
            }
            Self::Failed { serving: false, message } => ProgramState::Failed(message),
        }
    }

    /// Sets whether the accepted program may start while a newer one is being built.
    pub(super) fn set_serving(&mut self, value: bool) {
        match self {
            Self::Pending { serving } | Self::Linked { serving } | Self::Failed { serving, .. } => {
                *serving = value
            }
            Self::Unneeded | Self::Accepted => {}
        }
    }
}

impl Stack {
    pub(super) fn linked(
        &mut self,
        service: &Name,
        program: LinkedProgram,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.buildable(service, "`linked`", effects) else { return };
        let node = &mut self.nodes[id];
        let serving = node.build.state.serving().unwrap_or_else(|| node.is_running());
        node.build.state = BuildState::Linked { serving };
        node.build.linked = Some(program.path.clone());
        let image = self.image_wanted(id);
        effects.push(Effect::Accept { service: service.clone(), program, image });
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
        let old = node.build.accepted.replace(artifact);
        let new = old.map(|old| old.content) != node.build.accepted.as_ref().map(|a| a.content);
        node.build.state = BuildState::Accepted;
        if node.is_running() || node.has_succeeded() {
            node.lifecycle.request_check(true);
        }
        // A new program gets new tries: the failures of the old one do not count.
        if let Phase::Rest(Rest::Failed { failure, .. }) = node.phase()
            && (new || *failure == Failure::Build)
        {
            node.retries.reset();
            node.lifecycle.retry();
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

    /// Programs that the driver is copying are not lost: it still reports each of them.
    pub(super) fn build_ended(&mut self, ok: bool) {
        self.fail_pending(if ok { messages::not_linked } else { messages::not_built });
    }

    /// The command that ran cargo ended before cargo did.
    pub(super) fn build_interrupted(&mut self) {
        self.fail_pending(messages::build_interrupted);
    }

    /// Fails every program that cargo has not linked. `why` takes the service and the stack.
    fn fail_pending(&mut self, why: fn(&Name, &str) -> String) {
        for id in 0..self.nodes.len() {
            if let BuildState::Pending { .. } = self.nodes[id].build.state {
                let message = why(&self.nodes[id].spec.name, &self.identity.stack);
                self.fail_build(id, &message);
            }
        }
    }

    fn fail_build(&mut self, id: Id, message: &str) {
        let node = &mut self.nodes[id];
        // When it is accepted, another build of the same program succeeded.
        let accepted = node.build.state == BuildState::Accepted;
        let serving = node.build.state.serving().unwrap_or(accepted);
        node.build.state = BuildState::Failed { serving, message: message.to_string() };
        node.lifecycle.clear_check();
        if node.is_running() {
            node.contexts.requested = None;
        }
        self.enqueue(id);
    }

    fn buildable(&self, service: &Name, what: &str, effects: &mut Vec<Effect>) -> Option<Id> {
        let id = self.known(service, what, effects)?;
        let built = matches!(self.nodes[id].spec.program, Program::Artifact { .. });
        if !built {
            unexpected(effects, format!("{what} for `{service}`, which is not built"));
        }
        built.then_some(id)
    }
}
