//! Counts each event in each reported phase. A pair that no play tries is not tested.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Event, Report};
use xtask_core::terms::Name;

const PHASES: [Phase; 10] = [
    Phase::Waiting,
    Phase::Building,
    Phase::Starting,
    Phase::Ready,
    Phase::Unhealthy,
    Phase::Backoff,
    Phase::Stopping,
    Phase::Stopped,
    Phase::Succeeded,
    Phase::Failed,
];

const EVENTS: [&str; 29] = [
    "apply",
    "take-down",
    "restart",
    "replace",
    "shutdown",
    "kill-now",
    "fault",
    "linked",
    "accepted",
    "build-failed",
    "build-ended",
    "bound",
    "bind-failed",
    "ports-checked",
    "looked",
    "log-trouble",
    "started",
    "start-failed",
    "ports-lost",
    "probe-passed",
    "probe-seen",
    "status",
    "extend-timeout",
    "watchdog-ping",
    "health-checked",
    "exited",
    "gone",
    "calls",
    "tick",
];

/// How often plays tried each event in each phase.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    phases: BTreeMap<Name, Phase>,
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

impl Coverage {
    /// Counts an event before its step.
    pub(crate) fn event(&mut self, event: &Event) {
        let (kind, services) = describe(event);
        let phases: Vec<Phase> = match services {
            None => self.phases.values().copied().collect(),
            Some(names) => {
                names.iter().filter_map(|name| self.phases.get(*name).copied()).collect()
            }
        };
        for phase in phases {
            *self.counts.entry((kind, phase.as_str())).or_default() += 1;
        }
        if let Event::Apply { plan } = event {
            for service in &plan.services {
                self.phases.entry(service.name.clone()).or_insert(Phase::Stopped);
            }
        }
    }

    /// Records the phases that an event caused.
    pub(crate) fn effects(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Report(Report::Phase { service, phase, .. }) = effect {
                self.phases.insert(service.clone(), *phase);
            }
        }
    }

    /// Adds the counts of another play.
    pub(crate) fn add(&mut self, other: &Self) {
        for (pair, count) in &other.counts {
            *self.counts.entry(*pair).or_default() += count;
        }
    }

    /// A table with a row for each event and a column for each phase.
    pub(crate) fn table(&self) -> String {
        let mut out = format!("{:>15}", "");
        for phase in PHASES {
            let _ = write!(out, " {:>9}", phase.as_str());
        }
        for event in EVENTS {
            let _ = write!(out, "\n{event:>15}");
            for phase in PHASES {
                let _ = write!(out, " {:>9}", self.count(event, phase));
            }
        }
        out + "\n"
    }

    /// The pairs with lower counts.
    pub(crate) fn rarer_than(&self, least: u64) -> Vec<String> {
        let pairs = EVENTS.iter().flat_map(|event| PHASES.iter().map(move |phase| (event, phase)));
        let rare = pairs.filter(|(event, phase)| self.count(event, **phase) < least);
        rare.map(|(event, phase)| format!("`{event}` while {}", phase.as_str())).collect()
    }

    fn count(&self, event: &'static str, phase: Phase) -> u64 {
        self.counts.get(&(event, phase.as_str())).copied().unwrap_or_default()
    }
}

/// The name of an event, and its services; none if it is about all.
fn describe(event: &Event) -> (&'static str, Option<Vec<&Name>>) {
    let one = |service| Some(vec![service]);
    match event {
        Event::Apply { plan } => {
            ("apply", Some(plan.services.iter().map(|service| &service.name).collect()))
        }
        Event::TakeDown { services, .. } => ("take-down", Some(services.iter().collect())),
        Event::Restart { services } => ("restart", Some(services.iter().collect())),
        Event::Replace { services } => ("replace", Some(services.iter().collect())),
        Event::Shutdown => ("shutdown", None),
        Event::KillNow => ("kill-now", None),
        Event::BuildEnded { .. } => ("build-ended", None),
        Event::BuildInterrupted => ("build-interrupted", None),
        Event::Calls { .. } => ("calls", None),
        Event::Tick => ("tick", None),
        Event::Fault { service, .. } => ("fault", one(service)),
        Event::Linked { service, .. } => ("linked", one(service)),
        Event::Accepted { service, .. } => ("accepted", one(service)),
        Event::BuildFailed { service, .. } => ("build-failed", one(service)),
        Event::Bound { service, .. } => ("bound", one(service)),
        Event::BindFailed { service, .. } => ("bind-failed", one(service)),
        Event::PortsChecked { service, .. } => ("ports-checked", one(service)),
        Event::HolderInspected { service, .. } => ("looked", one(service)),
        Event::LogTrouble { service, .. } => ("log-trouble", one(service)),
        Event::Started { service, .. } => ("started", one(service)),
        Event::StartFailed { service, .. } => ("start-failed", one(service)),
        Event::PortsLost { service, .. } => ("ports-lost", one(service)),
        Event::ProbePassed { service, .. } => ("probe-passed", one(service)),
        Event::ProbeSeen { service, .. } => ("probe-seen", one(service)),
        Event::Status { service, .. } => ("status", one(service)),
        Event::ExtendTimeout { service, .. } => ("extend-timeout", one(service)),
        Event::WatchdogPing { service, .. } => ("watchdog-ping", one(service)),
        Event::HealthChecked { service, .. } => ("health-checked", one(service)),
        Event::Exited { service, .. } => ("exited", one(service)),
        Event::Gone { service, .. } => ("gone", one(service)),
    }
}
