//! Events that cannot be true according to the history: of unknown services, of runs that never
//! started, answers without a request, and second reports of what happens once.
//!
//! Events of past runs are stale instead: they are possible, and have no effect.

use xtask_core::plan::{Port, Program};
use xtask_core::stack::{Event, Run};
use xtask_core::terms::Name;

use super::History;
use super::service::{Origin, RunHistory};

/// The runs of a service.
#[derive(Clone, Debug)]
pub(crate) struct KnownRuns {
    pub(crate) service: Name,
    /// The last one, 1 before the first.
    pub(crate) last: Run,
    /// Those that have not ended.
    pub(crate) present: Vec<Run>,
}

impl History {
    /// Whether an event is of a past run.
    pub(crate) fn is_stale(&self, event: &Event) -> bool {
        let (name, run) = match event {
            Event::Started { service, run, .. }
            | Event::StartFailed { service, run, .. }
            | Event::PortsLost { service, run }
            | Event::ProbePassed { service, run, .. }
            | Event::ProbeSeen { service, run, .. }
            | Event::Status { service, run, .. }
            | Event::ExtendTimeout { service, run, .. }
            | Event::WatchdogPing { service, run }
            | Event::HealthChecked { service, run, .. }
            | Event::Exited { service, run, .. }
            | Event::Gone { service, run } => (service, *run),
            _ => return false,
        };
        let Some(service) = self.services.get(name) else { return false };
        // The run of an `external` service ends without an effect.
        let external = service.spec.program == Program::External;
        !external && run <= service.last_run && service.numbered(run).is_none()
    }

    /// Whether the stack must report an event as unexpected, and do nothing else.
    pub(crate) fn is_unexpected(&self, event: &Event) -> bool {
        let external = |run: &RunHistory| run.origin == Origin::External;
        match event {
            Event::Started { service, run, .. } => {
                self.is_impossible(service, *run, |run| external(run) || run.started)
            }
            Event::Exited { service, run, .. } => self.is_impossible(service, *run, |run| {
                let adopted = run.origin == Origin::Adopted;
                external(run) || run.exit.is_some() || (adopted && !run.started)
            }),
            Event::StartFailed { service, run, .. } | Event::Gone { service, run } => {
                self.is_impossible(service, *run, external)
            }
            Event::PortsLost { service, run } => self
                .is_impossible(service, *run, |run| run.origin != Origin::Spawned || run.started),
            Event::ProbePassed { service, run, .. }
            | Event::ProbeSeen { service, run, .. }
            | Event::Status { service, run, .. }
            | Event::ExtendTimeout { service, run, .. }
            | Event::WatchdogPing { service, run }
            | Event::HealthChecked { service, run, .. } => {
                self.is_impossible(service, *run, |_| false)
            }
            Event::Linked { service, .. }
            | Event::Accepted { service, .. }
            | Event::BuildFailed { service, .. } => self
                .services
                .get(service)
                .is_none_or(|service| !matches!(service.spec.program, Program::Artifact { .. })),
            Event::Bound { service, ports } => {
                let service = self.services.get(service);
                let binding = service.and_then(|service| service.binding.as_ref());
                binding.is_none_or(|binding| {
                    let mut both = binding.iter().zip(ports);
                    let other = |port: &Port, number| port.number.is_some_and(|own| own != number);
                    binding.len() != ports.len() || both.any(|(port, number)| other(port, *number))
                })
            }
            Event::BindFailed { service, .. } => {
                self.services.get(service).is_none_or(|service| service.binding.is_none())
            }
            Event::PortsChecked { service, .. } => {
                self.services.get(service).is_none_or(|service| !service.checking_ports)
            }
            Event::HolderInspected { service, .. } => {
                self.services.get(service).is_none_or(|service| !service.inspecting)
            }
            Event::Fault { service, .. } | Event::LogTrouble { service, .. } => {
                !self.services.contains_key(service)
            }
            Event::Apply { .. }
            | Event::TakeDown { .. }
            | Event::Restart { .. }
            | Event::Replace { .. }
            | Event::Calls { .. }
            | Event::Shutdown
            | Event::KillNow
            | Event::BuildEnded { .. }
            | Event::BuildInterrupted
            | Event::Tick => false,
        }
    }

    fn is_impossible(
        &self,
        name: &Name,
        run: Run,
        contradicts: impl Fn(&RunHistory) -> bool,
    ) -> bool {
        let Some(service) = self.services.get(name) else { return true };
        let present = service.numbered(run).filter(|this| !this.is_over());
        run > service.last_run || present.is_some_and(contradicts)
    }

    /// Every service with the numbers of its runs.
    pub(crate) fn runs(&self) -> Vec<KnownRuns> {
        self.services.keys().map(|name| self.runs_of(name)).collect()
    }

    /// A service with the numbers of its runs.
    pub(crate) fn runs_of(&self, name: &Name) -> KnownRuns {
        let service = &self.services[name];
        let present = service.run.iter().chain(&service.beside).map(|run| run.number);
        KnownRuns {
            service: name.clone(),
            last: service.last_run.max(1),
            present: present.collect(),
        }
    }
}
