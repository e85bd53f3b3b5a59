//! A candidate starts beside a serving run, replaces it when it is ready, and changes nothing if it
//! fails.

use std::collections::BTreeSet;
use std::time::Duration;

use xtask_core::plan::{Probe, Program};
use xtask_core::snapshot::Phase;
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::{Command, Effect, Event, Report, Run, Signal, Stack};
use xtask_core::terms::{Kind, Name};

use super::service::{HealthHistory, Origin, Position, RunHistory, ServiceHistory};
use super::{History, Verdict, demand, take_down};

/// Whether a start is one of a candidate: its service has a run.
pub(super) fn is_candidate(service: &ServiceHistory) -> bool {
    service.run.as_ref().is_some_and(|run| run.origin != Origin::External && !run.is_over())
}

/// A candidate starts only beside a ready run with the same sockets, and beside no other run.
pub(super) fn check_start(history: &History, service: &ServiceHistory) -> Verdict {
    let name = &service.spec.name;
    demand!(service.wanted, "wanted", "a candidate of `{name}` starts and is not wanted");
    let other = service.beside.as_ref().map(|run| run.number);
    demand!(
        other.is_none(),
        "one candidate",
        "a candidate of `{name}` starts beside run {other:?}"
    );
    let serves = service.run.as_ref().is_some_and(|run| run.is_ready());
    demand!(serves, "one run", "`{name}` starts a second run beside one that is not ready");
    let eligible = service.run.as_ref().is_some_and(|run| shares_sockets(service, run));
    demand!(eligible, "one run", "`{name}` is handed over without sockets or `notify`");
    // A run whose stop was pending had a reason to stop, and serves until its dependents end.
    let due = service.run.as_ref().is_some_and(|run| run.stop_pending);
    let reason = due || take_down::must_restart(history, service, &mut BTreeSet::new());
    demand!(reason, "left alone", "`{name}` is handed over without a reason");
    Ok(())
}

/// Whether the next run can share the sockets of this one and reports that it is ready.
fn shares_sockets(service: &ServiceHistory, run: &RunHistory) -> bool {
    let spec = &service.spec;
    run.origin == Origin::Spawned
        && !run.job
        && !run.inherited.is_empty()
        && run.inherited == spec.ports
        && spec.kind == Kind::Service
        && spec.socket_activation
        && spec.probes.contains(&Probe::Notify)
}

/// The serving run gets no stop signal before its candidate is ready: then it is no longer the run
/// of its service.
pub(super) fn keeps_serving(now: Duration, service: &ServiceHistory, run: &RunHistory) -> Verdict {
    let name = &service.spec.name;
    let restarts_with = !service.restarts_with.is_empty();
    let lost = service.beside.as_ref().is_some_and(|beside| beside.is_lost(now));
    let must_serve = service.wanted
        && run.is_ready()
        && !service.must_restart_unhealthy(run)
        && !run.stop_pending
        && shares_sockets(service, run)
        && service.bound;
    demand!(
        !must_serve || restarts_with || lost,
        "keeps serving",
        "`{name}` run {} is stopped before its candidate is ready",
        run.number
    );
    Ok(())
}

/// A candidate is stopped if it is late or another one is wanted; a replaced run always.
pub(super) fn stop_reason(
    history: &History,
    now: Duration,
    service: &ServiceHistory,
    run: &RunHistory,
) -> Verdict {
    let is_candidate = service.run.as_ref().is_none_or(|serving| serving.number < run.number);
    let late = now >= run.start_deadline;
    // The plan may have taken away what a handover needs.
    let possible = service.run.as_ref().is_some_and(|serving| shares_sockets(service, serving));
    let has_reason = !is_candidate
        || !service.wanted
        || !possible
        || late
        || run.exit.is_some()
        || take_down::has_changed_since(history, service, run.position, &run.calls)
        || !run.restarts_with.is_empty();
    let (name, number) = (&service.spec.name, run.number);
    demand!(has_reason, "candidate", "candidate {number} of `{name}` is stopped without a reason");
    Ok(())
}

/// A candidate that fails changes nothing: the run of its service still serves, and no other run is
/// stopped because of it. `before` is the state before the event.
pub(super) fn failed(
    before: &History,
    stack: &Stack,
    event: &Event,
    effects: &[Effect],
) -> Verdict {
    let (Event::Exited { service: name, run: number, .. }
    | Event::StartFailed { service: name, run: number, .. }) = event
    else {
        return Ok(());
    };
    let Some(service) = before.services.get(name) else { return Ok(()) };
    let candidate = service.beside.as_ref().filter(|run| run.number == *number);
    let Some(serving) = service.run.as_ref().filter(|run| run.is_ready()) else { return Ok(()) };
    if !candidate.is_some_and(RunHistory::may_take_over) || !service.wanted {
        return Ok(());
    }
    let this = stack.service_snapshot(name).unwrap();
    let serves =
        this.run == serving.number && matches!(this.phase, Phase::Ready | Phase::Unhealthy);
    demand!(serves, "failed candidate", "`{name}` is {:?} in run {}", this.phase, this.run);
    let shown = this.candidate.is_some_and(|run| run.run == *number && run.phase == Phase::Failed);
    demand!(shown, "failed candidate", "`{name}` does not show that candidate {number} failed");
    for effect in effects {
        let stops = matches!(effect, Effect::Signal { service, run, .. }
            if service != name || run != number);
        demand!(!stops, "failed candidate", "candidate {number} of `{name}` failed: {effect:?}");
    }
    Ok(())
}

