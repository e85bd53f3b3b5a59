//! Programs that somebody started by hand, or that are somebody else's, on the ports of
//! services.
//!
//! They come and go as people like. What a stack makes of them is for the checkers.

use std::collections::{BTreeMap, BTreeSet};

use xtask_core::plan::{Port, Program, Service};
use xtask_core::stack::effect::ExpectedProgram;
use xtask_core::stack::event::{InspectedHolder, InspectionResult, PortHolder, StartedBy};
use xtask_core::stack::{BindFailure, Run};
use xtask_core::terms::Name;

use crate::random::Random;

/// Who is there, by the service whose first port they hold.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    here: BTreeMap<Name, Stranger>,
    adopted: BTreeMap<(Name, Run), u32>,
    ever: BTreeSet<(Name, Run)>,
}

#[derive(Clone, Debug)]
struct Stranger {
    port: u16,
    kind: Kind,
    deaf: bool,
    content: u64,
    found: InspectedHolder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The service's own program.
    Copy,
    /// Another program.
    Foreign,
    /// Nobody sees who it is.
    Hidden,
}

impl Strangers {
    /// Somebody starts a program on a service's port. `numbers` are the ports that others
    /// have at this moment.
    pub(crate) fn appear(
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
            (Kind::Foreign | Kind::Hidden, _) => "/bin/stranger".to_owned(),
            (Kind::Copy, Program::Artifact { .. }) => format!("/target/debug/{name}"),
            (Kind::Copy, _) => format!("/bin/{name}"),
        };
        let named = (service.depends_on.iter().map(|edge| &edge.on))
            .chain(service.uses.iter().map(|used| &used.of));
        let mut variables: BTreeMap<String, String> = named
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
            _ => StartedBy::Hand,
        };
        let holder = PortHolder {
            pid: u32::try_from(random.range(100_000..900_000)).unwrap(),
            program: program.clone(),
            command: program,
            user: "somebody".to_owned(),
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
        let deaf = random.chance(20);
        self.here.insert(name.clone(), Stranger { port, kind, deaf, content, found });
    }

    /// Whether somebody is on a service's port.
    pub(crate) fn is_here(&self, service: &Name) -> bool {
        self.here.contains_key(service)
    }

    /// Why a service cannot have its ports, if somebody has the first of them.
    pub(crate) fn holds(&self, service: &Name, ports: &[Port]) -> Option<BindFailure> {
        let stranger = self.at(service, ports)?;
        let (port, hidden) = (stranger.port, stranger.kind == Kind::Hidden);
        Some(BindFailure::Held {
            port,
            holder: (!hidden).then(|| stranger.found.holder.clone()),
            user: hidden.then(|| "somebody".to_owned()),
        })
    }

    /// What a close look shows. `content` is that of the present build.
    pub(crate) fn look(
        &self,
        service: &Name,
        ports: &[Port],
        content: u64,
        expected: Option<&ExpectedProgram>,
    ) -> InspectionResult {
        let Some(stranger) = self.at(service, ports) else { return InspectionResult::Free };
        if stranger.kind == Kind::Hidden {
            return InspectionResult::Hidden;
        }
        let mut found = stranger.found.clone();
        found.same =
            expected.is_some() && stranger.kind == Kind::Copy && stranger.content == content;
        found.deleted = !found.same;
        let asked = expected.map(|expected| expected.variables.clone()).unwrap_or_default();
        if let Some(variables) = &mut found.variables {
            variables.retain(|name, _| asked.contains(name));
        }
        InspectionResult::Process(found)
    }

    fn at(&self, service: &Name, ports: &[Port]) -> Option<&Stranger> {
        let stranger = self.here.get(service)?;
        (ports.first()?.number == Some(stranger.port)).then_some(stranger)
    }

    /// Takes a process as a run; false if it is gone.
    pub(crate) fn adopt(&mut self, service: &Name, run: Run, pid: u32) -> bool {
        let there = self.here.get(service).is_some_and(|s| s.found.holder.pid == pid);
        if there {
            self.adopted.insert((service.clone(), run), pid);
            self.ever.insert((service.clone(), run));
        }
        there
    }

    pub(crate) fn release(&mut self, service: &Name, run: Run) {
        self.adopted.remove(&(service.clone(), run));
    }

    /// Whether a run is, or was, a process that was adopted.
    pub(crate) fn was_adopted(&self, key: &(Name, Run)) -> bool {
        self.ever.contains(key)
    }

    /// Whether an adopted process minds a signal.
    pub(crate) fn minds(&self, key: &(Name, Run), kill: bool) -> bool {
        let there = self.adopted.contains_key(key);
        there && (kill || self.here.get(&key.0).is_some_and(|stranger| !stranger.deaf))
    }

    /// An adopted process ends; false if nobody watches it any more.
    pub(crate) fn end(&mut self, key: &(Name, Run)) -> bool {
        let watched = self.adopted.remove(key).is_some();
        if watched {
            self.here.remove(&key.0);
        }
        watched
    }

    /// Somebody ends one of them. The run that it is adopted as, if it is.
    pub(crate) fn leave(&mut self, random: &mut Random) -> Option<(Name, Run)> {
        let names: Vec<Name> = self.here.keys().cloned().collect();
        if names.is_empty() {
            return None;
        }
        let name = random.pick(&names);
        let run = self.adopted.keys().find(|(adopted, _)| adopted == name).cloned();
        if run.is_none() {
            self.here.remove(name);
        }
        run
    }
}
