//! What the history records of one service and of its present run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xtask_core::plan::{Port, Program, Service};
use xtask_core::snapshot::Phase;
use xtask_core::stack::event::InspectedHolder;
use xtask_core::stack::{Exit, Fault, Run};
use xtask_core::terms::{Kind, Name};

use super::bring_up::declared_numbers;
use super::contexts::Contexts;

/// A process counts as lost this long after SIGKILL, or after a start without an answer.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(5);

/// The position of an event or effect in the history; 0 for never.
pub(crate) type Position = u64;

pub(crate) struct ServiceHistory {
    pub(crate) spec: Service,
    /// Services whose address its specs used since its last start.
    pub(crate) calls: BTreeSet<Name>,
    /// Services on which its specs had a restart edge since its last start.
    pub(crate) restarts_with: BTreeSet<Name>,
    pub(crate) wanted: bool,
    /// The phase that was last reported.
    pub(crate) phase: Phase,
    /// The path and the content of the accepted program.
    pub(crate) accepted: Option<(String, u64)>,
    /// Whether no program was accepted since the last plan.
    pub(crate) build_pending: bool,
    /// Whether its build, or keeping the program, failed since the last plan.
    pub(crate) build_failed: bool,
    /// Whether it was wanted and had a run when the last plan was applied.
    pub(crate) ran_at_apply: bool,
    pub(crate) bound: bool,
    /// The ports that were last bound, and their numbers.
    pub(crate) last_bound: Option<(Vec<Port>, Vec<u16>)>,
    /// The numbers of its last sockets, or of its last run if the stack did not bind its ports.
    pub(crate) announced: Option<Vec<u16>>,
    /// Whether the last `Bind` failed.
    pub(crate) bind_failed: bool,
    /// The ports of an unanswered `Bind`.
    pub(crate) binding: Option<Vec<Port>>,
    /// Whether a `CheckPorts` is unanswered.
    pub(crate) checking_ports: bool,
    /// Whether its run keeps its previous ports since the last request.
    pub(crate) keeps_ports: bool,
    /// The ports that the last `CheckPorts` found held, until the next request.
    pub(crate) refused_ports: Vec<u16>,
    /// Whether an `InspectHolder` is unanswered.
    pub(crate) inspecting: bool,
    /// The port holder of the last inspection.
    pub(crate) holder: Option<InspectedHolder>,
    /// Whether the last request was to replace port holders, and no run started since.
    pub(crate) replace_requested: bool,
    pub(crate) run: Option<RunHistory>,
    /// The run beside it: a candidate, or a run that was replaced.
    pub(crate) beside: Option<RunHistory>,
    /// Whether its last candidate failed, and nothing was requested since.
    pub(crate) candidate_failed: bool,
    /// The number of the last run, 0 before the first.
    pub(crate) last_run: Run,
    /// How the last run ended, if by itself.
    pub(crate) crash: Option<Crash>,
    /// Whether the last run was a job that exited with 0 by itself.
    pub(crate) succeeded: bool,
    /// Whether the data folder records it as done, and no new run was requested since.
    pub(crate) done: bool,
    /// The starts after a crash.
    pub(crate) crash_restarts: Vec<(Duration, Position)>,
    pub(crate) contexts: Contexts,
    /// Services that a named `up` without this one moved, each with the position up to which the
    /// move is none of its business.
    pub(crate) unaware_of: BTreeMap<Name, Position>,
    /// Services that a named `up` without this one moved while this one waited for its build. It
    /// follows if they have the new address before its run is compared, which happens once.
    pub(crate) moved_while_built: BTreeSet<Name>,
    pub(crate) last: Last,
}

/// When things last happened to a service.
#[derive(Default)]
pub(crate) struct Last {
    pub(crate) applied: Position,
    pub(crate) restart_requested: Position,
    /// A plan, a restart or a new program.
    pub(crate) requested: Position,
    /// A request for a new run, an edit or a new program.
    pub(crate) changed: Position,
    pub(crate) address_changed: Position,
    /// The answer to a `Bind`.
    pub(crate) bind_answered: Position,
    pub(crate) crashed: Position,
    /// A candidate replaced its run.
    pub(crate) handed_over: Position,
    pub(crate) started: Position,
}

/// The end of a run that nothing stopped.
pub(crate) struct Crash {
    pub(crate) at: Duration,
    /// Whether a test had injected a fault.
    pub(crate) injected: bool,
}

/// What started the process of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Spawned,
    /// Unknown: the service is `external`.
    External,
    /// Another program. The stack sends it no signal.
    Adopted,
    /// Another program. The stack stops it, as a request demands.
    Evicted,
}

