//! What happened to a stack, recorded from its events and effects.
//!
//! It decides nothing. Each checker has its own rules over these facts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xtask_core::plan::{Program, Service};
use xtask_core::snapshot::Phase;
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::event::InspectionResult;
use xtask_core::stack::{BindFailure, Command, Effect, Event, Fault, Report, Run, Signal};
use xtask_core::terms::Name;

use super::adoption::origin;
use super::handover;
use super::run_event::run_event;
use super::service::{HealthHistory, Origin, Position, RunHistory, ServiceHistory};

#[derive(Default)]
pub(crate) struct History {
    pub(crate) services: BTreeMap<Name, ServiceHistory>,
    pub(crate) shutdown: bool,
    pub(crate) kill_now: bool,
    /// How many `End` effects there were.
    pub(crate) ends: usize,
    /// The deadline of the stack after the last event.
    pub(crate) deadline: Option<Duration>,
    /// The fault that the present event injects, until the stack sends its signal.
    pending_fault: Option<(Name, Fault)>,
    /// The services without a serving run after the present event. Phases are reported last.
    pub(super) without_run: BTreeSet<Name>,
    /// The position of the present event or effect.
    pub(super) position: Position,
    /// The position of the present event.
    pub(super) event_position: Position,
}

impl History {
    fn run(&mut self, name: &Name, run: Run) -> Option<&mut RunHistory> {
        let service = self.services.get_mut(name)?;
        service.run.iter_mut().chain(&mut service.beside).find(|this| this.number == run)
    }

