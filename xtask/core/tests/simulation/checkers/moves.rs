//! Moves of services by a named `up`, which the services that call them need not follow.

use std::collections::BTreeSet;

use xtask_core::plan::{Plan, Program, Service};
use xtask_core::snapshot::Phase;
use xtask_core::stack::{Effect, Report};
use xtask_core::terms::Name;

use super::History;
use super::bring_up::declared_numbers;
use super::service::{Position, ServiceHistory};

impl History {
    /// Records which services a named `up` moves without the services that call them.
    pub(super) fn note_moves(&mut self, plan: &Plan) {
        let named = plan.declared.is_none() && plan.restart.is_empty();
        let planned: BTreeSet<&Name> = plan.services.iter().map(|spec| &spec.name).collect();
        let awaits = |other: &&ServiceHistory| self.awaits_comparison(other);
        let compared_later = self.services.values().filter(awaits);
        let compared_later: BTreeSet<Name> =
            compared_later.map(|other| other.spec.name.clone()).collect();
        for spec in &plan.services {
            if !named {
                self.settle_move(&spec.name, self.position - 1);
                continue;
            }
            let Some(old) = self.services.get(&spec.name) else { continue };
            let external = |spec: &Service| spec.program == Program::External;
            let moved = old.spec.ports != spec.ports || external(&old.spec) != external(spec);
            let changed_before = old.last.address_changed;
            let address = address(old);
            let others = self.services.values_mut().filter(|_| moved);
            for other in others.filter(|other| !planned.contains(&other.spec.name)) {
                // An earlier change may not have reached it yet, unless an earlier named `up` left
                // it alone. Or an earlier request waits for its program, and then compares it with
                // all that is wanted. Without a run, it starts with the address that the service
                // has until then.
                let unaware = other.unaware_of.get(&spec.name).copied().unwrap_or_default();
                let reached = other.run.is_none()
                    || changed_before <= other.last.started.max(unaware)
                    || address.is_some_and(|number| runs_with(other, &spec.name, number));
                if other.build_pending {
                    other.moved_while_built.insert(spec.name.clone());
                }
                if reached && !other.build_pending && !compared_later.contains(&other.spec.name) {
                    other.unaware_of.insert(spec.name.clone(), Position::MAX);
                }
            }
        }
        for name in planned {
            if let Some(service) = self.services.get_mut(name) {
                service.unaware_of.clear();
                service.moved_while_built.clear();
            }
        }
    }

    /// Whether an earlier request compares a run with all that is wanted once a called service has
    /// its ports.
    fn awaits_comparison(&self, service: &ServiceHistory) -> bool {
        !self.runs_as_planned(service) && self.awaits_address(service, service.last.applied)
    }

    /// Whether a service that this one calls has not had its ports since `since`: a request of that
    /// time to compare the run waits for them.
    pub(super) fn awaits_address(&self, service: &ServiceHistory, since: Position) -> bool {
        service.spec.edges().any(|on| {
            let on = &self.services[on];
            on.awaits_ports() && since > on.last.bind_answered
        })
    }

    /// Whether a run started since the last plan for its service, with the present addresses.
    fn runs_as_planned(&self, service: &ServiceHistory) -> bool {
        let same = |on: &Name| {
            let number = address(&self.services[on]);
            number.is_some_and(|number| runs_with(service, on, number))
        };
        service.last.started > service.last.applied && service.spec.edges().all(same)
    }

    /// Records which services an event leaves without a run. That of a service that was `external`
    /// ends without an effect of its own.
    pub(super) fn note_ends(&mut self, effects: &[Effect]) {
        let without_run = effects.iter().filter_map(|effect| match effect {
            Effect::Report(Report::Phase { service, phase, .. }) => {
                let runs = matches!(phase, Phase::Starting | Phase::Ready | Phase::Unhealthy);
                (!runs).then(|| service.clone())
            }
            _ => None,
        });
        self.without_run = without_run.collect();
    }

    /// Ends the move of a service by a named `up`: later ones concern its callers again.
    pub(super) fn settle_move(&mut self, name: &Name, position: Position) {
        for other in self.services.values_mut() {
            if let Some(until) = other.unaware_of.get_mut(name) {
                *until = position.min(*until);
            }
        }
    }
}

impl ServiceHistory {
    /// Whether it has no run, or a stopping one, and does not have the ports of its plan yet.
    fn awaits_ports(&self) -> bool {
        let lacks = !self.bound || self.has_other_ports();
        let bindable = self.spec.program != Program::External && !self.spec.ports.is_empty();
        let starts = matches!(
            self.phase,
            Phase::Waiting | Phase::Building | Phase::Backoff | Phase::Stopping
        );
        self.binding.is_some() || (lacks && bindable && self.wanted && starts)
    }
}

/// The number that callers are started with.
fn address(service: &ServiceHistory) -> Option<u16> {
    if let Some(run) = service.foreign_run() {
        return run.numbers.first().copied();
    }
    let external = service.spec.program == Program::External;
    let bound = service.numbers().filter(|_| !external).cloned();
    bound.or_else(|| declared_numbers(service))?.first().copied()
}

/// Whether the run of a service was started with this number of a service that it calls.
fn runs_with(service: &ServiceHistory, called: &Name, number: u16) -> bool {
    let key = called.to_uppercase();
    let mut values = service.run.iter().flat_map(|run| &run.env);
    values.any(|(name, value)| *name == key && *value == number.to_string())
}