/// A run, from its first effect until its process group is empty.
pub(crate) struct RunHistory {
    pub(crate) number: Run,
    pub(crate) origin: Origin,
    pub(crate) job: bool,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// The ports of its plan, and their numbers.
    pub(crate) ports: Vec<Port>,
    pub(crate) numbers: Vec<u16>,
    /// The ports of its plan, if it inherited their sockets.
    pub(crate) inherited: Vec<Port>,
    /// The ports of its plan, if another program has them for the service.
    pub(crate) adopted_ports: Vec<Port>,
    pub(crate) context: u64,
    /// When it was requested.
    pub(crate) position: Position,
    /// What its service called, and restarted with, since it was requested.
    pub(crate) calls: BTreeSet<Name>,
    pub(crate) restarts_with: BTreeSet<Name>,
    pub(crate) content: Option<u64>,
    pub(crate) requested_at: Duration,
    pub(crate) started: bool,
    /// The probes that have not passed.
    pub(crate) pending_probes: BTreeSet<usize>,
    /// The end of its start timeout, with extensions.
    pub(crate) start_deadline: Duration,
    pub(crate) cancelled: bool,
    /// Whether it was reported as stopping before its process started.
    pub(crate) stop_pending: bool,
    pub(crate) stop_requested_at: Option<Duration>,
    /// The end of its stop timeout, with extensions.
    pub(crate) stop_deadline: Option<Duration>,
    pub(crate) kill_sent_at: Option<Duration>,
    pub(crate) exit: Option<Exit>,
    /// Whether it exited before the stack signalled it.
    pub(crate) ended_by_itself: bool,
    pub(crate) last_ping: Option<Duration>,
    /// The fault that a test injected.
    pub(crate) fault: Option<Fault>,
    pub(crate) health: HealthHistory,
}

/// The health checks of a run.
#[derive(Default)]
pub(crate) struct HealthHistory {
    /// Whether a check is not answered yet.
    pub(crate) checking: bool,
    pub(crate) answered_at: Option<Duration>,
    /// How many checks there were.
    pub(crate) checks: u32,
    /// How many checks in a row failed.
    pub(crate) failures: u32,
}

impl HealthHistory {
    /// Whether the last three checks failed.
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.failures >= 3
    }
}

impl RunHistory {
    pub(crate) fn is_ready(&self) -> bool {
        self.is_running() && self.pending_probes.is_empty()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.started && self.is_unstopped()
    }

    /// Whether it has not exited, and the stack has not stopped it. It may not have started.
    pub(crate) fn is_unstopped(&self) -> bool {
        self.exit.is_none() && self.stop_requested_at.is_none() && self.kill_sent_at.is_none()
    }

    /// Whether it exited and was adopted, so that the stack does not wait for its group.
    pub(crate) fn is_over(&self) -> bool {
        self.origin == Origin::Adopted && self.exit.is_some()
    }

    /// Whether the stack stops its process.
    pub(crate) fn is_managed(&self) -> bool {
        matches!(self.origin, Origin::Spawned | Origin::Evicted)
    }

    pub(crate) fn is_lost(&self, now: Duration) -> bool {
        let start = (!self.started).then_some(self.requested_at);
        [self.kill_sent_at, start].iter().flatten().any(|at| now >= *at + LOST_AFTER)
    }
}

impl ServiceHistory {
    pub(super) fn new(spec: Service) -> Self {
        Self {
            spec,
            calls: BTreeSet::new(),
            restarts_with: BTreeSet::new(),
            wanted: false,
            phase: Phase::Stopped,
            accepted: None,
            build_pending: false,
            build_failed: false,
            ran_at_apply: false,
            bound: false,
            last_bound: None,
            announced: None,
            bind_failed: false,
            binding: None,
            checking_ports: false,
            keeps_ports: false,
            refused_ports: Vec::new(),
            inspecting: false,
            holder: None,
            replace_requested: false,
            run: None,
            beside: None,
            candidate_failed: false,
            last_run: 0,
            crash: None,
            succeeded: false,
            done: false,
            crash_restarts: Vec::new(),
            contexts: Contexts::default(),
            unaware_of: BTreeMap::new(),
            moved_while_built: BTreeSet::new(),
            last: Last::default(),
        }
    }

    pub(super) fn add_edges(&mut self) {
        self.calls.extend(self.spec.edges().cloned());
        let restart = self.spec.depends_on.iter().filter(|edge| edge.restart);
        self.restarts_with.extend(restart.map(|edge| edge.on.clone()));
        if let Some(beside) = &mut self.beside {
            beside.calls.extend(self.calls.iter().cloned());
            beside.restarts_with.extend(self.restarts_with.iter().cloned());
        }
    }

    pub(crate) fn is_job(&self) -> bool {
        self.spec.kind == Kind::Job
    }

    /// Whether it has no run. That of an `external` service ends without an effect.
    pub(crate) fn is_at_rest(&self) -> bool {
        let probed = matches!(self.phase, Phase::Starting | Phase::Ready | Phase::Unhealthy);
        self.run.as_ref().is_none_or(|run| run.origin == Origin::External && !probed)
    }

