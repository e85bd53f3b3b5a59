//! What the reducer knows of one service: what is wanted, what is built, which ports
//! it has, and what runs.
//!
//! Desired and actual state are kept apart here and nothing is decided: the other
//! files of this folder do that.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::edges::Edges;
pub(crate) use super::edges::{Edge, Id};
use super::event::{Artifact, Run};
pub(crate) use super::phase::{Launched, Origin, Phase, Ready, Rest, Stage, Starting, Stopping};
pub(crate) use super::program::{Build, ProgramState};
use super::tenancy::{Address, Bound};
use super::trail::{Series, Shown};
use crate::plan::{Program, Service};
use crate::snapshot;
use crate::terms::Kind;

/// One service.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The service as the last plan describes it.
    pub(crate) spec: Service,
    /// Whether it should run.
    pub(crate) wanted: bool,
    /// Whether what runs must end, so that a new run can take its place.
    pub(crate) replace: bool,
    /// How many processes of the same program may still be stopped to make room.
    pub(crate) evictions: u32,
    /// When it starts that could have, and that a test wants to be slow.
    pub(crate) held: Option<Duration>,
    /// Whether what runs must be compared with what is wanted.
    pub(crate) check: Check,
    /// Its program.
    pub(crate) build: Build,
    /// Where cargo put its program, once it did.
    pub(crate) linked: Option<String>,
    /// The program that is kept, once there is one.
    pub(crate) accepted: Option<Artifact>,
    /// Its ports.
    pub(crate) address: Address,
    /// What runs, and the deadline of that.
    pub(crate) phase: Phase,
    /// The number of the last run, 0 before the first.
    pub(crate) run: Run,
    /// What the last run was started as.
    pub(crate) launched: Option<Launched>,
    /// Ends and new starts without anybody asking for them.
    pub(crate) series: Series,
    /// What the run has shown of itself.
    pub(crate) shown: Shown,
    /// Why lines that it prints are dropped, while they are.
    pub(crate) log_trouble: Option<String>,
    /// Its place in the graph.
    pub(crate) edges: Edges,
    /// What its neighbours last heard of it.
    pub(crate) face: Option<Face>,
    /// Its deadline as it stands in the stack's index.
    pub(crate) indexed: Option<Duration>,
    /// Whether it stands in the worklist.
    pub(crate) queued: bool,
    /// The phase that was last reported.
    pub(crate) reported: snapshot::Phase,
}

/// Whether a comparison is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// No.
    Done,
    /// What is wanted cannot be said, since nobody knows an address that it names: what runs
    /// goes on, and is compared when it can be.
    Unsaid,
    /// An address that it was given has changed.
    Quiet,
    /// Somebody asked for it, and wants to hear that it runs already.
    Said,
}

/// All that the neighbours of a node can see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    phase: snapshot::Phase,
    run: Run,
    started: bool,
    due: bool,
    wanted: bool,
    building: bool,
    unsettled: bool,
    pub(crate) in_the_way: bool,
    bound: Bound,
    numbers: Vec<u16>,
    reason: Option<String>,
}

impl Node {
    /// A service that nothing has happened to.
    pub(crate) fn new(spec: Service) -> Self {
        Self {
            spec,
            wanted: false,
            replace: false,
            evictions: 0,
            held: None,
            check: Check::Done,
            build: Build::Unneeded,
            linked: None,
            accepted: None,
            address: Address::default(),
            phase: Phase::Rest(Rest::Idle),
            run: 0,
            launched: None,
            series: Series::default(),
            shown: Shown::default(),
            log_trouble: None,
            edges: Edges::default(),
            face: None,
            indexed: None,
            queued: false,
            reported: snapshot::Phase::Stopped,
        }
    }

    /// Whether it is only probed.
    pub(crate) fn is_external(&self) -> bool {
        match self.spec.program {
            Program::External => true,
            Program::Artifact { .. } | Program::Command { .. } | Program::Image { .. } => false,
        }
    }

    /// Whether it runs to completion.
    pub(crate) fn is_job(&self) -> bool {
        match self.spec.kind {
            Kind::Job => true,
            Kind::Service => false,
        }
    }

    /// Whether its last run was started as one that ends: by now the plan may say otherwise.
    pub(crate) fn runs_a_job(&self) -> bool {
        self.launched.as_ref().is_some_and(|launched| launched.kind == Kind::Job)
    }

    /// Whether there is a run that was not told to stop.
    pub(crate) fn is_running(&self) -> bool {
        match self.phase {
            Phase::Starting(_) | Phase::Ready(_) => true,
            Phase::Rest(_) | Phase::Stopping(_) => false,
        }
    }

