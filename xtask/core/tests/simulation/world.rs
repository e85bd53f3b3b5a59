//! A world that answers effects late, badly, twice, or not at all.
//!
//! It knows processes, sockets and programs, and nothing of what should happen: that is
//! for the checkers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use xtask_core::calls::{Call, CallState};
use xtask_core::plan::{Plan, Program, Service};
use xtask_core::stack::effect::PreparedProbe;
use xtask_core::stack::{Artifact, BindFailure, Effect, Event, Exit, Run, Signal};
use xtask_core::terms::{Kind, Name};

use crate::random::Random;
use crate::strangers::Strangers;

/// Things to come, in order, and the processes they are about.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: Random,
    queue: BTreeMap<(Duration, u64), Event>,
    order: u64,
    processes: BTreeMap<(Name, Run), Process>,
    content: BTreeMap<Name, u64>,
    jobs: BTreeSet<Name>,
    watchdogs: BTreeMap<Name, Duration>,
    /// Services as they were last planned.
    services: BTreeMap<Name, Service>,
    /// Who has bound ports, and whose first port was last which.
    bound: BTreeSet<Name>,
    numbers: BTreeMap<Name, u16>,
    strangers: Strangers,
    next_pid: u32,
    /// No more faults: what starts now behaves.
    pub(crate) calm: bool,
}

/// It takes less to adopt somebody.
const ADOPTION: Duration = Duration::from_millis(5);

#[derive(Clone, Debug)]
struct Process {
    leader: bool,
    members: bool,
    deaf: bool,
    immortal: bool,
    /// How long it may be silent, and how often it will not be.
    every: Duration,
    pings: usize,
}

impl World {
    pub(crate) fn new(random: Random) -> Self {
        Self {
            random,
            queue: BTreeMap::new(),
            order: 0,
            processes: BTreeMap::new(),
            content: BTreeMap::new(),
            jobs: BTreeSet::new(),
            watchdogs: BTreeMap::new(),
            services: BTreeMap::new(),
            bound: BTreeSet::new(),
            numbers: BTreeMap::new(),
            strangers: Strangers::default(),
            next_pid: 1000,
            calm: false,
        }
    }

    pub(crate) fn next_time(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// The next thing, if it really happens: processes that are no more say nothing,
    /// except what is sent stale on purpose.
    pub(crate) fn next_event(&mut self, now: Duration) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.ping_again(now, &event);
        self.happens(at, &event).then_some(event)
    }

    /// A process that says that it is alive says so as long as it is.
    fn ping_again(&mut self, now: Duration, event: &Event) {
        let Event::WatchdogPing { service, run } = event else { return };
        let process = self.processes.get_mut(&(service.clone(), *run));
        let Some(process) = process.filter(|process| process.leader) else { return };
        process.pings = process.pings.saturating_sub(1);
        if process.pings > 0 {
            let at = now + process.every / 2;
            self.at(at, event.clone());
        }
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
        !self.calm && self.random.chance(percent)
    }

    /// What programs will do, as far as their manifests tell.
    pub(crate) fn learn(&mut self, plan: &Plan) {
        for service in &plan.services {
            self.services.insert(service.name.clone(), service.clone());
            if let Some(number) = service.ports.first().and_then(|port| port.number) {
                self.numbers.insert(service.name.clone(), number);
            }
            self.watchdogs.remove(&service.name);
            if let Some(every) = service.watchdog {
                self.watchdogs.insert(service.name.clone(), every);
            }
            match service.kind {
                Kind::Job => drop(self.jobs.insert(service.name.clone())),
                Kind::Service => drop(self.jobs.remove(&service.name)),
            }
        }
    }

