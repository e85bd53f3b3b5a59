//! Runs start in the context of the command that starts them, and a requested new run begins.

use std::collections::BTreeSet;

use xtask_core::stack::{Effect, Report};
use xtask_core::terms::Name;

use super::service::{Origin, RunHistory, ServiceHistory};
use super::{History, Verdict, demand};

/// The contexts of a service. Each plan of a play has another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contexts {
    /// That of the last run.
    pub(crate) run: Option<u64>,
    /// That of a plan that may still start or replace the service.
    pub(crate) requested: Option<u64>,
    /// Whether a plan asked for a new run, and none began since.
    pub(crate) restart: bool,
    /// That of the last candidate since the last run.
    candidate: Option<u64>,
    /// That of a plan whose candidate a dependency prevented. Once the dependency starts again,
    /// the plan's request holds again, also if the run then ends before a candidate starts.
    prevented: Option<u64>,
    /// Those of all plans that named the service.
    planned: Vec<u64>,
}

/// Checks an effect before it is recorded.
pub(super) fn check(history: &History, effect: &Effect) -> Verdict {
    match effect {
        Effect::Spawn { service, command, .. } => {
            let service = &history.services[service];
            let (name, context) = (&service.spec.name, command.context);
            let Contexts { run, requested, .. } = &service.contexts;
            let along = with_dependencies(history, service);
            let holds = match run {
                None => *requested == Some(context),
                Some(run) => {
                    let Contexts { candidate, prevented, .. } = service.contexts;
                    let asked = [*requested, candidate, prevented];
                    context == *run || asked.contains(&Some(context)) || along.contains(&context)
                }
            };
            demand!(
                holds,
                "contexts",
                "`{name}` starts in context {context} after {run:?} and {requested:?}"
            );
        }
        Effect::Report(Report::AlreadyRunning { service }) => {
            let service = &history.services[service];
            let name = &service.spec.name;
            demand!(!service.contexts.restart, "requested restart", "`{name}` is left running");
        }
        _ => {}
    }
    Ok(())
}

/// The contexts of services whose restart restarts this one, directly or not.
fn with_dependencies(history: &History, service: &ServiceHistory) -> BTreeSet<u64> {
    let mut open: Vec<&Name> = service.restarts_with.iter().collect();
    let (mut visited, mut contexts) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = open.pop() {
        let Some(on) = history.services.get(name).filter(|_| visited.insert(name)) else {
            continue;
        };
        contexts.extend(&on.contexts.planned);
        open.extend(&on.restarts_with);
    }
    contexts
}

impl Contexts {
    /// A candidate starts: the new run that a plan asked for.
    pub(super) fn candidate_starts_in(&mut self, context: u64) {
        (self.candidate, self.prevented, self.restart) = (Some(context), None, false);
    }

    /// The candidate becomes the run.
    pub(super) fn candidate_takes_over(&mut self, context: u64) {
        (self.run, self.candidate) = (Some(context), None);
        self.requested = self.requested.filter(|requested| *requested != context);
    }

    /// A dependency prevents the candidate, which is tried again. The run keeps its context.
    pub(super) fn candidate_is_prevented(&mut self) {
        let prevented = self.requested.or(self.prevented);
        (self.requested, self.candidate, self.restart) = (None, None, false);
        self.prevented = prevented;
    }

    /// The run of the service keeps its context, unless a later plan replaces it.
    pub(super) fn candidate_failed(&mut self, context: u64) {
        self.candidate = None;
        if self.requested.is_none_or(|requested| requested == context) {
            (self.requested, self.restart) = (None, false);
        }
    }
}

impl ServiceHistory {
    /// A plan names the service.
    pub(super) fn planned_in(&mut self, context: u64, restart: bool) {
        (self.contexts.requested, self.contexts.prevented) = (Some(context), None);
        self.contexts.planned.push(context);
        let runs = self.run.as_ref().is_some_and(RunHistory::is_managed);
        self.contexts.restart = restart && runs;
    }

    /// The stack reported that its run is as the last plan asks, or its build failed.
    pub(super) fn kept_as_planned(&mut self) {
        let is_repeated = self.last.restart_requested > self.last.started;
        // The run of an `external` service ends without an effect.
        let runs = |run: &RunHistory| run.may_take_over() && run.origin != Origin::External;
        if !is_repeated && self.run.as_ref().is_some_and(runs) {
            self.contexts.requested = None;
        }
        self.contexts.restart = false;
    }

    /// A run starts in this context.
    pub(super) fn starts_in(&mut self, context: u64) {
        let planned = std::mem::take(&mut self.contexts.planned);
        self.contexts = Contexts { run: Some(context), planned, ..Contexts::default() };
    }
}