    /// The services that name this one in `depends-on`.
    pub(crate) fn dependents<'a>(
        &'a self,
        name: &'a Name,
    ) -> impl Iterator<Item = &'a ServiceHistory> {
        self.services.values().filter(|other| other.depends_on(name))
    }

    /// Whether another program or another service holds a new port of a service. Its run then
    /// keeps its previous ports.
    pub(crate) fn lacks_new_ports(&self, service: &ServiceHistory) -> bool {
        if service.keeps_ports {
            return true;
        }
        let declared = service.spec.ports.iter().filter_map(|port| port.number);
        let held = |number: &u16| service.refused_ports.contains(number);
        declared.into_iter().any(|number| held(&number) || self.is_occupied(service, number))
    }

    /// Records which runs keep their previous ports. They do so until the next request.
    pub(crate) fn note_kept_ports(&mut self) {
        let keeps = |service: &&ServiceHistory| {
            // A run without ports has none to keep, and cannot have those of its plan either.
            let other = |run: &RunHistory| run.ports != service.spec.ports;
            service.run.as_ref().is_some_and(other) && self.lacks_new_ports(service)
        };
        let kept = self.services.values().filter(keeps).map(|service| service.spec.name.clone());
        for name in kept.collect::<Vec<_>>() {
            self.services.get_mut(&name).into_iter().for_each(|service| service.keeps_ports = true);
        }
    }

    /// Whether another service has this port.
    pub(crate) fn is_occupied(&self, service: &ServiceHistory, number: u16) -> bool {
        let mut others = self.services.values();
        others.any(|other| other.spec.name != service.spec.name && other.occupies(number))
    }

    /// Whether the present event injects this fault and its signal is not sent yet.
    pub(crate) fn is_pending(&self, name: &Name, fault: Fault) -> bool {
        self.pending_fault.as_ref().is_some_and(|(of, pending)| of == name && *pending == fault)
    }

    pub(crate) fn event(&mut self, now: Duration, event: &Event) {
        self.position += 1;
        self.pending_fault = None;
        match event {
            Event::Apply { plan } => {
                if !self.shutdown {
                    self.note_moves(plan);
                }
                for spec in plan.services.iter().filter(|_| !self.shutdown) {
                    let restart = plan.restart.contains(&spec.name);
                    let service =
                        apply(&mut self.services, self.position, spec, plan.replace || restart);
                    service.replace_requested = plan.replace;
                    service.planned_in(plan.context, restart);
                    let may_skip = service.done || service.is_at_rest();
                    service.done = plan.done.contains(&spec.name) && !restart && may_skip;
                    service.skip(!service.build_pending);
                }
                let declared = plan.declared.iter().filter(|_| !self.shutdown);
                for declared in declared {
                    let others = self.services.values_mut();
                    for dropped in others.filter(|other| !declared.contains(&other.spec.name)) {
                        dropped.unwant(self.position);
                    }
                }
            }
            Event::TakeDown { services, only } => self.take_down(services, *only),
            Event::Restart { services } | Event::Replace { services } => {
                let shutdown = self.shutdown;
                for name in services.iter().filter(|_| !shutdown) {
                    self.settle_move(name, self.position - 1);
                    let Some(service) = self.services.get_mut(name) else { continue };
                    service.replace_requested = matches!(event, Event::Replace { .. });
                    (service.wanted, service.succeeded, service.done) = (true, false, false);
                    service.forget_refusal();
                    service.candidate_failed = false;
                    let last = &mut service.last;
                    (last.requested, last.changed) = (self.position, self.position);
                    last.restart_requested = self.position;
                }
            }
            Event::Shutdown | Event::KillNow => {
                self.shutdown = true;
                self.kill_now |= *event == Event::KillNow;
                self.services.values_mut().for_each(|service| service.wanted = false);
            }
            Event::BuildEnded { .. } | Event::BuildInterrupted => {
                let pending = self.services.values_mut().filter(|service| service.build_pending);
                for service in pending {
                    service.build_failed = true;
                    // A program that is being accepted may still ask for a new run.
                    service.contexts.restart = false;
                }
            }
            Event::Fault { service: name, fault } => self.fault(name, *fault),
            Event::HolderInspected { service, .. }
            | Event::Accepted { service, .. }
            | Event::BuildFailed { service, .. }
            | Event::Bound { service, .. }
            | Event::PortsChecked { service, .. }
            | Event::BindFailed { service, .. } => {
                // After a failure, the next request for the ports belongs to the same move.
                if let Event::Bound { .. } = event {
                    self.settle_move(service, self.position);
                }
                if let Some(service) = self.services.get_mut(service) {
                    service_event(service, self.position, event);
                }
            }
            Event::Started { service, run, .. }
            | Event::StartFailed { service, run, .. }
            | Event::PortsLost { service, run }
            | Event::ProbePassed { service, run, .. }
            | Event::ExtendTimeout { service, run, .. }
            | Event::WatchdogPing { service, run }
            | Event::HealthChecked { service, run, .. }
            | Event::Exited { service, run, .. }
            | Event::Gone { service, run } => {
                if self.run(service, *run).is_some()
                    && let Some(service) = self.services.get_mut(service)
                {
                    if service.beside.as_ref().is_some_and(|beside| beside.number == *run) {
                        handover::event_beside(service, now, event);
                    } else {
                        run_event(service, self.position, now, event);
                    }
                    service.hand_over(now, self.position);
                }
            }
            Event::Linked { .. }
            | Event::LogTrouble { .. }
            | Event::ProbeSeen { .. }
            | Event::Status { .. }
            | Event::Calls { .. }
            | Event::Tick => {}
        }
    }

    fn fault(&mut self, name: &Name, fault: Fault) {
        let run = self.services.get_mut(name).and_then(|service| service.run.as_mut());
        let spawned = |run: &&mut RunHistory| run.is_running() && run.origin == Origin::Spawned;
        let Some(run) = run.filter(spawned) else { return };
        run.fault = match (run.fault, fault) {
            (Some(Fault::Kill), _) => Some(Fault::Kill),
            (_, Fault::Resume) => None,
            (_, fault) => Some(fault),
        };
        self.pending_fault = Some((name.clone(), fault));
    }

    fn take_down(&mut self, names: &[Name], only: bool) {
        let mut open = names.to_vec();
        let mut visited = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !visited.insert(name.clone()) {
                continue;
            }
            let Some(service) = self.services.get_mut(&name) else { continue };
            service.unwant(self.position);
            if !only {
                open.extend(self.dependents(&name).map(|other| other.spec.name.clone()));
            }
        }
    }

    pub(crate) fn effect(&mut self, now: Duration, effect: &Effect) {
        self.position += 1;
        match effect {
            Effect::Spawn { service, run, command, probes, .. } => {
                let position = self.position;
                match self.services.get_mut(service).filter(|it| handover::is_candidate(it)) {
                    Some(service) => {
                        service.start_beside(now, position, *run, probes, command);
                    }
                    None => self.start(now, service, *run, Origin::Spawned, probes, command),
                }
            }
            Effect::Adopt { service: name, run, command, probes, .. } => {
                self.settle_move(name, self.position);
                let Some(service) = self.services.get_mut(name) else { return };
                (service.bind_failed, service.last.address_changed) = (false, self.position);
                let holder = service.holder.as_ref();
                let origin = holder.map_or(Origin::Adopted, |holder| origin(service, holder));
                self.start(now, name, *run, origin, probes, command);
            }
            Effect::Probe { service, run, context, probes } => {
                let command = Command { context: *context, ..Command::default() };
                self.start(now, service, *run, Origin::External, probes, &command);
            }
            Effect::Release { service, run } => {
                if self.run(service, *run).is_some()
                    && let Some(service) = self.services.get_mut(service)
                {
                    service.run = None;
                    service.skip(true);
                }
            }
            Effect::Signal { service, run, signal } => self.signal(now, service, *run, signal),
            Effect::Bind { service, .. } => {
                if let Some(service) = self.services.get_mut(service) {
                    service.binding = Some(service.spec.ports.clone());
                }
            }
            Effect::CheckPorts { service, .. } => {
                if let Some(service) = self.services.get_mut(service) {
                    service.checking_ports = true;
                    service.refused_ports.clear();
                }
            }
            Effect::Unbind { service } => {
                if let Some(service) = self.services.get_mut(service) {
                    service.bound = false;
                }
            }
            Effect::Report(Report::Candidate { service, run: 0, .. }) => {
                if let Some(service) = self.services.get_mut(service) {
                    service.prevent_candidate();
                }
            }
            Effect::Report(Report::Phase { service, run, phase, .. }) => {
                if let Some(run) = self.run(service, *run).filter(|_| *phase == Phase::Stopping) {
                    run.stop_pending |= !run.started;
                }
                if let Some(service) = self.services.get_mut(service) {
                    service.phase = *phase;
                    if *phase == Phase::Succeeded {
                        service.skip(true);
                    }
                }
            }
            Effect::InspectHolder { service, .. } => {
                if let Some(service) = self.services.get_mut(service) {
                    service.inspecting = true;
                }
            }
            Effect::CheckHealth { service, run, .. } => {
                if let Some(run) = self.run(service, *run) {
                    (run.health.checking, run.health.checks) = (true, run.health.checks + 1);
                }
            }
            Effect::CancelStart { service, run } => {
                let superseded = handover::is_superseded(self, service, *run);
                if let Some(run) = self.run(service, *run) {
                    run.cancelled = true;
                }
                if let Some(service) = self.services.get_mut(service).filter(|_| !superseded) {
                    service.note_late_candidate(now, *run);
                }
            }
            Effect::Report(Report::AlreadyRunning { service }) => {
                if let Some(service) = self.services.get_mut(service) {
                    service.kept_as_planned();
                }
            }
            Effect::End => self.ends += 1,
            Effect::MarkDone { service } => {
                self.services.get_mut(service).into_iter().for_each(|job| job.done = true);
            }
            Effect::Accept { .. } | Effect::StopProbes { .. } | Effect::Report(_) => {}
        }
    }

    fn signal(&mut self, now: Duration, name: &Name, run: Run, signal: &Signal) {
        let injected = self.is_pending(name, Fault::Kill);
        let superseded = handover::is_superseded(self, name, run);
        let Some(service) = self.services.get_mut(name) else { return };
        let present = service.run.as_ref();
        let unhealthy = present.is_some_and(|run| service.must_restart_unhealthy(run));
        if service.beside.as_ref().is_some_and(|beside| beside.number == run) {
            return handover::signal_beside(service, now, signal, superseded);
        }
        let Some(run) = service.run.as_mut().filter(|this| this.number == run) else { return };
        let mut ends_by_itself = false;
        match signal {
            Signal::Stop(_) => {
                if run.exit.is_none() && unhealthy {
                    // It counts as a crash.
                    service.last.crashed = self.position;
                    ends_by_itself = true;
                }
                run.stop_requested_at = run.stop_requested_at.or(Some(now));
                run.stop_deadline = Some(now + service.spec.stop.timeout);
            }
            // Its exit must look like a crash.
            Signal::Kill if injected => self.pending_fault = None,
            Signal::Kill => {
                run.kill_sent_at = run.kill_sent_at.or(Some(now));
                if run.stop_requested_at.is_none() {
                    // It missed its watchdog, which counts as a crash.
                    service.last.crashed = self.position;
                    ends_by_itself = true;
                }
            }
            Signal::Pause | Signal::Resume => self.pending_fault = None,
        }
        if ends_by_itself && !service.has_late_candidate(now) {
            service.take_over(self.position);
        }
    }

    fn start(
        &mut self,
        now: Duration,
        name: &Name,
        run: Run,
        origin: Origin,
        probes: &[PreparedProbe],
        command: &Command,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        if service.crash_without_request().is_some() {
            service.crash_restarts.push((now, self.position));
        }
        service.replace_requested &= origin == Origin::Evicted;
        (service.crash, service.succeeded) = (None, false);
        service.starts_in(command.context);
        (service.last.started, service.last_run) = (self.position, run);
        service.keeps_ports = false;
        // A move that is not over has not changed the address yet.
        service.unaware_of.retain(|_, until| *until == Position::MAX);
        service.moved_while_built.clear();
        service.calls.clear();
        service.restarts_with.clear();
        service.add_edges();
        service.candidate_failed = false;
        let run = RunHistory::new(service, now, self.position, run, origin, probes, command);
        if matches!(origin, Origin::External | Origin::Adopted) {
            service.announced = Some(run.numbers.clone());
        }
        service.run = Some(run);
    }
}