    /// How its run came to be, if there is one.
    pub(crate) fn origin(&self) -> Option<Origin> {
        match self.phase {
            Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_) => {
                self.launched.as_ref().map(|launched| launched.origin)
            }
            Phase::Rest(_) => None,
        }
    }

    /// Whether there is, or may be, a process that is ours to end.
    pub(crate) fn is_alive(&self) -> bool {
        match self.origin() {
            Some(Origin::Started | Origin::Evicted) => true,
            Some(Origin::Adopted | Origin::Unmanaged) | None => false,
        }
    }

    /// Whether its run has a process, whoever started it.
    pub(crate) fn has_process(&self) -> bool {
        match self.origin() {
            Some(Origin::Started | Origin::Adopted | Origin::Evicted) => true,
            Some(Origin::Unmanaged) | None => false,
        }
    }

    /// Whether a process stands in its place that is to be left alone.
    pub(crate) fn is_adopted(&self) -> bool {
        match self.origin() {
            Some(Origin::Adopted) => true,
            Some(Origin::Started | Origin::Evicted | Origin::Unmanaged) | None => false,
        }
    }

    /// Whether what runs has to end.
    pub(crate) fn is_due(&self) -> bool {
        !self.wanted || self.replace
    }

    /// Whether what runs ends, or has to.
    pub(crate) fn is_ending(&self) -> bool {
        match &self.phase {
            Phase::Stopping(_) => true,
            Phase::Starting(_) | Phase::Ready(_) => self.is_due(),
            Phase::Rest(_) => false,
        }
    }

    /// Whether what it depends on has to go on for its sake.
    pub(crate) fn is_in_the_way(&self) -> bool {
        self.is_alive() && !self.is_lost()
    }

    /// Whether its run is beyond reach.
    pub(crate) fn is_lost(&self) -> bool {
        match &self.phase {
            Phase::Stopping(stopping) => stopping.stage == Stage::Lost,
            Phase::Rest(_) | Phase::Starting(_) | Phase::Ready(_) => false,
        }
    }

    /// Whether its run did the work of a job, even if something of it is left.
    pub(crate) fn has_succeeded(&self) -> bool {
        match &self.phase {
            Phase::Rest(rest) => *rest == Rest::Succeeded,
            Phase::Stopping(stopping) => stopping.then == Rest::Succeeded,
            Phase::Starting(_) | Phase::Ready(_) => false,
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.phase {
            Phase::Rest(_) => None,
            Phase::Starting(starting) => starting.pid,
            Phase::Ready(ready) => ready.pid,
            Phase::Stopping(stopping) => stopping.pid,
        }
    }

    /// Whether its process is known to run.
    pub(crate) fn is_started(&self) -> bool {
        match &self.phase {
            Phase::Starting(starting) => starting.pid.is_some(),
            Phase::Ready(_) => true,
            Phase::Rest(_) | Phase::Stopping(_) => false,
        }
    }

    /// Whether a build that may change it is under way.
    pub(crate) fn is_building(&self) -> bool {
        self.build.is_under_way()
    }

    /// Whether what runs may turn out to be not what is wanted.
    pub(crate) fn is_unsettled(&self) -> bool {
        let check = match self.check {
            Check::Quiet | Check::Said => true,
            Check::Done | Check::Unsaid => false,
        };
        self.is_building() || check || self.replace
    }

    /// Whether it could be started as far as its program is concerned.
    pub(crate) fn program(&self) -> ProgramState<'_> {
        self.build.state()
    }

    /// Says whether the accepted program may be started while its successor is missing.
    pub(crate) fn set_serving(&mut self, value: bool) {
        self.build.set_serving(value && self.accepted.is_some());
    }

    /// The phase as others see it.
    pub(crate) fn public_phase(&self) -> snapshot::Phase {
        match &self.phase {
            Phase::Rest(Rest::Idle) if !self.wanted => snapshot::Phase::Stopped,
            Phase::Rest(Rest::Idle) if self.program() == ProgramState::Pending => {
                snapshot::Phase::Building
            }
            Phase::Rest(Rest::Idle) => snapshot::Phase::Waiting,
            Phase::Rest(Rest::Backoff { .. }) => snapshot::Phase::Backoff,
            Phase::Rest(Rest::Stopped { .. }) => snapshot::Phase::Stopped,
            Phase::Rest(Rest::Succeeded) => snapshot::Phase::Succeeded,
            Phase::Rest(Rest::Failed { .. }) => snapshot::Phase::Failed,
            Phase::Starting(_) => snapshot::Phase::Starting,
            Phase::Ready(_) => snapshot::Phase::Ready,
            Phase::Stopping(_) if self.wanted && self.is_lost() => snapshot::Phase::Failed,
            Phase::Stopping(_) => snapshot::Phase::Stopping,
        }
    }

    /// When something has to be done about it. What is about to be stopped has none:
    /// its dependents' deadlines come first.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Rest(Rest::Backoff { until, .. }) => Some(*until),
            Phase::Rest(Rest::Idle) => self.held,
            Phase::Rest(Rest::Stopped { .. } | Rest::Succeeded | Rest::Failed { .. }) => None,
            Phase::Starting(_) | Phase::Ready(_) if self.is_due() => None,
            Phase::Starting(starting) => starting.deadline,
            Phase::Ready(ready) => ready.watchdog,
            Phase::Stopping(stopping) => match stopping.stage {
                Stage::Unborn { give_up } | Stage::Killed { give_up } => Some(give_up),
                Stage::Told { kill_at, .. } => Some(kill_at),
                Stage::Lost => None,
            },
        }
    }

    /// What its neighbours can see.
    pub(crate) fn present_face(&self) -> Face {
        Face {
            phase: self.public_phase(),
            run: self.run,
            started: self.is_started(),
            due: self.is_due(),
            wanted: self.wanted,
            building: self.is_building(),
            unsettled: self.is_unsettled(),
            in_the_way: self.is_in_the_way(),
            bound: self.address.bound.clone(),
            numbers: self.address.numbers.clone(),
            reason: match &self.phase {
                Phase::Rest(Rest::Failed { reason, .. }) => Some(reason.clone()),
                Phase::Rest(_) | Phase::Starting(_) | Phase::Ready(_) | Phase::Stopping(_) => None,
            },
        }
    }
}
