//! Simulates the processes of runs: start, pings, signals and exit.

use std::time::Duration;

use xtask_core::calls::{Call, CallState};
use xtask_core::plan::Service;
use xtask_core::sorted::SortedMap;
use xtask_core::stack::{Event, Exit, Run};
use xtask_core::terms::{Kind, Name};

use super::World;

#[derive(Clone, Debug)]
pub(super) struct Process {
    leader: bool,
    members: bool,
    ignores_stop: bool,
    pub(super) survives_kill: bool,
    watchdog: Duration,
    /// How many watchdog pings it still sends.
    pings: usize,
}

impl World {
    pub(super) fn ping_again(&mut self, now: Duration, event: &Event) {
        let Event::WatchdogPing { service, run } = event else { return };
        let process = self.processes.get_mut(&(service.clone(), *run));
        let Some(process) = process.filter(|process| process.leader) else { return };
        process.pings = process.pings.saturating_sub(1);
        if process.pings > 0 {
            let at = now + process.watchdog / 2;
            self.at(at, event.clone());
        }
    }

    pub(super) fn spawn(&mut self, now: Duration, service: &Name, run: Run, probes: usize) {
        let (name, key) = (service.clone(), (service.clone(), run));
        if self.fault(3) {
            let error = "no such file".to_owned();
            return self.soon(now, 0..100, Event::StartFailed { service: name, run, error });
        }
        let own = |spec: &Service| !spec.ports.is_empty() && !spec.socket_activation;
        if self.services.get(service).is_some_and(own) && self.fault(5) {
            self.bound.remove(service);
            return self.soon(now, 0..5, Event::PortsLost { service: name, run });
        }
        if self.fault(1) {
            return; // It never answers.
        }
        let watchdog = self.services.get(service).and_then(|service| service.watchdog);
        let process = Process {
            leader: true,
            members: self.random.chance(20),
            ignores_stop: self.fault(12),
            survives_kill: self.fault(1),
            watchdog: watchdog.unwrap_or_default(),
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
            self.soon(started, 0..40_000, Event::Calls { calls, elsewhere: SortedMap::new() });
        }
        if self.fault(10) {
            let by = self.random.millis(0..60_000);
            self.soon(started, 1..5000, Event::ExtendTimeout { service: name.clone(), run, by });
        }
        if let Some(watchdog) = watchdog.filter(|_| pings) {
            self.at(started + watchdog / 2, Event::WatchdogPing { service: name.clone(), run });
        }
        self.schedule_exit(started, service, run);
    }

    /// Cancels a start, often too late.
    pub(super) fn cancel_start(&mut self, now: Duration, service: &Name, run: Run) {
        let is_its_start = |event: &Event| match event {
            Event::Started { service: other, run: of, .. } => (other, *of) == (service, run),
            _ => false,
        };
        let start = self.queue.iter().find(|(_, event)| is_its_start(event));
        let Some(at) = start.map(|(at, _)| *at).filter(|_| self.random.chance(50)) else { return };
        self.queue.remove(&at);
        self.processes.remove(&(service.clone(), run));
        let error = "cancelled".to_owned();
        let event = Event::StartFailed { service: service.clone(), run, error };
        self.soon(now, 0..3000, event);
    }

    /// Schedules the exit of a process that ends by itself.
    fn schedule_exit(&mut self, started: Duration, service: &Name, run: Run) {
        let kind = self.services.get(service).map(|service| service.kind);
        let delay = match self.random.below(3) {
            0 => self.random.millis(0..50),
            1 => self.random.millis(50..3000),
            _ => self.random.millis(3000..60_000),
        };
        let exit = if kind == Some(Kind::Job) {
            if self.fault(15) { Exit::Code(1) } else { Exit::Code(0) }
        } else if self.fault(20) {
            *self.random.pick(&[Exit::Code(1), Exit::Code(1), Exit::Signal(11), Exit::Code(0)])
        } else {
            return;
        };
        let event = Event::Exited { service: service.clone(), run, exit, clue: None };
        self.at(started + delay, event);
    }

    pub(super) fn signal(&mut self, now: Duration, key: (Name, Run), kill: bool) {
        if self.port_holders.ends_on(&key, kill) {
            let (service, run) = key;
            return self.soon(
                now,
                0..900,
                Event::Exited { service, run, exit: Exit::Unknown, clue: None },
            );
        }
        let Some(process) = self.processes.get(&key).cloned() else { return };
        if (process.ignores_stop && !kill) || process.survives_kill {
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
            self.soon(now, delay, Event::Exited { service, run, exit, clue: None });
        } else if process.members {
            self.soon(now, 0..1000, Event::Gone { service, run });
        }
    }

    /// Applies an event to the processes. Returns false if it cannot happen any more.
    pub(super) fn deliver(&mut self, at: Duration, event: &Event) -> bool {
        match event {
            Event::Exited { service, run, .. } => {
                let key = (service.clone(), *run);
                if self.port_holders.was_adopted(&key) {
                    let gone = Event::Gone { service: service.clone(), run: *run };
                    let ended = self.port_holders.end(&key);
                    if ended {
                        self.soon(at, 0..3, gone);
                    }
                    return ended;
                }
                let Some(process) = self.processes.get_mut(&key) else { return true };
                if !core::mem::replace(&mut process.leader, false) {
                    return false;
                }
                let members = process.members;
                let remains = process.survives_kill || (members && process.ignores_stop);
                let gone = Event::Gone { service: service.clone(), run: *run };
                if remains {
                    return true;
                }
                // Members outlive their leader until the stop signal, or for a while.
                let delay = if members { 500..20_000 } else { 0..3 };
                self.soon(at, delay, gone);
                true
            }
            Event::Gone { service, run } => {
                let key = (service.clone(), *run);
                let known = self.processes.get(&key).is_some_and(|process| !process.leader);
                if known {
                    self.processes.remove(&key);
                    self.repeat(at, service, *run);
                }
                known || !self.processes.contains_key(&key)
            }
            Event::WatchdogPing { service, run } | Event::ExtendTimeout { service, run, .. } => {
                self.processes.get(&(service.clone(), *run)).is_some_and(|process| process.leader)
            }
            _ => true,
        }
    }

    /// Sends an event of a past run again.
    fn repeat(&mut self, now: Duration, service: &Name, run: Run) {
        if !self.random.chance(30) {
            return;
        }
        let service = service.clone();
        let event = match self.random.below(5) {
            0 => Event::Exited { service, run, exit: Exit::Code(1), clue: None },
            1 => Event::Gone { service, run },
            2 => Event::Started { service, run, pid: 1 },
            3 => Event::ProbePassed { service, run, probe: 0 },
            _ => Event::ExtendTimeout { service, run, by: Duration::from_millis(1) },
        };
        self.soon(now, 0..3000, event);
    }
}