/// Records a plan's service, of which a new run is requested or not.
fn apply<'a>(
    services: &'a mut BTreeMap<Name, ServiceHistory>,
    position: Position,
    spec: &Service,
    new_run: bool,
) -> &'a mut ServiceHistory {
    let new = || ServiceHistory::new(spec.clone());
    let service = services.entry(spec.name.clone()).or_insert_with(new);
    let old = &service.spec;
    let moved = old.ports != spec.ports;
    let same = old.args == spec.args
        && old.env == spec.env
        && old.program == spec.program
        && old.kind == spec.kind
        && old.socket_activation == spec.socket_activation;
    service.ran_at_apply = service.run.is_some() && service.wanted;
    service.candidate_failed = false;
    service.wanted = true;
    service.build_pending = matches!(spec.program, Program::Artifact { .. });
    service.build_failed = false;
    service.forget_refusal();
    if let Some(run) = service.run.as_mut().filter(|_| service.spec.health != spec.health) {
        run.health = HealthHistory { checks: run.health.checks, ..HealthHistory::default() };
    }
    service.spec = spec.clone();
    service.add_edges();
    (service.last.applied, service.last.requested) = (position, position);
    if !same || moved || new_run {
        service.last.changed = position;
    }
    // Until other ports are bound, a plan may still change the address. An `external` service has
    // its address from the plan that moves it.
    let moves = service.has_other_ports() && spec.program != Program::External;
    if moved || moves {
        service.last.address_changed = position;
    }
    service
}

