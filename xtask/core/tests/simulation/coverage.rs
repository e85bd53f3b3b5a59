//! Which events met which phases: a simulation that never tries a thing proves nothing
//! about it.
//!
//! Phases are those that the stack reports; whether what followed was right is for the
//! checkers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Event, Report};
use xtask_core::terms::Name;

/// Every phase, in the order of the table.
const PHASES: [Phase; 9] = [
    Phase::Waiting,
    Phase::Building,
    Phase::Starting,
    Phase::Ready,
    Phase::Backoff,
    Phase::Stopping,
    Phase::Stopped,
    Phase::Succeeded,
    Phase::Failed,
];

/// Every event, in the order of the table.
const EVENTS: [&str; 26] = [
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
    "looked",
    "log-trouble",
    "started",
    "start-failed",
    "probe-passed",
    "probe-seen",
    "status",
    "extend-timeout",
    "watchdog-ping",
    "exited",
    "gone",
    "calls",
    "tick",
];

/// How often which pair was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    phases: BTreeMap<Name, Phase>,
    seen: BTreeMap<(&'static str, &'static str), u64>,
}

impl Coverage {
    /// Notes an event before it is stepped.
    pub(crate) fn event(&mut self, event: &Event) {
        let kind = kind(event);
        let about = about(event);
        let met: Vec<Phase> = match about {
            None => self.phases.values().copied().collect(),
            Some(names) => {
                names.iter().filter_map(|name| self.phases.get(*name).copied()).collect()
            }
        };
        for phase in met {
            *self.seen.entry((kind, phase.as_str())).or_default() += 1;
        }
        if let Event::Apply { plan } = event {
            for service in &plan.services {
                self.phases.entry(service.name.clone()).or_insert(Phase::Stopped);
            }
        }
    }

    /// Notes what came of it.
    pub(crate) fn effects(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Report(Report::Phase { service, phase, .. }) = effect {
                self.phases.insert(service.clone(), *phase);
            }
        }
    }

    /// Adds what another play has seen.
    pub(crate) fn add(&mut self, other: &Self) {
        for (pair, count) in &other.seen {
            *self.seen.entry(*pair).or_default() += count;
        }
    }

    /// A row an event, a column a phase.
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

    /// The pairs that were seen less often than that.
    pub(crate) fn rarer_than(&self, least: u64) -> Vec<String> {
        let pairs = EVENTS.iter().flat_map(|event| PHASES.iter().map(move |phase| (event, phase)));
        let rare = pairs.filter(|(event, phase)| self.count(event, **phase) < least);
        rare.map(|(event, phase)| format!("`{event}` while {}", phase.as_str())).collect()
    }

    fn count(&self, event: &'static str, phase: Phase) -> u64 {
        self.seen.get(&(event, phase.as_str())).copied().unwrap_or_default()
    }
}

/// The name of an event.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Apply { .. } => "apply",
        Event::TakeDown { .. } => "take-down",
        Event::Restart { .. } => "restart",
        Event::Shutdown => "shutdown",
        Event::KillNow => "kill-now",
        Event::Fault { .. } => "fault",
        Event::Linked { .. } => "linked",
        Event::Accepted { .. } => "accepted",
        Event::BuildFailed { .. } => "build-failed",
        Event::BuildEnded { .. } => "build-ended",
        Event::Bound { .. } => "bound",
        Event::BindFailed { .. } => "bind-failed",
        Event::Started { .. } => "started",
        Event::StartFailed { .. } => "start-failed",
        Event::ProbePassed { .. } => "probe-passed",
        Event::ProbeSeen { .. } => "probe-seen",
        Event::Status { .. } => "status",
        Event::ExtendTimeout { .. } => "extend-timeout",
        Event::WatchdogPing { .. } => "watchdog-ping",
        Event::Exited { .. } => "exited",
        Event::Gone { .. } => "gone",
        Event::Tick => "tick",
        Event::Replace { .. } => "replace",
        Event::HolderInspected { .. } => "looked",
        Event::Calls { .. } => "calls",
        Event::LogTrouble { .. } => "log-trouble",
    }
}

/// The services that an event names; none if it is about all.
fn about(event: &Event) -> Option<Vec<&Name>> {
    match event {
        Event::Apply { plan } => Some(plan.services.iter().map(|service| &service.name).collect()),
        Event::TakeDown { services, .. }
        | Event::Restart { services }
        | Event::Replace { services } => Some(services.iter().collect()),
        Event::Fault { service, .. }
        | Event::Linked { service, .. }
        | Event::Accepted { service, .. }
        | Event::BuildFailed { service, .. }
        | Event::Bound { service, .. }
        | Event::BindFailed { service, .. }
        | Event::Started { service, .. }
        | Event::StartFailed { service, .. }
        | Event::ProbePassed { service, .. }
        | Event::ProbeSeen { service, .. }
        | Event::Status { service, .. }
        | Event::ExtendTimeout { service, .. }
        | Event::WatchdogPing { service, .. }
        | Event::Exited { service, .. }
        | Event::HolderInspected { service, .. }
        | Event::LogTrouble { service, .. }
        | Event::Gone { service, .. } => Some(vec![service]),
        Event::Shutdown
        | Event::KillNow
        | Event::BuildEnded { .. }
        | Event::Calls { .. }
        | Event::Tick => None,
    }
}