/// Long after a handover, the dependents that restart with the service run since then.
pub(super) fn followed(history: &History, service: &ServiceHistory) -> Verdict {
    let ours = service.run.as_ref().is_some_and(|run| run.origin == Origin::Spawned);
    if !ours || service.candidate_failed || service.is_job() {
        return Ok(());
    }
    for edge in service.spec.depends_on.iter().filter(|edge| edge.restart) {
        let replaced = history.services[&edge.on].last.handed_over;
        // A later plan may have added the edge.
        let follows = service.last.started > replaced || service.last.applied > replaced;
        let (name, on) = (&service.spec.name, &edge.on);
        demand!(follows, "restart edges", "`{on}` was handed over, and `{name}` runs since before");
    }
    Ok(())
}

/// What is reported about candidates is true.
pub(super) fn reported(history: &History, effect: &Effect) -> Verdict {
    let Effect::Report(Report::Candidate { service: name, run, phase, .. }) = effect else {
        return Ok(());
    };
    let service = &history.services[name];
    if *phase == Phase::Ready {
        let serves =
            service.run.as_ref().is_some_and(|this| this.number == *run && this.is_ready());
        demand!(serves, "candidate", "candidate {run} of `{name}` is reported as ready");
        let content = service.run.as_ref().and_then(|run| run.content);
        let accepted = service.accepted.as_ref().map(|accepted| accepted.1);
        // What replaces the candidate may not be known yet.
        let unknown =
            service.build_pending || history.awaits_address(service, service.last.requested);
        let newest = unknown || content == accepted;
        demand!(newest, "candidate", "candidate {run} of `{name}` takes over with an old program");
    }
    Ok(())
}

/// An event of the run beside the run of a service.
pub(super) fn event_beside(service: &mut ServiceHistory, now: Duration, event: &Event) {
    let Some(run) = service.beside.as_mut() else { return };
    match event {
        Event::Started { .. } => (run.started, run.last_ping) = (true, Some(now)),
        Event::StartFailed { .. } | Event::PortsLost { .. } => {
            let (failed, context) = (run.may_take_over(), run.context);
            service.beside = None;
            if failed {
                service.fail_candidate(context);
            }
        }
        Event::ProbePassed { probe, .. } if run.pending_probes.remove(probe) => {
            run.last_ping = Some(now);
        }
        Event::ExtendTimeout { by, .. } => {
            run.start_deadline = now + *by;
            run.stop_deadline = run.stop_deadline.map(|_| now + *by);
        }
        Event::WatchdogPing { .. } => run.last_ping = Some(now),
        Event::Exited { exit, .. } => {
            let (failed, context) = (run.may_take_over(), run.context);
            run.exit = Some(*exit);
            if failed {
                service.fail_candidate(context);
            }
        }
        Event::Gone { .. } => service.beside = None,
        _ => {}
    }
}

/// Whether the present event asks for another run than this candidate. Then the candidate does not
/// fail, even if it is late.
pub(super) fn is_superseded(history: &History, name: &Name, number: Run) -> bool {
    let Some(service) = history.services.get(name) else { return false };
    let candidate = service.beside.as_ref().filter(|run| run.number == number);
    let before = history.event_position - 1;
    candidate.is_some_and(|run| take_down::has_changed_since(history, service, before, &run.calls))
}

/// A signal for the run beside the run of a service.
pub(super) fn signal_beside(
    service: &mut ServiceHistory,
    now: Duration,
    signal: &Signal,
    superseded: bool,
) {
    let timeout = service.spec.stop.timeout;
    let Some(run) = service.beside.as_mut() else { return };
    match signal {
        Signal::Stop(_) => {
            // A start that was cancelled at its timeout has failed then.
            if !run.cancelled && !superseded {
                let number = run.number;
                service.note_late_candidate(now, number);
            }
            let Some(run) = service.beside.as_mut() else { return };
            run.stop_requested_at = run.stop_requested_at.or(Some(now));
            run.stop_deadline = Some(now + timeout);
        }
        Signal::Kill => run.kill_sent_at = run.kill_sent_at.or(Some(now)),
        Signal::Pause | Signal::Resume => {}
    }
}

