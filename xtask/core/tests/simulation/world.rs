//! Simulates processes, sockets and cargo. They answer effects late, twice, with errors, or never.
//!
//! The world knows no rule of the stack. The checkers decide what should happen.

mod processes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xtask_core::plan::{Plan, Program, Service};
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::{Artifact, BindFailure, Effect, Event, Exit, LinkedProgram, Run, Signal};
use xtask_core::terms::{Kind, Name};

use crate::port_holders::PortHolders;
use crate::random::Random;
use processes::Process;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    /// Future events by time and order.
    queue: BTreeMap<(Duration, u64), Event>,
    order: u64,
    processes: BTreeMap<(Name, Run), Process>,
    content: BTreeMap<Name, u64>,
    /// The services of all plans, each from the latest.
    services: BTreeMap<Name, Service>,
    bound: BTreeSet<Name>,
    /// The number of the first port of each service.
    numbers: BTreeMap<Name, u16>,
    port_holders: PortHolders,
    next_pid: u32,
    /// The jobs that the data folder records as done.
    pub(crate) done: BTreeSet<Name>,
    /// Whether new processes and answers are free of faults.
    pub(crate) without_faults: bool,
}

/// Longer than an adoption takes.
const ADOPTION: Duration = Duration::from_millis(5);

impl World {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            queue: BTreeMap::new(),
            order: 0,
            processes: BTreeMap::new(),
            content: BTreeMap::new(),
            services: BTreeMap::new(),
            bound: BTreeSet::new(),
            numbers: BTreeMap::new(),
            port_holders: PortHolders::default(),
            next_pid: 1000,
            done: BTreeSet::new(),
            without_faults: false,
        }
    }

    pub(crate) fn next_time(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// The next event, unless its process has ended.
    pub(crate) fn next_event(&mut self, now: Duration) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.ping_again(now, &event);
        self.deliver(at, &event).then_some(event)
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.queue.insert((at, self.order), event);
    }

    fn soon(&mut self, now: Duration, millis: std::ops::Range<usize>, event: Event) {
        let delay = self.random.millis(millis);
        self.at(now + delay, event);
    }

    fn fault(&mut self, percent: usize) -> bool {
        !self.without_faults && self.random.chance(percent)
    }

    pub(crate) fn add_plan(&mut self, plan: &Plan) {
        for service in &plan.services {
            if let Some(number) = service.ports.first().and_then(|port| port.number) {
                self.numbers.insert(service.name.clone(), number);
            }
            self.services.insert(service.name.clone(), service.clone());
        }
    }

    /// Builds the programs of a plan.
    pub(crate) fn build(&mut self, now: Duration, plan: &Plan) {
        let mut last = now;
        let broken = self.fault(15);
        for service in &plan.services {
            let Program::Artifact { .. } = service.program else { continue };
            if self.random.chance(30) {
                *self.content.entry(service.name.clone()).or_default() += 1;
            }
            let name = service.name.clone();
            let at = now + self.random.millis(0..6000);
            last = last.max(at);
            if !(broken && self.random.chance(40)) {
                let path = format!("/target/debug/{name}");
                // A place that differs from build to build is no reason to restart.
                let library_path = vec![format!("/target/{}", at.as_micros())];
                let program = LinkedProgram { path, library_path };
                self.at(at, Event::Linked { service: name, program });
            } else if self.random.chance(50) {
                let message = "does not compile".to_owned();
                self.at(at, Event::BuildFailed { service: name, message });
            }
        }
        // No draw of its own: it would change what all later seeds simulate.
        let interrupted = broken && last.as_millis() % 2 == 1;
        let end =
            if interrupted { Event::BuildInterrupted } else { Event::BuildEnded { ok: !broken } };
        self.soon(last, 1..100, end);
    }

    /// Performs an effect and queues its answers.
    pub(crate) fn perform(&mut self, now: Duration, effect: &Effect) {
        match effect {
            Effect::Accept { service, program, .. } => {
                if self.fault(4) {
                    let message = "no space left".to_owned();
                    let event = Event::BuildFailed { service: service.clone(), message };
                    return self.soon(now, 0..50, event);
                }
                let content = *self.content.entry(service.clone()).or_default();
                let path = format!("/kept/{service}/{content}/{service}");
                let artifact = Artifact { path, linked: program.clone(), content, image: None };
                let event = Event::Accepted { service: service.clone(), artifact };
                self.soon(now, 0..50, event);
            }
            Effect::Bind { service, ports, .. } => {
                let service = service.clone();
                let failure = if self.fault(5) {
                    let port = ports[0].number.unwrap_or(0);
                    let remaining = self.random.millis(0..60_000);
                    Some(match self.random.chance(50) {
                        true => BindFailure::Held { port, holder: None, user: None },
                        false => BindFailure::Closing { port, remaining },
                    })
                } else {
                    self.port_holders.bind_failure(&service, ports)
                };
                if let Some(failure) = failure {
                    let event = Event::BindFailed { service, failure, others: Vec::new() };
                    return self.soon(now, 0..300, event);
                }
                let numbers = ports.iter().map(|port| {
                    let any = u16::try_from(self.random.range(40_000..60_000)).unwrap();
                    port.number.unwrap_or(any)
                });
                let ports: Vec<u16> = numbers.collect();
                self.bound.insert(service.clone());
                self.numbers.insert(service.clone(), ports[0]);
                self.soon(now, 0..300, Event::Bound { service, ports });
            }
            Effect::CheckPorts { service, ports } => {
                let failure = if self.fault(15) {
                    let port = ports[0].number.unwrap_or(0);
                    Some(BindFailure::Held { port, holder: None, user: None })
                } else {
                    self.port_holders.bind_failure(service, ports)
                };
                let event = Event::PortsChecked {
                    service: service.clone(),
                    failures: failure.into_iter().collect(),
                };
                self.soon(now, 0..300, event);
            }
            Effect::Spawn { service, run, probes, .. } => {
                self.spawn(now, service, *run, probes.len());
            }
            Effect::Probe { service, run, probes, .. } => {
                for probe in probes {
                    self.probe(now, service, *run, probe.index);
                }
            }
            Effect::CheckHealth { service, run, .. } => {
                let failure = self.fault(93).then(|| "status 503".to_owned());
                let event = Event::HealthChecked { service: service.clone(), run: *run, failure };
                // Slow answers keep the wait for a stack at rest short.
                let delay = if self.without_faults { 10_000..60_000 } else { 0..2_500 };
                self.soon(now, delay, event);
            }
            Effect::Signal { service, run, signal } => {
                let kill = match signal {
                    Signal::Stop(_) => false,
                    Signal::Kill => true,
                    // Its events continue: they may always be late.
                    Signal::Pause | Signal::Resume => return,
                };
                self.signal(now, (service.clone(), *run), kill);
            }
            Effect::CancelStart { service, run } => self.cancel_start(now, service, *run),
            Effect::InspectHolder { service, ports, expected } => {
                let content = self.content.get(service).copied().unwrap_or_default();
                let result = self.port_holders.inspect(service, ports, content, expected.as_ref());
                let service = service.clone();
                self.soon(now, 0..300, Event::HolderInspected { service, result });
            }
            Effect::Adopt { service, run, pid, probes, .. } => {
                self.adopt(now, service, *run, *pid, probes);
            }
            Effect::Release { service, run } => self.port_holders.release(service, *run),
            Effect::Unbind { service } => drop(self.bound.remove(service)),
            Effect::MarkDone { service } => drop(self.done.insert(service.clone())),
            Effect::StopProbes { .. } | Effect::Report(_) | Effect::End => {}
        }
    }

    fn adopt(
        &mut self,
        now: Duration,
        service: &Name,
        run: Run,
        pid: u32,
        probes: &[PreparedProbe],
    ) {
        let service = service.clone();
        if !self.port_holders.adopt(&service, run, pid) {
            let error = "gone".to_owned();
            return self.soon(now, 0..5, Event::StartFailed { service, run, error });
        }
        let started = now + self.random.millis(0..5);
        self.at(started, Event::Started { service: service.clone(), run, pid });
        for probe in probes {
            self.probe(started, &service, run, probe.index);
        }
        if self.fault(20) {
            let exit = Exit::Unknown;
            self.soon(started, 1..60_000, Event::Exited { service, run, exit, clue: None });
        }
    }

    /// A user starts a program by hand, if the port of the service is free.
    pub(crate) fn start_port_holder(&mut self, service: &Name) {
        let Some(spec) = self.services.get(service).cloned() else { return };
        let free = !self.bound.contains(service)
            && !self.port_holders.has(service)
            && self.processes.keys().all(|(name, _)| name != service);
        let ours = spec.program != Program::External && spec.kind == Kind::Service;
        let number = self.numbers.get(service).copied().filter(|_| !spec.ports.is_empty());
        let (true, true, Some(number)) = (free, ours, number) else { return };
        let content = self.content.get(service).copied().unwrap_or_default();
        self.port_holders.start(&mut self.random, &spec, number, content, &self.numbers);
    }

    /// A user stops a program that was started by hand.
    pub(crate) fn stop_port_holder(&mut self, now: Duration) {
        if let Some((service, run)) = self.port_holders.stop_one(&mut self.random) {
            // A run that is being adopted now reports `Started` first.
            self.at(
                now + ADOPTION,
                Event::Exited { service, run, exit: Exit::Unknown, clue: None },
            );
        }
    }

    fn probe(&mut self, now: Duration, service: &Name, run: Run, probe: usize) {
        for _ in 0..self.random.below(3) {
            let seen = "connection refused".to_owned();
            let event = Event::ProbeSeen { service: service.clone(), run, probe, seen };
            self.soon(now, 1..2000, event);
        }
        if !self.fault(8) {
            let event = Event::ProbePassed { service: service.clone(), run, probe };
            let delay = self.random.millis(0..2500);
            self.at(now + delay, event.clone());
            if self.random.chance(20) {
                self.soon(now + delay, 0..9000, event);
            }
        }
    }

    /// The processes that the stack could have stopped.
    pub(crate) fn survivors(&self) -> Vec<String> {
        let stoppable = self.processes.iter().filter(|(_, process)| !process.survives_kill);
        stoppable.map(|((name, run), _)| format!("{name} run {run}")).collect()
    }
}