    /// A job that is done for its data folder has succeeded once nothing runs. `ends` is whether
    /// the run of a service that was `external` ends, which has no effect.
    pub(crate) fn skip(&mut self, ends: bool) {
        let probed = |run: &RunHistory| ends && run.origin == Origin::External;
        let rests = self.is_at_rest() || self.run.as_ref().is_some_and(probed);
        self.succeeded |= self.is_skipped() && rests;
    }

    /// Whether it is a job that is done for its data folder, so that it is not started.
    pub(crate) fn is_skipped(&self) -> bool {
        self.done && self.spec.once && self.is_job() && self.spec.ports.is_empty()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.wanted && self.run.as_ref().is_some_and(RunHistory::is_ready)
    }

    /// Whether its metadata asks for the restart of its unhealthy run.
    pub(crate) fn must_restart_unhealthy(&self, run: &RunHistory) -> bool {
        run.health.is_unhealthy() && self.spec.health.as_ref().is_some_and(|health| health.restart)
    }

    pub(crate) fn depends_on(&self, name: &Name) -> bool {
        self.spec.depends_on.iter().any(|edge| edge.on == *name)
    }

    pub(crate) fn has_restart_edge_on(&self, name: &Name) -> bool {
        self.spec.depends_on.iter().any(|edge| edge.on == *name && edge.restart)
    }

    /// The numbers that were last bound for the ports of the plan.
    pub(crate) fn numbers(&self) -> Option<&Vec<u16>> {
        self.last_bound.as_ref().filter(|_| !self.has_other_ports()).map(|(_, numbers)| numbers)
    }

    /// As [`Self::numbers`], or those that the plan fixes.
    pub(crate) fn present_numbers(&self) -> Option<Vec<u16>> {
        self.numbers().cloned().or_else(|| declared_numbers(self))
    }

    /// Its run, if the stack did not bind its ports: it is adopted, or began when the service was
    /// `external`. Callers get its address until it ends or is taken down.
    pub(crate) fn foreign_run(&self) -> Option<&RunHistory> {
        let external = self.spec.program == Program::External;
        let run = self.run.as_ref().filter(|_| self.wanted && !external && !self.is_at_rest())?;
        let foreign = matches!(run.origin, Origin::External | Origin::Adopted) && !run.is_over();
        (foreign && run.numbers.len() == self.spec.ports.len()).then_some(run)
    }

    /// Whether other ports than those of the plan were last bound.
    pub(crate) fn has_other_ports(&self) -> bool {
        self.last_bound.as_ref().is_some_and(|(ports, _)| *ports != self.spec.ports)
    }

    /// A user takes it down. Instead of the address of a foreign run, callers get that of the plan.
    pub(super) fn unwant(&mut self, position: Position) {
        if self.foreign_run().is_some() {
            self.last.address_changed = position;
        }
        (self.wanted, self.replace_requested) = (false, false);
    }

    pub(super) fn forget_refusal(&mut self) {
        self.keeps_ports = false;
        self.refused_ports.clear();
    }

    /// Whether its sockets or its adopted process have this number, or are being bound to it.
    pub(crate) fn occupies(&self, number: u16) -> bool {
        let bound = self.last_bound.as_ref().filter(|_| self.bound);
        let binding = self.binding.iter().flatten();
        let is_external = self.spec.program == Program::External;
        let adopted = self.run.iter().filter(|run| !is_external && run.exit.is_none());
        let declared = adopted.flat_map(|run| &run.adopted_ports);
        bound.is_some_and(|(_, numbers)| numbers.contains(&number))
            || binding.chain(declared).any(|port| port.number == Some(number))
    }

    /// Whether this service was moved since `since` in a way that concerns `caller`.
    pub(crate) fn moved_for(&self, caller: &Self, since: Position) -> bool {
        let unaware = caller.unaware_of.get(&self.spec.name).copied().unwrap_or_default();
        self.last.address_changed > since.max(unaware)
    }

    /// The end of the last run, if the next start is one that nothing requested.
    pub(crate) fn crash_without_request(&self) -> Option<&Crash> {
        let requested = self.last.requested > self.last.started;
        self.crash.as_ref().filter(|crash| !crash.injected && !requested)
    }

    /// The run that others may have to wait for: a process that the stack can stop.
    pub(crate) fn process(&self, now: Duration) -> Option<&RunHistory> {
        self.run.as_ref().filter(|run| run.is_managed() && !run.is_lost(now))
    }

    /// As [`Self::process`], for both runs.
    pub(crate) fn processes(&self, now: Duration) -> impl Iterator<Item = &RunHistory> {
        let runs = self.run.iter().chain(&self.beside);
        runs.filter(move |run| run.is_managed() && !run.is_lost(now))
    }

    /// Its present run of that number.
    pub(crate) fn numbered(&self, number: Run) -> Option<&RunHistory> {
        self.run.iter().chain(&self.beside).find(|run| run.number == number)
    }

    /// Whether its process does not react to the stack.
    pub(crate) fn is_lost(&self, now: Duration) -> bool {
        self.run.as_ref().is_some_and(|run| run.is_managed() && run.is_lost(now))
    }
}