impl RunHistory {
    /// A run that is requested now.
    pub(super) fn new(
        service: &ServiceHistory,
        now: Duration,
        position: Position,
        number: Run,
        origin: Origin,
        probes: &[PreparedProbe],
        command: &Command,
    ) -> Self {
        let inherits = origin == Origin::Spawned && !command.sockets.is_empty();
        // Only a process that the system hides is probed without being `external`.
        let adopted = origin != Origin::Spawned && service.spec.program != Program::External;
        Self {
            number,
            origin,
            job: service.is_job(),
            args: command.args.clone(),
            env: command.env.clone(),
            ports: service.spec.ports.clone(),
            numbers: service.present_numbers().unwrap_or_default(),
            inherited: if inherits { service.spec.ports.clone() } else { Vec::new() },
            adopted_ports: if adopted { service.spec.ports.clone() } else { Vec::new() },
            context: command.context,
            position,
            calls: BTreeSet::new(),
            restarts_with: BTreeSet::new(),
            content: service.accepted.as_ref().map(|accepted| accepted.1),
            requested_at: now,
            started: origin == Origin::External,
            pending_probes: probes.iter().map(|probe| probe.index).collect(),
            start_deadline: now + service.spec.start_timeout,
            cancelled: false,
            stop_pending: false,
            stop_requested_at: None,
            stop_deadline: None,
            kill_sent_at: None,
            exit: None,
            ended_by_itself: false,
            last_ping: None,
            fault: None,
            health: HealthHistory::default(),
        }
    }

    /// Whether it can still replace the run of its service.
    pub(super) fn may_take_over(&self) -> bool {
        self.is_unstopped() && !self.cancelled
    }
}

impl ServiceHistory {
    /// A candidate starts.
    pub(super) fn start_beside(
        &mut self,
        now: Duration,
        position: Position,
        run: Run,
        probes: &[PreparedProbe],
        command: &Command,
    ) {
        (self.last_run, self.candidate_failed) = (run, false);
        self.contexts.candidate_starts_in(command.context);
        let mut candidate =
            RunHistory::new(self, now, position, run, Origin::Spawned, probes, command);
        candidate.calls = self.spec.edges().cloned().collect();
        let restart = self.spec.depends_on.iter().filter(|edge| edge.restart);
        candidate.restarts_with = restart.map(|edge| edge.on.clone()).collect();
        self.beside = Some(candidate);
    }

    /// The candidate replaces the run once it is ready, or when that run has exited.
    pub(super) fn hand_over(&mut self, now: Duration, position: Position) {
        let ready = self.beside.as_ref().is_some_and(RunHistory::is_ready);
        let exited = self.run.as_ref().is_some_and(|run| run.exit.is_some());
        if ready || (exited && !self.has_late_candidate(now)) {
            self.take_over(position);
        }
    }

    /// Whether the start timeout of its candidate has passed, so that it has failed.
    pub(super) fn has_late_candidate(&self, now: Duration) -> bool {
        self.beside.as_ref().is_some_and(|candidate| now >= candidate.start_deadline)
    }

    /// The candidate becomes the run of the service, if there is one and it is still wanted.
    pub(super) fn take_over(&mut self, now: Position) {
        let newer = |candidate: &&RunHistory| {
            candidate.may_take_over()
                && self.run.as_ref().is_some_and(|run| run.number < candidate.number)
        };
        let Some(candidate) = self.beside.as_ref().filter(newer).filter(|_| self.wanted) else {
            return;
        };
        let (position, context) = (candidate.position, candidate.context);
        self.calls = candidate.calls.clone();
        self.restarts_with = candidate.restarts_with.clone();
        std::mem::swap(&mut self.run, &mut self.beside);
        (self.last.started, self.last.handed_over) = (position, now);
        (self.crash, self.succeeded) = (None, false);
        self.keeps_ports = false;
        self.replace_requested = false;
        self.unaware_of.retain(|_, until| *until > position);
        self.contexts.candidate_takes_over(context);
    }

    /// The candidate failed. If the run of its service ends as well, the service stops and starts
    /// instead, in the context of the request.
    pub(super) fn fail_candidate(&mut self, context: u64) {
        self.candidate_failed = true;
        if self.run.as_ref().is_some_and(RunHistory::is_unstopped) {
            self.contexts.candidate_failed(context);
        }
    }

    /// A candidate cannot start.
    pub(super) fn prevent_candidate(&mut self) {
        self.candidate_failed = true;
        self.contexts.candidate_is_prevented();
    }

    /// A candidate that is stopped at the end of its start timeout has failed.
    pub(super) fn note_late_candidate(&mut self, now: Duration, number: Run) {
        let late = |run: &RunHistory| run.number == number && now >= run.start_deadline;
        let newer = self.run.as_ref().is_some_and(|run| run.number < number);
        let late = self.beside.as_ref().filter(|run| late(run)).map(|run| run.context);
        if let Some(context) = late.filter(|_| newer && self.wanted) {
            self.fail_candidate(context);
        }
    }
}
