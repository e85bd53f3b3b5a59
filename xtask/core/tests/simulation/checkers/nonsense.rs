//! Events that cannot be true, as far as everything that was seen tells: of unknown
//! services, of runs that were never started, answers to what was not asked, and what
//! can happen only once said twice.
//!
//! Those of runs that are over are no nonsense, only late.

use xtask_core::plan::Program;
use xtask_core::stack::{Event, Run};
use xtask_core::terms::Name;

use super::Observed;
use super::seen::{Life, Seen, Whose};

impl Observed {
    /// Whether an event must be reported and have no other effect.
    pub(crate) fn is_nonsense(&self, event: &Event) -> bool {
        match event {
            Event::Started { service, run, .. } => {
                self.is_impossible(service, *run, |life| life.external || life.started)
            }
            Event::Exited { service, run, .. } => self.is_impossible(service, *run, |life| {
                let adopted = life.whose == Whose::LeftAlone;
                life.external || life.exit.is_some() || (adopted && !life.started)
            }),
            Event::StartFailed { service, run, .. } | Event::Gone { service, run } => {
                self.is_impossible(service, *run, |life| life.external)
            }
            Event::ProbePassed { service, run, .. }
            | Event::ProbeSeen { service, run, .. }
            | Event::Status { service, run, .. }
            | Event::ExtendTimeout { service, run, .. }
            | Event::WatchdogPing { service, run } => self.is_impossible(service, *run, |_| false),
            Event::Linked { service, .. }
            | Event::Accepted { service, .. }
            | Event::BuildFailed { service, .. } => self
                .services
                .get(service)
                .is_none_or(|seen| !matches!(seen.spec.program, Program::Artifact { .. })),
            Event::Bound { service, ports } => {
                let asked = self.services.get(service).and_then(|seen| seen.ports_asked.as_ref());
                asked.is_none_or(|asked| asked.len() != ports.len())
            }
            Event::BindFailed { service, .. } => {
                self.services.get(service).is_none_or(|seen| seen.ports_asked.is_none())
            }
            Event::HolderInspected { service, .. } => {
                self.services.get(service).is_none_or(|seen| !seen.looking)
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
            | Event::Tick => false,
        }
    }

    fn is_impossible(&self, name: &Name, run: Run, said: impl Fn(&Life) -> bool) -> bool {
        let Some(seen) = self.services.get(name) else { return true };
        let life = seen.life.as_ref().filter(|life| life.run == run && !life.parted());
        let again = life.is_some_and(said);
        run > seen.last_run || again
    }

    /// Every service with its last run, 1 before there was any.
    pub(crate) fn runs(&self) -> Vec<(Name, Run)> {
        let run = |seen: &Seen| seen.last_run.max(1);
        self.services.iter().map(|(name, seen)| (name.clone(), run(seen))).collect()
    }
}
