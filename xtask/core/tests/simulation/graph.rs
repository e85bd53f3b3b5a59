//! Random workspaces, random edits of them, and their plans.
//!
//! As in a plan of the planner, edges name only services of the plan, and dependencies are first.

use std::collections::BTreeSet;

use xtask_core::plan::{Faults, Health, Plan, Probe, Program, Service, StartOrder};
use xtask_core::terms::{Adopt, Condition, Kind, Name, Restart};

use crate::random::Random;
use crate::support::{self, With};

/// Services in an order in which `depends-on` names only earlier ones.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub(crate) services: Vec<Service>,
}

impl Workspace {
    pub(crate) fn random(random: &mut Random) -> Self {
        let count = random.range(1..13);
        let mut this = Self { services: Vec::new() };
        for index in 0..count {
            let service = random_service(random, &name(index));
            this.services.push(service);
            this.connect(random, index);
        }
        for index in 0..count {
            if count > 1 && random.chance(30) {
                this.add_use(random, index);
            }
        }
        this
    }

    /// Replaces the dependencies of a service by random earlier services.
    pub(crate) fn connect(&mut self, random: &mut Random, index: usize) {
        let mut service = self.services[index].clone();
        service.depends_on.clear();
        let count = if index == 0 { 0 } else { random.below(4) };
        let chosen: BTreeSet<usize> = (0..count).map(|_| random.below(index)).collect();
        for on in chosen {
            let other = &self.services[on];
            let condition = match other.kind {
                Kind::Job if random.chance(70) => Condition::Succeeded,
                Kind::Job | Kind::Service if random.chance(30) => Condition::Started,
                Kind::Job | Kind::Service => Condition::Ready,
            };
            service = service.after(&other.name.clone(), condition);
            if let Some(edge) = service.depends_on.last_mut() {
                edge.restart = random.chance(25);
            }
        }
        self.services[index] = service;
    }

    fn add_use(&mut self, random: &mut Random, index: usize) {
        let of = random.below(self.services.len());
        let name = self.services[of].name.clone();
        let service = &self.services[index];
        let known = service.uses.iter().any(|used| used.of == name)
            || service.depends_on.iter().any(|dependency| dependency.on == name);
        if of != index && !known {
            self.services[index] = service.clone().using(&name);
        }
    }

    /// Edits a random manifest.
    pub(crate) fn edit(&mut self, random: &mut Random) {
        let index = random.below(self.services.len());
        let service = &mut self.services[index];
        match random.below(10) {
            0 => {
                service.args =
                    vec![support::setting(format!("v{}", random.below(9)).as_str().into())]
            }
            1 => service.start_timeout = random.millis(500..40_000),
            2 => service.stop.timeout = random.millis(0..10_000),
            3 => service.restart = policy(random),
            4 => service.probes = probes(random, service),
            5 => {
                for port in &mut service.ports {
                    port.number = Some(fixed_number(random));
                }
            }
            6 => self.connect(random, index),
            7 => self.swap_ports(random, index),
            8 => service.health = health(random, service),
            _ => self.add_use(random, index),
        }
    }

    /// Exchanges the numbers of two services.
    fn swap_ports(&mut self, random: &mut Random, index: usize) {
        let other = random.below(self.services.len());
        let number = |service: &Service| service.ports.first().and_then(|port| port.number);
        let numbers = (number(&self.services[index]), number(&self.services[other]));
        if let (Some(_), Some(_)) = numbers {
            self.services[index].ports[0].number = numbers.1;
            self.services[other].ports[0].number = numbers.0;
        }
    }

