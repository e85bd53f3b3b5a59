//! A stack, a clock, and the effects of each event, so that a test reads as a story.
//!
//! The scenario answers an effect only where a test asks for it.

use std::time::Duration;

use xtask_core::calls::Call;
use xtask_core::plan::{Program, Service};
use xtask_core::snapshot::{Failure, Phase, ServiceSnapshot, State};
use xtask_core::sorted::SortedMap;
use xtask_core::stack::{Artifact, BindFailure, Effect, Event, Exit, Report, Run, Signal, Stack};
use xtask_core::terms::Name;

use crate::support;

pub(crate) struct Scenario {
    pub(crate) stack: Stack,
    pub(crate) now: Duration,
    /// The effects of the last event.
    pub(crate) effects: Vec<Effect>,
    /// All effects so far.
    pub(crate) all: Vec<Effect>,
    next_pid: u32,
}

impl Scenario {
    /// A stack with these services applied.
    pub(crate) fn of(services: impl Into<Vec<Service>>) -> Self {
        let mut scenario = Self {
            stack: Stack::new(),
            now: Duration::ZERO,
            effects: Vec::new(),
            all: Vec::new(),
            next_pid: 100,
        };
        scenario.apply(services);
        scenario
    }

    /// As `of`, and every service starts and every job succeeds at once.
    pub(crate) fn up(services: impl Into<Vec<Service>>) -> Self {
        let services = services.into();
        let built: Vec<Name> = services
            .iter()
            .filter(|service| matches!(service.program, Program::Artifact { .. }))
            .map(|service| service.name.clone())
            .collect();
        let mut scenario = Self::of(services);
        for name in built {
            scenario.linked(&name);
        }
        scenario.let_it_happen();
        scenario
    }

    pub(crate) fn apply(&mut self, services: impl Into<Vec<Service>>) {
        self.event(Event::Apply { plan: support::plan(services) });
    }

    /// Applies a plan that is about the whole stack. The metadata declares its services and `more`.
    pub(crate) fn apply_whole(&mut self, services: impl Into<Vec<Service>>, more: &[&str]) {
        let mut plan = support::plan(services);
        let names = plan.services.iter().map(|service| service.name.clone());
        plan.declared = Some(names.chain(list(more)).collect());
        self.event(Event::Apply { plan });
    }

    /// One event now, with its effects in `effects`. Each event must reach a fixed point.
    pub(crate) fn event(&mut self, event: Event) {
        self.effects.clear();
        self.stack.step(self.now, event, &mut self.effects);
        self.all.extend(self.effects.iter().cloned());
        let mut more = Vec::new();
        self.stack.step(self.now, Event::Tick, &mut more);
        assert_eq!(more, [], "a second look changed something");
        self.stack.clone().sweep(&mut more);
        assert_eq!(more, [], "the worklist forgot something");
    }

