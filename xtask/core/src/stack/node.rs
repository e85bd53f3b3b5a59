//! What the reducer knows of one service, desired state apart from actual state.
//!
//! Nothing is decided here.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::build::{Build, ProgramState};
use super::edges::Edges;
use super::event::{ExitClue, Fault, Run};
use super::handover::Handover;
use super::phase::{Check, NextCheck, Phase, Ready, Rest, RunOrigin, Stage, Starting, Stopping};
use super::ports::{PortState, Ports};
use super::transitions::Lifecycle;
use crate::plan::{Program, Service};
use crate::snapshot;
use crate::terms::Kind;

/// The index of a service in the stack's list; never reused.
pub(crate) type Id = usize;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The service as the last plan describes it.
    pub(crate) spec: Service,
    /// Whether it should run.
    pub(crate) wanted: bool,
    /// Why its run has to end, if the user did not ask for that in words.
    pub(crate) due_reason: Option<String>,
    /// Whether it is a job with `once` whose work the data folder has.
    pub(crate) done: Done,
    /// Whether a service that it restarts with asked for its next run.
    pub(crate) follows: bool,
    /// The number of the last plan that names it.
    pub(crate) last_plan: u64,
    /// The number of the named `up` that moves its address. Only services of that plan follow.
    pub(crate) moves_with: Option<u64>,
    /// When a service starts that is ready to start but delayed by `--slow`.
    pub(crate) delayed_until: Option<Duration>,
    pub(crate) build: Build,
    pub(crate) ports: Ports,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) contexts: Contexts,
    /// The service as it was when its last run began.
    pub(crate) started_as: Option<Box<Service>>,
    pub(crate) retries: Retries,
    /// What the last run has shown of itself.
    pub(crate) observed: Observed,
    /// Why the driver drops lines of its log, while it does.
    pub(crate) log_trouble: Option<String>,
    pub(crate) edges: Edges,
    pub(crate) handover: Handover,
    pub(crate) indexed: Indexed,
}

/// What the stack's indexes hold about a service.
#[derive(Clone, Debug)]
pub(crate) struct Indexed {
    /// The state that its neighbours last saw.
    pub(crate) visible: Option<VisibleState>,
    /// Its deadline in the stack's list of deadlines.
    pub(crate) deadline: Option<Duration>,
    pub(crate) queued: bool,
    /// The phase that was last reported.
    pub(crate) phase: snapshot::Phase,
}

/// Everything about a service that its neighbours can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VisibleState {
    phase: snapshot::Phase,
    run: Run,
    started: bool,
    due: bool,
    wanted: bool,
    building: bool,
    unsettled: bool,
    pub(crate) holds_dependencies: bool,
    ports: PortState,
    numbers: Vec<u16>,
    reason: Option<String>,
    /// Whether its run continues because a new one cannot have its ports.
    refused: bool,
}

impl Node {
    /// A service without a run.
    pub(crate) fn new(spec: Service) -> Self {
        Self {
            spec,
            wanted: false,
            due_reason: None,
            done: Done::No,
            follows: false,
            last_plan: 0,
            moves_with: None,
            delayed_until: None,
            build: Build::default(),
            ports: Ports::default(),
            lifecycle: Lifecycle::default(),
            contexts: Contexts::default(),
            started_as: None,
            retries: Retries::default(),
            observed: Observed::default(),
            log_trouble: None,
            edges: Edges::default(),
            handover: Handover::default(),
            indexed: Indexed {
                visible: None,
                deadline: None,
                queued: false,
                phase: snapshot::Phase::Stopped,
            },
        }
    }

    /// The context of its next run.
    pub(crate) fn next_context(&self) -> u64 {
        self.contexts.requested.unwrap_or(self.contexts.current)
    }

    pub(crate) fn phase(&self) -> &Phase {
        self.lifecycle.phase()
    }

    /// The number of the last run, 0 before the first.
    pub(crate) fn run(&self) -> Run {
        self.lifecycle.run()
    }

    /// Whether xtask only probes it.
    pub(crate) fn is_external(&self) -> bool {
        matches!(self.spec.program, Program::External)
    }