    /// The plan of a random `up`.
    pub(crate) fn plan(&self, random: &mut Random) -> Plan {
        let mut wanted: BTreeSet<usize> = BTreeSet::new();
        if random.chance(60) {
            wanted.extend(0..self.services.len());
        } else {
            wanted.insert(random.below(self.services.len()));
        }
        let requested = wanted.iter().map(|index| self.services[*index].name.clone()).collect();
        let closure = self.reachable(wanted);
        let mut services = Vec::new();
        for index in closure {
            services.push(self.with_addresses(index));
        }
        let mut plan = support::plan(services);
        let whole = plan.services.len() == self.services.len() && random.chance(70);
        let names = self.services.iter().map(|service| service.name.clone());
        plan.declared = whole.then(|| names.collect());
        plan.wanted = requested;
        plan.faults = self.faults(random);
        plan.replace = random.chance(15);
        if random.chance(20) {
            plan.restart = vec![random.pick(&plan.services).name.clone()];
        }
        plan
    }

    /// Sometimes starts are slow or in random order.
    fn faults(&self, random: &mut Random) -> Faults {
        let mut faults = Faults::default();
        if random.chance(20) {
            faults.start_order = StartOrder::Random { seed: random.next() };
        }
        if random.chance(20) {
            let name = random.pick(&self.services).name.clone();
            faults.slow.insert(name, random.millis(0..5_000));
        }
        faults
    }

    /// The service with a variable for each address that it uses.
    fn with_addresses(&self, index: usize) -> Service {
        let mut service = self.services[index].clone();
        let named: Vec<Name> = service.edges().cloned().collect();
        for name in named {
            let other = self.index(&name).unwrap();
            if !self.services[other].ports.is_empty() {
                service = service.calls(&name.to_uppercase(), &name);
            }
        }
        service
    }

    fn reachable(&self, from: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut open: Vec<usize> = from.into_iter().collect();
        let mut reached = BTreeSet::new();
        while let Some(index) = open.pop() {
            if reached.insert(index) {
                let named = self.services[index].edges();
                open.extend(named.filter_map(|name| self.index(name)));
            }
        }
        reached
    }

    fn index(&self, name: &Name) -> Option<usize> {
        self.services.iter().position(|service| service.name == *name)
    }
}

fn name(index: usize) -> String {
    format!("s{index:02}")
}

/// Few enough that services want the port of another one.
pub(crate) fn fixed_number(random: &mut Random) -> u16 {
    u16::try_from(random.range(5000..5100)).unwrap()
}

pub(crate) fn random_service(random: &mut Random, name: &str) -> Service {
    let mut service = support::service(name);
    match random.below(20) {
        0..=9 => service = service.built(),
        10 => service = service.external(),
        _ => {}
    }
    let external = service.program == Program::External;
    if !external && random.chance(20) {
        service = service.job();
    }
    if external || random.chance(60) {
        let fixed = external || random.chance(50);
        let number = fixed.then(|| fixed_number(random));
        service = service.port(number);
        service.socket_activation = !external && random.chance(60);
    }
    service.probes = probes(random, &service);
    service.health = health(random, &service);
    service.restart = policy(random);
    service.adopt = *random.pick(&[Adopt::SameBinary, Adopt::SameBinary, Adopt::Any, Adopt::Never]);
    service.start_timeout = random.millis(500..40_000);
    service.stop.timeout = random.millis(0..10_000);
    // No draw of its own, which would change every other play of a seed.
    service.once = service.start_timeout.as_millis().is_multiple_of(2);
    if random.chance(15) {
        service = service.watchdog(random.millis(5_000..20_000));
    }
    service
}

pub(crate) fn probes(random: &mut Random, service: &Service) -> Vec<Probe> {
    let mut out = Vec::new();
    if service.program == Program::External || (!service.ports.is_empty() && random.chance(40)) {
        out.push(Probe::Tcp { port: 0 });
    }
    if service.program != Program::External && random.chance(50) {
        out.push(Probe::Notify);
    }
    out
}

fn health(random: &mut Random, service: &Service) -> Option<Health> {
    let possible = service.kind == Kind::Service && !service.ports.is_empty();
    (possible && random.chance(60)).then(|| Health {
        probe: Probe::Http { path: "/healthz".to_owned(), status: Vec::new(), port: 0 },
        every: random.millis(200..6_000),
        restart: random.chance(20),
    })
}

fn policy(random: &mut Random) -> Restart {
    *random.pick(&[Restart::No, Restart::OnFailure, Restart::OnFailure, Restart::Always])
}
