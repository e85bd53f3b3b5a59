//! Programs on the ports of services that the stack did not start.
//!
//! They start and end at random. The checkers decide what a stack may do with them.

use std::collections::{BTreeMap, BTreeSet};

use xtask_core::plan::{Port, Program, Service};
use xtask_core::sorted::SortedMap;
use xtask_core::stack::effect::ExpectedProgram;
use xtask_core::stack::event::{InspectedHolder, InspectionResult, PortHolder, StartedBy};
use xtask_core::stack::{BindFailure, Run};
use xtask_core::terms::Name;

use crate::random::Random;

#[derive(Debug, Default)]
pub(crate) struct PortHolders {
    /// The port holders by the service of their port.
    present: BTreeMap<Name, Holder>,
    adopted: BTreeMap<(Name, Run), u32>,
    ever_adopted: BTreeSet<(Name, Run)>,
}

#[derive(Clone, Debug)]
struct Holder {
    port: u16,
    kind: Kind,
    ignores_stop: bool,
    content: u64,
    found: InspectedHolder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The service's own program.
    Copy,
    /// Another program.
    Foreign,
    /// The system hides it.
    Hidden,
}

impl Holder {
    /// Whether inspections do not find it, although a bind does.
    fn is_missed(&self) -> bool {
        self.found.holder.pid.is_multiple_of(32)
    }
}

impl PortHolders {
    /// Starts a program on the port of a service. `numbers` are the present ports of all services.
    pub(crate) fn start(
        &mut self,
        random: &mut Random,
        service: &Service,
        port: u16,
        content: u64,
        numbers: &BTreeMap<Name, u16>,
    ) {
        let name = &service.name;
        let kind = match random.below(20) {
            0 => Kind::Hidden,
            1 | 2 => Kind::Foreign,
            _ => Kind::Copy,
        };
        let program = match (kind, &service.program) {
            (Kind::Foreign | Kind::Hidden, _) => "/bin/foreign".to_owned(),
            (Kind::Copy, Program::Artifact { .. }) => format!("/target/debug/{name}"),
            (Kind::Copy, _) => format!("/bin/{name}"),
        };
        let mut variables: SortedMap<String, String> = (service.edges())
            .filter_map(|name| Some((name.to_uppercase(), numbers.get(name)?.to_string())))
            .collect();
        let mut elsewhere = Vec::new();
        if random.chance(20) {
            match variables.values_mut().next() {
                Some(value) if random.chance(70) => *value = "1".to_owned(),
                _ => elsewhere.push(1),
            }
        }
        let started_by = match random.below(20) {
            0 => StartedBy::ThisStack,
            1 => StartedBy::OtherStack,
            2 => StartedBy::OtherUser,
            _ => StartedBy::Hand,
        };
        let holder = PortHolder {
            pid: u32::try_from(random.range(100_000..900_000)).unwrap(),
            program: program.clone(),
            command: program,
            user: "user".to_owned(),
            connection: None,
            stack: None,
        };
        let found = InspectedHolder {
            holder,
            age: random.millis(0..90_000),
            same: false,
            deleted: false,
            args: service.args.iter().map(|arg| arg.value.to_string()).collect(),
            variables: Some(variables),
            elsewhere,
            started_by,
        };
        let ignores_stop = random.chance(20);
        let holder = Holder { port, kind, ignores_stop, content, found };
        self.present.insert(name.clone(), holder);
    }

    /// Whether the port of a service has a holder.
    pub(crate) fn has(&self, service: &Name) -> bool {
        self.present.contains_key(service)
    }

    /// The failure of a `Bind`, if the first port has a holder.
    pub(crate) fn bind_failure(&self, service: &Name, ports: &[Port]) -> Option<BindFailure> {
        let holder = self.at(service, ports)?;
        let (port, hidden) = (holder.port, holder.kind == Kind::Hidden);
        Some(BindFailure::Held {
            port,
            holder: (!hidden).then(|| Box::new(holder.found.holder.clone())),
            user: hidden.then(|| "user".to_owned()),
        })
    }

    /// The result of an inspection. `content` is that of the present build.
    pub(crate) fn inspect(
        &self,
        service: &Name,
        ports: &[Port],
        content: u64,
        expected: Option<&ExpectedProgram>,
    ) -> InspectionResult {
        let Some(holder) = self.at(service, ports).filter(|holder| !holder.is_missed()) else {
            return InspectionResult::Free;
        };
        if holder.kind == Kind::Hidden {
            return InspectionResult::Hidden;
        }
        let mut found = holder.found.clone();
        found.same = expected.is_some() && holder.kind == Kind::Copy && holder.content == content;
        found.deleted = !found.same;
        let asked = expected.map(|expected| expected.variables.clone()).unwrap_or_default();
        if let Some(variables) = &mut found.variables {
            variables.retain(|name, _| asked.contains(name));
        }
        InspectionResult::Process(Box::new(found))
    }

    fn at(&self, service: &Name, ports: &[Port]) -> Option<&Holder> {
        let holder = self.present.get(service)?;
        (ports.first()?.number == Some(holder.port)).then_some(holder)
    }

    /// Adopts a process as a run. Returns false if it is gone.
    pub(crate) fn adopt(&mut self, service: &Name, run: Run, pid: u32) -> bool {
        let present = self.present.get(service).is_some_and(|s| s.found.holder.pid == pid);
        if present {
            self.adopted.insert((service.clone(), run), pid);
            self.ever_adopted.insert((service.clone(), run));
        }
        present
    }

    pub(crate) fn release(&mut self, service: &Name, run: Run) {
        self.adopted.remove(&(service.clone(), run));
    }

    /// Whether a run was ever adopted.
    pub(crate) fn was_adopted(&self, key: &(Name, Run)) -> bool {
        self.ever_adopted.contains(key)
    }

    /// Whether an adopted process ends on a signal.
    pub(crate) fn ends_on(&self, key: &(Name, Run), kill: bool) -> bool {
        let adopted = self.adopted.contains_key(key);
        adopted && (kill || self.present.get(&key.0).is_some_and(|holder| !holder.ignores_stop))
    }

    /// Ends an adopted process. Returns false if the stack does not watch it any more.
    pub(crate) fn end(&mut self, key: &(Name, Run)) -> bool {
        let watched = self.adopted.remove(key).is_some();
        if watched {
            self.present.remove(&key.0);
        }
        watched
    }

    /// Stops one of them, unless it is adopted. Returns the run of an adopted one.
    pub(crate) fn stop_one(&mut self, random: &mut Random) -> Option<(Name, Run)> {
        let names: Vec<Name> = self.present.keys().cloned().collect();
        if names.is_empty() {
            return None;
        }
        let name = random.pick(&names);
        let run = self.adopted.keys().find(|(adopted, _)| adopted == name).cloned();
        if run.is_none() {
            self.present.remove(name);
        }
        run
    }
}