    /// The numbers that the plan fixes; none unless it fixes all.
    pub(crate) fn fixed_numbers(&self) -> Option<Vec<u16>> {
        self.spec.ports.iter().map(|port| port.number).collect()
    }

    /// Whether it is done for this data folder, so that no new run is due. Only a request runs it.
    pub(crate) fn is_done(&self) -> bool {
        let skipped = self.spec.once && self.is_job() && self.spec.ports.is_empty();
        skipped && self.done != Done::No
    }

    pub(crate) fn is_job(&self) -> bool {
        self.spec.kind == Kind::Job
    }

    /// Whether its last run was started as a job. The plan may have changed since.
    pub(crate) fn runs_a_job(&self) -> bool {
        self.lifecycle.launched().is_some_and(|launched| launched.kind == Kind::Job)
    }

    /// Whether there is a run that is not stopping.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.phase(), Phase::Starting(_) | Phase::Ready(_))
    }

    pub(crate) fn starting(&self) -> Option<&Starting> {
        if let Phase::Starting(starting) = self.phase() { Some(starting) } else { None }
    }

    pub(crate) fn stopping(&self) -> Option<&Stopping> {
        if let Phase::Stopping(stopping) = self.phase() { Some(stopping) } else { None }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.phase(), Phase::Ready(_))
    }

    /// How its run began, if there is one.
    pub(crate) fn origin(&self) -> Option<RunOrigin> {
        let launched = self.lifecycle.launched().map(|launched| launched.origin);
        launched.filter(|_| !matches!(self.phase(), Phase::Rest(_)))
    }

    /// Whether there is, or may be, a process that xtask has to stop.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.origin(), Some(RunOrigin::Started | RunOrigin::Evicted))
    }

    /// Whether its run has a process, started here or not.
    pub(crate) fn has_process(&self) -> bool {
        self.is_alive() || self.is_adopted()
    }

    /// Whether its run is an adopted process, which gets no signal.
    pub(crate) fn is_adopted(&self) -> bool {
        self.origin() == Some(RunOrigin::Adopted)
    }

    /// Whether its run has to end. In a handover it serves until a candidate is ready.
    pub(crate) fn is_due(&self) -> bool {
        !self.wanted || (self.lifecycle.replaces() && !self.hands_over())
    }

    /// Whether its run is ending or has to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.stopping().is_some() || (self.is_running() && self.is_due())
    }

    /// Whether its dependencies must stay up.
    pub(crate) fn holds_dependencies(&self) -> bool {
        self.is_alive() && !self.is_lost()
    }

    /// Whether its processes survived SIGKILL.
    pub(crate) fn is_lost(&self) -> bool {
        self.stopping().is_some_and(|stopping| stopping.stage == Stage::Lost)
    }

    /// Whether its run did the work of a job, even if processes that it left still run.
    pub(crate) fn has_succeeded(&self) -> bool {
        match self.phase() {
            Phase::Rest(rest) => *rest == Rest::Succeeded,
            Phase::Stopping(stopping) => stopping.then == Rest::Succeeded && !self.is_due(),
            Phase::Starting(_) | Phase::Ready(_) => false,
        }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        match self.phase() {
            Phase::Rest(_) => None,
            Phase::Starting(starting) => starting.pid,
            Phase::Ready(ready) => ready.pid,
            Phase::Stopping(stopping) => stopping.pid,
        }
    }

    /// Whether its process is known to run.
    pub(crate) fn is_started(&self) -> bool {
        self.is_ready() || self.starting().is_some_and(|starting| starting.pid.is_some())
    }

    /// Whether a build is under way that may replace its program.
    pub(crate) fn is_building(&self) -> bool {
        self.build.state.is_under_way()
    }

    /// Whether its run did the work of a job. A later request is compared with that run once the
    /// processes that it left are gone, which never happens if they survive SIGKILL.
    pub(crate) fn has_done_its_work(&self) -> bool {
        self.has_succeeded() && !(self.is_lost() && self.may_be_outdated())
    }

    /// Whether its run may differ from what is wanted.
    pub(crate) fn may_be_outdated(&self) -> bool {
        let check =
            matches!(self.lifecycle.check(), Check::Silent | Check::Announced | Check::Restart);
        self.is_building() || check || self.lifecycle.replaces()
    }

    pub(crate) fn program(&self) -> ProgramState<'_> {
        self.build.state.program()
    }

    /// Sets whether the accepted program may start while a newer one is being built.
    pub(crate) fn set_serving(&mut self, value: bool) {
        self.build.state.set_serving(value && self.build.accepted.is_some());
    }

    /// The phase as views show it.
    pub(crate) fn public_phase(&self) -> snapshot::Phase {
        match self.phase() {
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
            Phase::Ready(_) if self.is_unhealthy() => snapshot::Phase::Unhealthy,
            Phase::Ready(_) => snapshot::Phase::Ready,
            Phase::Stopping(_) if self.has_done_its_work() => snapshot::Phase::Succeeded,
            Phase::Stopping(_) if self.wanted && self.is_lost() => snapshot::Phase::Failed,
            Phase::Stopping(_) => snapshot::Phase::Stopping,
        }
    }

    /// When it needs attention. A run that is due to stop has no deadline: the deadlines of its
    /// dependents come first.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.phase() {
            Phase::Rest(Rest::Backoff { until, .. }) => Some(*until),
            Phase::Rest(Rest::Idle) => match self.ports.state {
                PortState::Closing { until, .. } => Some(until),
                _ => self.delayed_until,
            },
            Phase::Rest(Rest::Stopped { .. } | Rest::Succeeded | Rest::Failed { .. }) => None,
            Phase::Starting(_) | Phase::Ready(_) if self.is_due() => None,
            Phase::Starting(starting) => starting.deadline,
            Phase::Ready(Ready { watchdog, health, .. }) => {
                let check = if let NextCheck::At(at) = health.next { Some(at) } else { None };
                watchdog.iter().copied().chain(check).min()
            }
            Phase::Stopping(stopping) => stopping.stage.deadline(),
        }
    }

    pub(crate) fn visible_state(&self) -> VisibleState {
        VisibleState {
            phase: self.public_phase(),
            run: self.run(),
            started: self.is_started(),
            due: self.is_due(),
            wanted: self.wanted,
            building: self.is_building(),
            unsettled: self.may_be_outdated(),
            holds_dependencies: self.holds_dependencies(),
            ports: self.ports.state.clone(),
            numbers: self.ports.numbers.clone(),
            refused: self.ports.refusal.is_some(),
            reason: if let Phase::Rest(Rest::Failed { reason, .. }) = self.phase() {
                Some(reason.clone())
            } else {
                None
            },
        }
    }
}

