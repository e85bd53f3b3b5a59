//! Programs: what a service runs, and how far its build is.
//!
//! Nothing is started here; `settle` starts a service once its program is available.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::event::Artifact;
use super::node::Id;
use super::phase::{Phase, Rest};
use super::{Effect, Stack, unexpected};
use crate::plan::Program;
use crate::snapshot::Failure;
use crate::terms::Name;

/// The program of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Build {
    pub(crate) state: BuildState,
    /// Where cargo put the program, once it is linked.
    pub(crate) linked: Option<String>,
    /// The program that is kept for starts, once there is one.
    pub(crate) accepted: Option<Artifact>,
}

/// How far a build is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum BuildState {
    /// The service runs no built program.
    #[default]
    Unneeded,
    /// Cargo has not linked it yet. While `serving`, the accepted program keeps running and may
    /// start again.
    Pending {
        /// Whether the service ran when the build began.
        serving: bool,
    },
    /// Cargo linked it, and the driver is copying it into the stack's state.
    Linked {
        /// As in `Pending`.
        serving: bool,
    },
    /// The driver keeps the program.
    Accepted,
    /// The program could not be built or kept.
    Failed {
        /// As in `Pending`.
        serving: bool,
        message: String,
    },
}

/// Whether a run can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramState<'a> {
    /// A program is available.
    Available,
    /// A build is under way.
    Pending,
    /// The build failed.
    Failed(&'a str),
}

impl BuildState {
    /// Whether a build may still provide another program.
    pub(super) fn is_under_way(&self) -> bool {
        match self {
            Self::Pending { .. } | Self::Linked { .. } => true,
            Self::Unneeded | Self::Accepted | Self::Failed { .. } => false,
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
    pub(super) fn linked(&mut self, service: &Name, path: String, effects: &mut Vec<Effect>) {
        let Some(id) = self.buildable(service, "`linked`", effects) else { return };
        let node = &mut self.nodes[id];
        let serving = match node.build.state {
            BuildState::Pending { serving }
            | BuildState::Linked { serving }
            | BuildState::Failed { serving, .. } => serving,
            BuildState::Unneeded | BuildState::Accepted => node.is_running(),
        };
        node.build.state = BuildState::Linked { serving };
        node.build.linked = Some(path.clone());
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
        let old = node.build.accepted.replace(artifact);
        let new = old.map(|old| old.content) != node.build.accepted.as_ref().map(|a| a.content);
        node.build.state = BuildState::Accepted;
        if node.is_running() || node.has_succeeded() {
            node.lifecycle.request_check(true);
        }
        // A new program gets new tries: the failures of the old one do not count.
        match node.phase() {
            Phase::Rest(Rest::Failed { failure, .. }) if new || *failure == Failure::Build => {
                node.retries.reset();
                node.lifecycle.retry();
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

    /// Programs that the driver is copying are not lost: it still reports each of them.
    pub(super) fn build_ended(&mut self, ok: bool) {
        let message = if ok {
            "cargo ended without linking its program"
        } else {
            "its program could not be built"
        };
        for id in 0..self.nodes.len() {
            if let BuildState::Pending { .. } = self.nodes[id].build.state {
                self.fail_build(id, message);
            }
        }
    }

    fn fail_build(&mut self, id: Id, message: &str) {
        let node = &mut self.nodes[id];
        let serving = match node.build.state {
            BuildState::Pending { serving }
            | BuildState::Linked { serving }
            | BuildState::Failed { serving, .. } => serving,
            // Another build of the same program succeeded.
            BuildState::Accepted => true,
            BuildState::Unneeded => false,
        };
        node.build.state = BuildState::Failed { serving, message: message.to_string() };
        node.lifecycle.clear_check();
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