/// An event of a service, whatever its run.
fn service_event(service: &mut ServiceHistory, position: Position, event: &Event) {
    match event {
        Event::HolderInspected { result, .. } => {
            service.inspecting = false;
            service.holder = match result {
                InspectionResult::Process(holder) => Some((**holder).clone()),
                InspectionResult::Free | InspectionResult::Hidden => None,
            };
        }
        Event::Accepted { artifact, .. } => {
            let new = Some((artifact.path.clone(), artifact.content));
            if service.accepted != new {
                (service.last.requested, service.last.changed) = (position, position);
                service.candidate_failed = false;
            }
            (service.accepted, service.build_pending) = (new, false);
            service.skip(true);
            // The build of an earlier request: it compares the run with all that is wanted.
            service.unaware_of.clear();
            if service.has_other_ports() {
                service.last.address_changed = position;
            }
        }
        Event::BuildFailed { .. } => {
            service.build_failed = true;
            service.kept_as_planned();
        }
        Event::Bound { ports: numbers, .. } => {
            service.last.bind_answered = position;
            (service.bound, service.bind_failed) = (true, false);
            let Some(ports) = service.binding.take() else { return };
            if service.spec.program == Program::External || service.spec.ports.is_empty() {
                return; // The stack closes them at once.
            }
            if service.numbers() != Some(numbers) || service.announced.as_ref() != Some(numbers) {
                service.last.address_changed = position;
            }
            service.announced = Some(numbers.clone());
            service.last_bound = Some((ports, numbers.clone()));
        }
        Event::PortsChecked { failures, .. } => {
            service.checking_ports = false;
            let port = |failure: &BindFailure| match failure {
                BindFailure::Held { port, .. } | BindFailure::Other { port, .. } => Some(*port),
                BindFailure::Closing { .. } => None,
            };
            service.refused_ports = failures.iter().filter_map(port).collect();
        }
        Event::BindFailed { .. } => {
            (service.binding, service.bind_failed) = (None, true);
            service.last.bind_answered = position;
            service.last.address_changed = position;
        }
        _ => {}
    }
}
