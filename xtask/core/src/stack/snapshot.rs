//! The state of the stack as data for views, and the services that changed since the last query.
//!
//! Only the list of changes is modified.

use crate::sorted::SortedSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::build::BuildState;
use super::conditions::Requirement;
use super::event::Fault;
use super::node::{Done, Id, Node};
use super::phase::{Phase, Rest};
use super::ports::PortState;
use super::{Ending, Stack, messages};
use crate::plan::Service;
use crate::snapshot::{self, Failure, ProgramFiles, RunSnapshot, ServiceSnapshot, Snapshot, State};
use crate::terms::{Name, Restart};

impl Stack {
    /// Everything about the stack that the reducer knows. The caller fills in its own process
    /// ids.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            tool: None,
            stack: self.identity.stack.clone(),
            workspace: self.identity.workspace.clone(),
            supervisor_pid: 0,
            guardian_pid: None,
            held: false,
            watch: None,
            state: self.state(),
            services: self.order.iter().map(|id| self.snapshot_of(*id)).collect(),
            kept_flags: None,
            deadlocks: Vec::new(),
        }
    }

    /// One service of [`Stack::snapshot`].
    #[must_use]
    pub fn service_snapshot(&self, name: &str) -> Option<ServiceSnapshot> {
        Some(self.snapshot_of(*self.ids.get(name)?))
    }

    /// The service as its present run began, and the number of the run's context; none without a
    /// run. Settings that apply without a new run are the present ones.
    #[must_use]
    pub fn started_as(&self, name: &str) -> Option<(Service, u64)> {
        let node = &self.nodes[*self.ids.get(name)?];
        node.origin()?;
        let spec = node.spec.clone();
        let service = Service {
            once: spec.once,
            depends_on: spec.depends_on,
            uses: spec.uses,
            probes: spec.probes,
            restart: spec.restart,
            stop: spec.stop,
            start_timeout: spec.start_timeout,
            log: spec.log,
            adopt: spec.adopt,
            open: spec.open,
            deploy: spec.deploy,
            ..node.started_as.as_deref()?.clone()
        };
        Some((service, node.contexts.current))
    }

    /// The program of a service that the driver accepted last; none if cargo does not build it.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<ProgramFiles> {
        let accepted = self.nodes[*self.ids.get(name)?].build.accepted.as_ref()?;
        let (linked, kept) = (accepted.linked.path.clone(), accepted.path.clone());
        Some(ProgramFiles { linked, kept })
    }

    /// The numbers of the contexts in which runs are or may be started.
    #[must_use]
    pub fn contexts(&self) -> SortedSet<u64> {
        let contexts = self.nodes.iter().flat_map(|node| {
            let failed = node.handover.failed.as_ref();
            let again = failed.and_then(|failed| failed.again.as_ref()?.context);
            [Some(node.contexts.current), node.contexts.requested, again]
        });
        contexts.flatten().collect()
    }

    /// The services that may look different since the last call, in the order in which they
    /// reached their phases.
    pub fn take_changed(&mut self) -> Vec<Name> {
        let mut changed: Vec<_> = core::mem::take(&mut self.changes.latest).into_iter().collect();
        changed.sort_by_key(|(_, change)| *change);
        changed.into_iter().map(|(id, _)| self.nodes[id].spec.name.clone()).collect()
    }

    /// What the stack as a whole is doing.
    #[must_use]
    pub fn state(&self) -> State {
        if self.ending != Ending::No {
            return State::Stopping;
        }
        let mut state = State::Ready;
        let services = self.nodes.iter().filter(|node| node.handover.of.is_none());
        for node in services.filter(|node| node.wanted) {
            match node.public_phase() {
                snapshot::Phase::Waiting
                | snapshot::Phase::Building
                | snapshot::Phase::Starting
                | snapshot::Phase::Backoff
                | snapshot::Phase::Stopping => return State::Working,
                snapshot::Phase::Ready | snapshot::Phase::Succeeded => {
                    if node.may_be_outdated() {
                        return State::Working;
                    }
                }
                snapshot::Phase::Stopped if state == State::Ready => state = State::Stopped,
                snapshot::Phase::Stopped => {}
                snapshot::Phase::Unhealthy | snapshot::Phase::Failed => state = State::Failed,
            }
        }
        state
    }

    pub(crate) fn snapshot_of(&self, id: Id) -> ServiceSnapshot {
        let node = &self.nodes[id];
        let numbers = self.known_numbers(id);
        let ports = (node.spec.ports.iter().zip(numbers.iter().flatten()))
            .map(|(port, number)| (port.name.clone(), *number))
            .collect();
        let number = |port: usize| numbers.as_ref()?.get(port).copied();
        // A url names only ports of its own service.
        let url = numbers.as_ref().and(node.spec.url.as_ref());
        let url = url.and_then(|url| url.render(|_, port| number(port)).ok());
        let page = |path: &String| Some(format!("{}{path}", url.as_deref()?.trim_end_matches('/')));
        ServiceSnapshot {
            open: node.spec.open.as_ref().and_then(page),
            name: node.spec.name.clone(),
            kind: node.spec.kind,
            placement: node.spec.placement,
            phase: node.public_phase(),
            wanted: node.wanted,
            reason: self.reason(id),
            failure: failure(node),
            unsettled: node.is_running() && node.may_be_outdated(),
            waiting_on: self.waiting_on(id),
            pid: node.pid(),
            candidate: self.candidate_snapshot(id),
            stopping: self.stopping_snapshot(id),
            adopted: node.is_adopted(),
            run: node.run(),
            started: node.observed.started,
            url,
            ports,
            ready_ms: millis(node.observed.ready),
            ready_at_ms: millis(node.observed.ready_at),
            restarts: node.retries.restarts,
            seen: self.seen(id),
            callers_waiting: None,
            calls: Vec::new(),
            listens_elsewhere: node.observed.elsewhere.clone(),
            strangers: Vec::new(),
            program: None,
            newer_source: None,
            uptime_ms: None,
            memory_bytes: None,
            comes_back: node.spec.restart != Restart::No && node.is_alive(),
            paused: node.is_running() && node.observed.fault == Some(Fault::Pause),
            // At rest, the status was about a past run.
            status: node.origin().and_then(|_| node.observed.status.clone()),
            log_trouble: node.log_trouble.clone(),
            depends_on: node.spec.depends_on.iter().map(|d| d.on.clone()).collect(),
            uses: node.spec.uses.iter().map(|used| used.of.clone()).collect(),
        }
    }

    /// The numbers that a view may show.
    pub(super) fn known_numbers(&self, id: Id) -> Option<Vec<u16>> {
        let node = &self.nodes[id];
        let bound = matches!(node.ports.state, PortState::Bound | PortState::Decided(_));
        if bound || node.is_external() { self.numbers(id) } else { None }
    }

    /// What a wanted service waits for, each entry with its reason.
    fn waiting_on(&self, id: Id) -> Vec<String> {
        let node = &self.nodes[id];
        if node.public_phase() != snapshot::Phase::Waiting {
            return Vec::new();
        }
        let mut out: Vec<String> = Vec::new();
        match &node.ports.state {
            PortState::Closing { reason, .. } => out.push(reason.clone()),
            _ if self.has_ports(id) => {}
            _ => out.push(match self.awaited_sibling(id) {
                Some((number, sibling)) => {
                    format!("`{}` to free port {number}", self.nodes[sibling].spec.name)
                }
                None => "its own port".to_string(),
            }),
        }
        if node.delayed_until.is_some() {
            out.push("its `--slow` delay".to_string());
        }
        if self.awaits_run_beside(id) {
            out.push("its previous run to stop".to_string());
        }
        if self.starts.startable.contains(&id) {
            out.push("its turn in the random start order".to_string());
        }
        if let Some(dependent) = self.restarting_dependent(id) {
            out.push(format!("`{}` to stop", self.nodes[dependent].spec.name));
        }
        let mut listed = SortedSet::new();
        for Requirement { on, condition, .. } in self.unmet(id) {
            if !listed.insert(on) {
                continue;
            }
            let other = &self.nodes[on];
            let why = condition.map_or("address", |_| other.public_phase().as_str());
            out.push(format!("{} ({why})", other.spec.name));
        }
        out
    }

    /// The candidate of a service for views.
    fn candidate_snapshot(&self, id: Id) -> Option<RunSnapshot> {
        let handover = &self.nodes[id].handover;
        let candidate = self.candidate(id).map(|beside| {
            let node = &self.nodes[beside];
            let (run, phase, pid) = (node.run(), node.public_phase(), node.pid());
            RunSnapshot { run, phase, pid, reason: None, failure: None }
        });
        let failed = handover.failed.as_ref().map(|failed| RunSnapshot {
            run: failed.run,
            phase: snapshot::Phase::Failed,
            pid: None,
            reason: Some(failed.reason.clone()),
            failure: Some(failed.failure),
        });
        candidate.or(failed)
    }

    /// The run that stops beside the run of a service, for views.
    fn stopping_snapshot(&self, id: Id) -> Option<RunSnapshot> {
        let node = &self.nodes[self.nodes[id].handover.beside?];
        let stopping = node.stopping()?;
        Some(RunSnapshot {
            run: node.run(),
            phase: snapshot::Phase::Stopping,
            pid: stopping.pid,
            reason: stopping.reason.clone(),
            failure: None,
        })
    }

    fn seen(&self, id: Id) -> Vec<String> {
        let node = &self.nodes[id];
        (node.spec.probes.iter().zip(&node.observed.seen))
            .filter_map(|(probe, seen)| {
                let what = messages::probe(node.lifecycle.launched(), probe);
                Some(messages::seen(&what, Some(seen.as_deref()?)))
            })
            .collect()
    }

    /// Why a service is in its phase, if there is more to report than the phase.
    pub(crate) fn reason(&self, id: Id) -> Option<String> {
        let node = &self.nodes[id];
        match node.phase() {
            Phase::Rest(Rest::Idle) => {
                let waits = self.waiting_on(id);
                (!waits.is_empty()).then(|| format!("waits for {}", waits.join(", ")))
            }
            Phase::Rest(Rest::Succeeded) => {
                let before = node.is_done() && node.done == Done::Before;
                before.then(|| messages::DONE_BEFORE.to_string())
            }
            Phase::Rest(
                Rest::Backoff { reason, .. }
                | Rest::Stopped { reason }
                | Rest::Failed { reason, .. },
            ) => Some(reason.clone()),
            Phase::Stopping(_) if node.has_done_its_work() => None,
            Phase::Stopping(_) if node.is_lost() => Some(messages::LOST.to_string()),
            Phase::Stopping(stopping) => stopping.reason.clone(),
            Phase::Starting(_) | Phase::Ready(_) if node.is_due() => {
                let holder = &self.nodes[self.stopping_dependent(id)?].spec.name;
                Some(format!("stops after `{holder}`"))
            }
            Phase::Ready(_) if node.is_unhealthy() => self.unhealthy(id),
            Phase::Starting(_) | Phase::Ready(_) if node.observed.fault == Some(Fault::Pause) => {
                Some(messages::PAUSED.to_string())
            }
            Phase::Starting(_) | Phase::Ready(_) if node.is_adopted() => {
                Some(messages::ADOPTED.to_string())
            }
            Phase::Starting(_) | Phase::Ready(_) if node.handover.failed.is_some() => {
                let failed = node.handover.failed.as_ref();
                failed.map(|failed| messages::failed_candidate(&failed.reason))
            }
            Phase::Starting(_) | Phase::Ready(_) => match &node.build.state {
                BuildState::Failed { message, .. } => {
                    Some(format!("still runs the previous program: {message}"))
                }
                BuildState::Unneeded
                | BuildState::Pending { .. }
                | BuildState::Linked { .. }
                | BuildState::Accepted => {
                    let refused = node.ports.refusal.as_ref().map(|refusal| &refusal.reason);
                    let outdated = node.observed.outdated.as_ref().or(refused);
                    outdated.map(|why| format!("still runs with the previous settings: {why}"))
                }
            },
        }
    }
}

fn failure(node: &Node) -> Option<Failure> {
    if let Phase::Rest(Rest::Failed { failure, .. }) = node.phase() {
        return Some(*failure);
    }
    if let Some(refusal) = node.ports.refusal.as_ref().filter(|_| node.is_running()) {
        return Some(refusal.failure);
    }
    if let Some(failed) = node.handover.failed.as_ref().filter(|_| node.is_running()) {
        return Some(failed.failure);
    }
    (node.wanted && node.is_lost() && !node.has_done_its_work()).then_some(Failure::Start)
}

fn millis(duration: Option<Duration>) -> Option<u64> {
    duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