/// Whether a job with `once` has done its work for the data folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Done {
    #[default]
    No,
    /// Before this stack ran it, as the plan reports.
    Before,
    /// By a run of this stack.
    Here,
}

/// The contexts of its runs: the variables and limits of the command that starts them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contexts {
    /// The context of the last run. A crash restarts the service in it.
    pub(crate) current: u64,
    /// The context of a command that names the service and has not started it yet. A run that the
    /// command leaves alone keeps its own.
    pub(crate) requested: Option<u64>,
}

/// Automatic restarts in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retries {
    /// When it was restarted, within the window that counts.
    pub(crate) again: Vec<Duration>,
    /// Whether a run of this series was ready.
    pub(crate) was_ready: bool,
    /// The number of automatic restarts since the stack began.
    pub(crate) restarts: u32,
}

impl Retries {
    /// A user request starts a new series.
    pub(crate) fn reset(&mut self) {
        self.again.clear();
        self.was_ready = false;
    }
}

/// What a run has shown of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// Whether it had a process.
    pub(crate) started: bool,
    /// From its start to ready.
    pub(crate) ready: Option<Duration>,
    /// From the start of the stack to ready.
    pub(crate) ready_at: Option<Duration>,
    /// What each probe last saw.
    pub(crate) seen: Vec<Option<String>>,
    /// Its last `STATUS=`.
    pub(crate) status: Option<String>,
    /// Where it listened at its `start-timeout`, if not on all of its ports.
    pub(crate) elsewhere: Vec<String>,
    /// What may explain its exit.
    pub(crate) clue: Option<ExitClue>,
    /// The fault that a test injected and did not revert.
    pub(crate) fault: Option<Fault>,
    /// Why its current settings cannot be rendered.
    pub(crate) outdated: Option<String>,
}