    /// Time passes, tick by tick. All effects are in `effects`.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut caused = Vec::new();
        while let Some(next) = self.stack.next_deadline().filter(|next| *next <= end) {
            self.now = next;
            self.event(Event::Tick);
            caused.append(&mut self.effects);
        }
        self.now = end;
        self.event(Event::Tick);
        caused.append(&mut self.effects);
        self.effects = caused;
    }

    pub(crate) fn bind(&mut self, name: &str, ports: &[u16]) {
        self.event(Event::Bound { service: name.into(), ports: ports.to_vec() });
    }

    /// The answer about new ports: those that are held.
    pub(crate) fn ports_checked(&mut self, name: &str, failures: Vec<BindFailure>) {
        self.event(Event::PortsChecked { service: name.into(), failures });
    }

    pub(crate) fn start(&mut self, name: &str) {
        self.start_run(name, self.run(name));
    }

    pub(crate) fn start_run(&mut self, name: &str, run: Run) {
        self.next_pid += 1;
        let (service, pid) = (Name::from(name), self.next_pid);
        self.event(Event::Started { service, run, pid });
    }

    pub(crate) fn pass_run(&mut self, name: &str, run: Run, probe: usize) {
        self.event(Event::ProbePassed { service: name.into(), run, probe });
    }

    /// The leader of this run exits and its group is gone. The effects of both are in `effects`.
    pub(crate) fn end_run(&mut self, name: &str, run: Run, exit: Exit) {
        self.event(Event::Exited { service: name.into(), run, exit, clue: None });
        let mut caused = core::mem::take(&mut self.effects);
        self.event(Event::Gone { service: name.into(), run });
        caused.append(&mut self.effects);
        self.effects = caused;
    }

    pub(crate) fn pass_probe(&mut self, name: &str, probe: usize) {
        let (service, run) = (Name::from(name), self.run(name));
        self.event(Event::ProbePassed { service, run, probe });
    }

    pub(crate) fn seen(&mut self, name: &str, probe: usize, seen: &str) {
        let (service, run) = (Name::from(name), self.run(name));
        self.event(Event::ProbeSeen { service, run, probe, seen: seen.to_owned() });
    }

    pub(crate) fn health_checked(&mut self, name: &str, failure: Option<&str>) {
        let (service, run) = (Name::from(name), self.run(name));
        let failure = failure.map(str::to_owned);
        self.event(Event::HealthChecked { service, run, failure });
    }

    pub(crate) fn exited(&mut self, name: &str, exit: Exit) {
        let (service, run) = (Name::from(name), self.run(name));
        self.event(Event::Exited { service, run, exit, clue: None });
    }

    pub(crate) fn gone(&mut self, name: &str) {
        let (service, run) = (Name::from(name), self.run(name));
        self.event(Event::Gone { service, run });
    }

    /// The leader exits and its group is gone. The effects of both events are in `effects`.
    pub(crate) fn end(&mut self, name: &str, exit: Exit) {
        self.exited(name, exit);
        let mut caused = core::mem::take(&mut self.effects);
        self.gone(name);
        caused.append(&mut self.effects);
        self.effects = caused;
    }

    pub(crate) fn crash(&mut self, name: &str) {
        self.end(name, Exit::Code(1));
    }

    pub(crate) fn linked(&mut self, name: &str) {
        let program = format!("/target/{name}").into();
        self.event(Event::Linked { service: name.into(), program });
    }

    pub(crate) fn accepted(&mut self, name: &str, content: u64) {
        let (path, linked) = (format!("/kept/{name}-{content}"), format!("/target/{name}").into());
        let artifact = Artifact { path, linked, content, image: None };
        self.event(Event::Accepted { service: name.into(), artifact });
    }

    /// Linked and accepted.
    pub(crate) fn built(&mut self, name: &str, content: u64) {
        self.linked(name);
        self.accepted(name, content);
    }

    /// The driver observes these calls.
    pub(crate) fn calls(&mut self, calls: Vec<Call>) {
        self.event(Event::Calls { calls, elsewhere: SortedMap::new() });
    }

    pub(crate) fn restart(&mut self, names: &[&str]) {
        self.event(Event::Restart { services: list(names) });
    }

    pub(crate) fn take_down(&mut self, names: &[&str]) {
        self.event(Event::TakeDown { services: list(names), only: false });
    }

    /// Answers every open effect with success, until none is open.
    pub(crate) fn let_it_happen(&mut self) {
        let mut open = self.all.clone();
        while !open.is_empty() {
            for effect in core::mem::take(&mut open) {
                let before = self.all.len();
                self.answer(effect);
                open.extend_from_slice(&self.all[before..]);
            }
        }
    }

    fn answer(&mut self, effect: Effect) {
        match effect {
            Effect::Accept { service, .. } => self.accepted(&service, 1),
            Effect::Bind { service, ports, .. } => {
                let numbers: Vec<u16> =
                    ports.iter().map(|port| port.number.unwrap_or(40_000)).collect();
                self.bind(&service, &numbers);
            }
            Effect::CheckPorts { service, .. } => self.ports_checked(&service, Vec::new()),
            Effect::Spawn { service, run, probes, .. }
                if run == self.run(&service) || Some(run) == self.candidate(&service) =>
            {
                self.start_run(&service, run);
                for probe in probes {
                    self.pass_run(&service, run, probe.index);
                }
                if self.snapshot(&service).kind == xtask_core::terms::Kind::Job {
                    self.end(&service, Exit::Code(0));
                }
            }
            Effect::Probe { service, probes, .. } => {
                for probe in probes {
                    self.pass_probe(&service, probe.index);
                }
            }
            // Each test chooses the port holder itself.
            Effect::InspectHolder { .. }
            | Effect::Adopt { .. }
            | Effect::Release { .. }
            | Effect::Spawn { .. }
            | Effect::Unbind { .. }
            | Effect::StopProbes { .. }
            | Effect::MarkDone { .. }
            | Effect::CancelStart { .. }
            | Effect::Signal { .. }
            | Effect::Report(_)
            | Effect::CheckHealth { .. }
            | Effect::End => {}
        }
    }

    pub(crate) fn snapshot(&self, name: &str) -> ServiceSnapshot {
        self.stack.service_snapshot(name).unwrap()
    }

    pub(crate) fn phase(&self, name: &str) -> Phase {
        self.snapshot(name).phase
    }

    pub(crate) fn state(&self) -> State {
        self.stack.snapshot().state
    }

    pub(crate) fn run(&self, name: &str) -> Run {
        self.snapshot(name).run
    }

    /// The candidate of a service that is starting.
    pub(crate) fn candidate(&self, name: &str) -> Option<Run> {
        let candidate = self.snapshot(name).candidate;
        candidate.filter(|run| run.phase == Phase::Starting).map(|run| run.run)
    }

    /// The runs to which the last event sent a stop signal.
    pub(crate) fn stopped_runs(&self) -> Vec<(String, Run)> {
        let runs = self.effects.iter().filter_map(|effect| match effect {
            Effect::Signal { service, run, signal: Signal::Stop(_) } => {
                Some((service.to_string(), *run))
            }
            _ => None,
        });
        runs.collect()
    }

    /// What the last event reported about candidates.
    pub(crate) fn candidates(&self) -> Vec<(Run, Phase)> {
        let reports = self.effects.iter().filter_map(|effect| match effect {
            Effect::Report(Report::Candidate { run, phase, .. }) => Some((*run, *phase)),
            _ => None,
        });
        reports.collect()
    }

    pub(crate) fn reason(&self, name: &str) -> String {
        self.snapshot(name).reason.unwrap_or_default()
    }

    pub(crate) fn failure(&self, name: &str) -> Option<Failure> {
        self.snapshot(name).failure
    }

    /// The services that the last event started.
    pub(crate) fn spawned(&self) -> Vec<String> {
        self.named(|effect| match effect {
            Effect::Spawn { service, .. } => Some(service),
            _ => None,
        })
    }

    /// The services to which the last event sent a stop signal.
    pub(crate) fn signalled(&self) -> Vec<String> {
        self.named(|effect| match effect {
            Effect::Signal { service, signal: Signal::Stop(_), .. } => Some(service),
            _ => None,
        })
    }

    /// The services whose health is checked because of the last event.
    pub(crate) fn checked(&self) -> Vec<String> {
        self.named(|effect| match effect {
            Effect::CheckHealth { service, .. } => Some(service),
            _ => None,
        })
    }

    /// The services that the last event killed.
    pub(crate) fn killed(&self) -> Vec<String> {
        self.named(|effect| match effect {
            Effect::Signal { service, signal: Signal::Kill, .. } => Some(service),
            _ => None,
        })
    }

    /// The services whose sockets the last event closed.
    pub(crate) fn unbound(&self) -> Vec<String> {
        self.named(|effect| match effect {
            Effect::Unbind { service } => Some(service),
            _ => None,
        })
    }

    /// The services whose ports the last event requested.
    pub(crate) fn asked_ports(&self) -> Vec<String> {
        self.named(|effect| match effect {
            Effect::Bind { service, .. } => Some(service),
            _ => None,
        })
    }

    /// The services that were reported as already running.
    pub(crate) fn already(&self) -> Vec<String> {
        self.named(|effect| match effect {
            Effect::Report(Report::AlreadyRunning { service }) => Some(service),
            _ => None,
        })
    }

    /// The reports of events that are out of place.
    pub(crate) fn unexpected(&self) -> Vec<String> {
        let reports = self.effects.iter().filter_map(|effect| match effect {
            Effect::Report(Report::Unexpected { what }) => Some(what.clone()),
            _ => None,
        });
        reports.collect()
    }

    /// The phases that the last event reported.
    pub(crate) fn phases(&self) -> Vec<(String, Phase)> {
        let reports = self.effects.iter().filter_map(|effect| match effect {
            Effect::Report(Report::Phase { service, phase, .. }) => {
                Some((service.to_string(), *phase))
            }
            _ => None,
        });
        reports.collect()
    }

    /// How often the stack ended.
    pub(crate) fn ends(&self) -> usize {
        self.all.iter().filter(|effect| **effect == Effect::End).count()
    }

    fn named(&self, pick: impl Fn(&Effect) -> Option<&Name>) -> Vec<String> {
        self.effects.iter().filter_map(pick).map(ToString::to_string).collect()
    }
}

fn list(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::from(*name)).collect()
}
