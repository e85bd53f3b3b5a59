//! Health checks of services that are ready: when each is due, and what failed checks mean.
//!
//! A service is unhealthy from [`FAILURES`] failed checks in a row until the next check that
//! passes. Its run continues, unless the metadata asks for a restart. The driver makes each check;
//! it answers all of them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::effect::PreparedProbe;
use super::node::{Id, Node};
use super::phase::{NextCheck, Phase};
use super::{Effect, Stack, messages};
use crate::plan::Probe;
use crate::snapshot::{self, Snapshot};
use crate::terms::Name;
use crate::terms::host::callable;

/// How many checks in a row must fail before a service is unhealthy.
pub(crate) const FAILURES: u32 = 3;

impl Node {
    /// Whether its run is ready and its last checks failed.
    pub(crate) fn is_unhealthy(&self) -> bool {
        matches!(self.phase(), Phase::Ready(ready) if ready.health.failures >= FAILURES)
    }
}

impl Stack {
    /// Plans the next check of a ready run, and starts it when it is due.
    pub(super) fn check_health(&mut self, id: Id, effects: &mut Vec<Effect>) {
        let node = &self.nodes[id];
        let Phase::Ready(ready) = node.phase() else { return };
        let Some(health) = &node.spec.health else { return };
        let later = NextCheck::At(self.now.saturating_add(health.every));
        let next = match ready.health.next {
            NextCheck::Off => later,
            NextCheck::At(at) if at > self.now => NextCheck::At(at),
            NextCheck::At(_) => match self.question(id, &health.probe) {
                Some(probe) => {
                    let (service, run) = (node.spec.name.clone(), node.run());
                    effects.push(Effect::CheckHealth { service, run, probe });
                    NextCheck::Asked
                }
                None => later,
            },
            NextCheck::Asked => NextCheck::Asked,
        };
        self.nodes[id].lifecycle.plan_check(next);
    }

    /// The result of a check: what it saw instead of an expected answer, or none if it passed.
    pub(super) fn health_checked(
        &mut self,
        id: Id,
        failure: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let node = &mut self.nodes[id];
        // Late and repeated results add nothing.
        if !matches!(node.phase(), Phase::Ready(ready) if ready.health.next == NextCheck::Asked) {
            return;
        }
        node.lifecycle.note_check(failure);
        let restarts = node.spec.health.as_ref().is_some_and(|health| health.restart);
        // An adopted process gets no signal.
        if restarts && node.is_unhealthy() && node.is_alive() && !node.is_due() {
            let reason = self.unhealthy(id).unwrap_or_default();
            let then = self.try_again(id, &reason);
            self.stop(id, then, Some(reason), effects);
        }
    }

    /// Why a service is unhealthy, and which services that blocks.
    pub(super) fn unhealthy(&self, id: Id) -> Option<String> {
        let node = &self.nodes[id];
        let Phase::Ready(ready) = node.phase() else { return None };
        let (health, seen) = (node.spec.health.as_ref()?, ready.health.seen.as_ref()?);
        let times = format!("{seen}, {FAILURES} times");
        node.is_unhealthy().then(|| self.silence(id, &health.probe, &times))
    }

    /// The questions that find out whether ready services still answer: the health check of each,
    /// or else its `http` probe.
    #[must_use]
    pub fn questions(&self) -> Vec<(Name, PreparedProbe)> {
        let asked = |id: &&Id| self.nodes[**id].is_ready();
        let question = |id: &Id| {
            let probe = self.question(*id, self.asks(*id)?)?;
            Some((self.nodes[*id].spec.name.clone(), probe))
        };
        self.order.iter().filter(asked).filter_map(question).collect()
    }

    /// Shows services as unhealthy that did not answer their question, each with what was seen.
    pub fn note_silence(&self, snapshot: &mut Snapshot, silent: &[(Name, String)]) {
        for (name, seen) in silent {
            let mut services = snapshot.services.iter_mut();
            let Some(service) = services.find(|service| service.name == *name) else { continue };
            if service.phase == snapshot::Phase::Ready
                && let Some(id) = self.id_of(name)
                && let Some(probe) = self.asks(id)
            {
                service.phase = snapshot::Phase::Unhealthy;
                service.reason = Some(self.silence(id, probe, seen));
            }
        }
    }

    /// What a service can be asked, if it is ready and can be asked at all.
    fn asks(&self, id: Id) -> Option<&Probe> {
        let spec = &self.nodes[id].spec;
        let health = spec.health.as_ref().map(|health| &health.probe);
        health.or_else(|| spec.probes.iter().find(|probe| matches!(probe, Probe::Http { .. })))
    }

    /// A probe that is asked once, at the address of the run.
    fn question(&self, id: Id, probe: &Probe) -> Option<PreparedProbe> {
        let (Probe::Http { port, .. } | Probe::Tcp { port }) = probe else { return None };
        let (host, number) = self.nodes[id].lifecycle.launched()?.address(*port)?;
        let (probe, address) = (probe.clone(), Some((callable(host), number)));
        Some(PreparedProbe { index: 0, probe, address, command: Vec::new(), queued: false })
    }

    /// That a service did not answer, and which services that blocks.
    fn silence(&self, id: Id, probe: &Probe, seen: &str) -> String {
        let node = &self.nodes[id];
        let what = messages::probe(node.lifecycle.launched(), probe);
        let edges = &node.edges;
        let callers = edges.dependents.iter().map(|(id, _)| id).chain(&edges.users);
        let callers = callers
            .map(|caller| &self.nodes[*caller])
            .filter(|caller| caller.wanted && caller.handover.of.is_none());
        let blocked: Vec<String> =
            callers.map(|caller| format!("`{}`", caller.spec.name)).collect();
        let blocks = match blocked.is_empty() {
            true => String::new(),
            false => format!("; blocks {}", blocked.join(", ")),
        };
        messages::seen(&what, Some(seen)).to_string() + &blocks
    }
}