    /// Cargo begins to build what a plan needs.
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
                self.at(at, Event::Linked { service: name, path });
            } else if self.random.chance(50) {
                let message = "does not compile".to_owned();
                self.at(at, Event::BuildFailed { service: name, message });
            }
        }
        self.soon(last, 1..100, Event::BuildEnded { ok: !broken });
    }

    /// Answers what was asked for.
    pub(crate) fn perform(&mut self, now: Duration, effect: &Effect) {
        match effect {
            Effect::Accept { service, .. } => {
                if self.fault(4) {
                    let message = "no space left".to_owned();
                    let event = Event::BuildFailed { service: service.clone(), message };
                    return self.soon(now, 0..50, event);
                }
                let content = *self.content.entry(service.clone()).or_default();
                let path = format!("/kept/{service}/{content}/{service}");
                let artifact = Artifact { path, content, image: None };
                let event = Event::Accepted { service: service.clone(), artifact };
                self.soon(now, 0..50, event);
            }
            Effect::Bind { service, ports, .. } => {
                let service = service.clone();
                if self.fault(5) {
                    let port = ports[0].number.unwrap_or(0);
                    let failure = BindFailure::Held { port, holder: None, user: None };
                    return self.soon(
                        now,
                        0..300,
                        Event::BindFailed { service, failure, others: Vec::new() },
                    );
                }
                if let Some(failure) = self.strangers.holds(&service, ports) {
                    return self.soon(
                        now,
                        0..300,
                        Event::BindFailed { service, failure, others: Vec::new() },
                    );
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
            Effect::Spawn { service, run, probes, .. } => {
                self.spawn(now, service, *run, probes.len());
            }
            Effect::Probe { service, run, probes } => {
                for probe in probes {
                    self.probe(now, service, *run, probe.index);
                }
            }
            Effect::Signal { service, run, signal } => {
                let kill = match signal {
                    Signal::Stop(_) => false,
                    Signal::Kill => true,
                    // It says what it would have said: news of a run may always be late.
                    Signal::Pause | Signal::Resume => return,
                };
                self.signal(now, (service.clone(), *run), kill);
            }
            Effect::CancelStart { service, run } => self.cancel_start(now, service, *run),
            Effect::InspectHolder { service, ports, expected } => {
                let content = self.content.get(service).copied().unwrap_or_default();
                let result = self.strangers.look(service, ports, content, expected.as_ref());
                let service = service.clone();
                self.soon(now, 0..300, Event::HolderInspected { service, result });
            }
            Effect::Adopt { service, run, pid, probes, .. } => {
                self.adopt(now, service, *run, *pid, probes);
            }
            Effect::Release { service, run } => self.strangers.release(service, *run),
            Effect::Unbind { service } => drop(self.bound.remove(service)),
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
        if !self.strangers.adopt(&service, run, pid) {
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
            self.soon(started, 1..60_000, Event::Exited { service, run, exit });
        }
    }

    /// Somebody starts a program by hand, where the port is free.
    pub(crate) fn somebody_comes(&mut self, service: &Name) {
        let Some(spec) = self.services.get(service).cloned() else { return };
        let free = !self.bound.contains(service)
            && !self.strangers.is_here(service)
            && self.processes.keys().all(|(name, _)| name != service);
        let ours = spec.program != Program::External && spec.kind == Kind::Service;
        let number = self.numbers.get(service).copied().filter(|_| !spec.ports.is_empty());
        let (true, true, Some(number)) = (free, ours, number) else { return };
        let content = self.content.get(service).copied().unwrap_or_default();
        self.strangers.appear(&mut self.random, &spec, number, content, &self.numbers);
    }

    /// Somebody ends what was started by hand.
    pub(crate) fn somebody_goes(&mut self, now: Duration) {
        if let Some((service, run)) = self.strangers.leave(&mut self.random) {
            // Whoever is adopted at this moment is said to be there first.
            let seen = now + ADOPTION;
            self.at(seen, Event::Exited { service, run, exit: Exit::Unknown });
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

    fn spawn(&mut self, now: Duration, service: &Name, run: Run, probes: usize) {
        let (name, key) = (service.clone(), (service.clone(), run));
        if self.fault(3) {
            let error = "no such file".to_owned();
            return self.soon(now, 0..100, Event::StartFailed { service: name, run, error });
        }
        if self.fault(1) {
            return; // Never heard of again.
        }
        let every = self.watchdogs.get(service).copied();
        let process = Process {
            leader: true,
            members: self.random.chance(20),
            deaf: self.fault(12),
            immortal: self.fault(1),
            every: every.unwrap_or_default(),
            pings: if self.fault(15) { self.random.below(3) } else { usize::MAX },
        };
        let pings = process.pings > 0;
        self.processes.insert(key, process);
        let started = now + self.random.millis(0..200);
        self.next_pid += 1;
        let pid = self.next_pid;
        self.at(started, Event::Started { service: name.clone(), run, pid });
        for probe in 0..probes {
            self.probe(started, service, run, probe);
        }
        if self.fault(10) {
            let others = self.processes.keys().map(|(other, _)| other.clone());
            let call = |to| Call { from: name.clone(), to, state: CallState::Waiting };
            let calls = others.map(call).collect();
            self.soon(started, 0..40_000, Event::Calls { calls });
        }
        if self.fault(10) {
            let by = self.random.millis(0..60_000);
            self.soon(started, 1..5000, Event::ExtendTimeout { service: name.clone(), run, by });
        }
        if let Some(every) = every.filter(|_| pings) {
            self.at(started + every / 2, Event::WatchdogPing { service: name.clone(), run });
        }
        self.fate(started, service, run);
    }

    /// Often it is too late.
    fn cancel_start(&mut self, now: Duration, service: &Name, run: Run) {
        let is_its_start = |event: &Event| match event {
            Event::Started { service: other, run: of, .. } => (other, *of) == (service, run),
            _ => false,
        };
        let start = self.queue.iter().find(|(_, event)| is_its_start(event));
        let Some(at) = start.map(|(at, _)| *at).filter(|_| self.random.chance(50)) else { return };
        self.queue.remove(&at);
        self.processes.remove(&(service.clone(), run));
        let error = "called off".to_owned();
        let event = Event::StartFailed { service: service.clone(), run, error };
        self.soon(now, 0..3000, event);
    }

    /// How, and when, a process ends by itself.
    fn fate(&mut self, started: Duration, service: &Name, run: Run) {
        let job = self.jobs.contains(service);
        let delay = match self.random.below(3) {
            0 => self.random.millis(0..50),
            1 => self.random.millis(50..3000),
            _ => self.random.millis(3000..60_000),
        };
        let exit = if job {
            if self.fault(15) { Exit::Code(1) } else { Exit::Code(0) }
        } else if self.fault(20) {
            *self.random.pick(&[Exit::Code(1), Exit::Code(1), Exit::Signal(11), Exit::Code(0)])
        } else {
            return;
        };
        let event = Event::Exited { service: service.clone(), run, exit };
        self.at(started + delay, event);
    }

    fn signal(&mut self, now: Duration, key: (Name, Run), kill: bool) {
        if self.strangers.minds(&key, kill) {
            let (service, run) = key;
            return self.soon(now, 0..900, Event::Exited { service, run, exit: Exit::Unknown });
        }
        let Some(process) = self.processes.get(&key).cloned() else { return };
        if (process.deaf && !kill) || process.immortal {
            return;
        }
        let (service, run) = key.clone();
        if let Some(process) = self.processes.get_mut(&key) {
            process.members &= !kill;
        }
        if process.leader {
            let code = *self.random.pick(&[Exit::Signal(15), Exit::Code(0), Exit::Code(143)]);
            let exit = if kill { Exit::Signal(9) } else { code };
            let delay = if kill { 0..20 } else { 0..1500 };
            self.soon(now, delay, Event::Exited { service, run, exit });
        } else if process.members {
            self.soon(now, 0..1000, Event::Gone { service, run });
        }
    }

    /// Whether an event still makes sense, and what follows from it.
    fn happens(&mut self, at: Duration, event: &Event) -> bool {
        match event {
            Event::Exited { service, run, .. } => {
                let key = (service.clone(), *run);
                if self.strangers.was_adopted(&key) {
                    let gone = Event::Gone { service: service.clone(), run: *run };
                    let ended = self.strangers.end(&key);
                    if ended {
                        self.soon(at, 0..3, gone);
                    }
                    return ended;
                }
                let Some(process) = self.processes.get_mut(&key) else { return true };
                if !core::mem::replace(&mut process.leader, false) {
                    return false;
                }
                let (members, immortal) = (process.members, process.immortal);
                let gone = Event::Gone { service: service.clone(), run: *run };
                if immortal || (members && process.deaf) {
                    return true;
                }
                // Members outlive their leader until they are told, or a while.
                let delay = if members { 500..20_000 } else { 0..3 };
                self.soon(at, delay, gone);
                true
            }
            Event::Gone { service, run } => {
                let key = (service.clone(), *run);
                let known = self.processes.get(&key).is_some_and(|process| !process.leader);
                if known {
                    self.processes.remove(&key);
                    self.echo(at, service, *run);
                }
                known || !self.processes.contains_key(&key)
            }
            // A process that ended says nothing any more; it may be read late, though.
            Event::Started { .. } => true,
            Event::WatchdogPing { service, run } | Event::ExtendTimeout { service, run, .. } => {
                self.processes.get(&(service.clone(), *run)).is_some_and(|process| process.leader)
            }
            Event::Apply { .. }
            | Event::TakeDown { .. }
            | Event::Restart { .. }
            | Event::Fault { .. }
            | Event::Replace { .. }
            | Event::HolderInspected { .. }
            | Event::Shutdown
            | Event::KillNow
            | Event::Linked { .. }
            | Event::Accepted { .. }
            | Event::BuildFailed { .. }
            | Event::BuildEnded { .. }
            | Event::Bound { .. }
            | Event::BindFailed { .. }
            | Event::LogTrouble { .. }
            | Event::StartFailed { .. }
            | Event::ProbePassed { .. }
            | Event::ProbeSeen { .. }
            | Event::Status { .. }
            | Event::Calls { .. }
            | Event::Tick => true,
        }
    }

    /// Events of a run that is over, said again later.
    fn echo(&mut self, now: Duration, service: &Name, run: Run) {
        if !self.random.chance(30) {
            return;
        }
        let service = service.clone();
        let event = match self.random.below(5) {
            0 => Event::Exited { service, run, exit: Exit::Code(1) },
            1 => Event::Gone { service, run },
            2 => Event::Started { service, run, pid: 1 },
            3 => Event::ProbePassed { service, run, probe: 0 },
            _ => Event::ExtendTimeout { service, run, by: Duration::from_millis(1) },
        };
        self.soon(now, 0..3000, event);
    }

    /// Processes that would survive the end, other than those beyond anybody's reach.
    pub(crate) fn survivors(&self) -> Vec<String> {
        let mortal = self.processes.iter().filter(|(_, process)| !process.immortal);
        mortal.map(|((name, run), _)| format!("{name} run {run}")).collect()
    }
}
