//! Why is a service not ready? As data: a small tree from the service down to the
//! things that somebody could do something about.
//!
//! It is made from what the reducer knows; logs and waiting callers are added by who
//! shows it.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::plan::Condition;
use crate::snapshot::{Failure, Phase};
use crate::stack::Stack;
use crate::stack::node::{Id, Phase as Inner, ProgramState, Rest};
use crate::stack::tenancy::Bound;

/// A service, and why it is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The service.
    pub service: Name,
    /// Its phase.
    pub phase: Phase,
    /// Whether it is wanted.
    pub wanted: bool,
    /// For `failed`: what kind of failure.
    pub failure: Option<Failure>,
    /// Why it is in this phase, one line.
    pub reason: Option<String>,
    /// What keeps it from being ready, each by itself; empty where nothing does, and
    /// for a service that was explained further up in the tree.
    pub causes: Vec<Cause>,
}

/// One thing that keeps a service from being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "cause")]
pub enum Cause {
    /// It is not wanted.
    NotWanted,
    /// Its program is not linked yet.
    Build,
    /// Its own ports are not its own yet.
    Address,
    /// A condition on another service does not hold.
    Dependency {
        /// What it waits for.
        condition: Condition,
        /// Why that does not hold.
        because: Box<Explanation>,
    },
    /// The address of another service is not known yet.
    AddressOf {
        /// Whose.
        service: Name,
    },
    /// A dependent that is restarted with it has to stop first.
    Dependent {
        /// Which.
        service: Name,
    },
    /// Its process is not there yet.
    Start,
    /// A probe has not passed.
    Probe {
        /// What it tries, and what it saw.
        seen: String,
    },
    /// It ended, and is started again after a pause.
    Pause {
        /// When, in milliseconds since the stack began.
        until_ms: u64,
    },
    /// Its last run is not gone yet.
    LastRun {
        /// Its process.
        pid: Option<u32>,
    },
}

impl Stack {
    /// Why a service is not ready; none if there is no such service.
    #[must_use]
    pub fn explain(&self, service: &str) -> Option<Explanation> {
        Some(self.explanation(self.id_of(service)?, &mut BTreeSet::new()))
    }

    fn explanation(&self, id: Id, explained: &mut BTreeSet<Id>) -> Explanation {
        let node = self.node(id);
        let snapshot = self.snapshot_of(id);
        // In a graph of diamonds the same service would be explained over and over.
        let causes = if explained.insert(id) { self.causes(id, explained) } else { Vec::new() };
        Explanation {
            service: node.spec.name.clone(),
            phase: snapshot.phase,
            wanted: snapshot.wanted,
            failure: snapshot.failure,
            reason: snapshot.reason,
            causes,
        }
    }

    fn causes(&self, id: Id, explained: &mut BTreeSet<Id>) -> Vec<Cause> {
        let node = self.node(id);
        let mut causes = Vec::new();
        if !node.wanted {
            causes.push(Cause::NotWanted);
        }
        match &node.phase {
            Inner::Rest(Rest::Idle) if node.wanted => self.idle_causes(id, explained, &mut causes),
            Inner::Rest(Rest::Failed { failure: Failure::Dependency, .. }) => {
                self.other_causes(id, explained, &mut causes);
            }
            Inner::Rest(Rest::Backoff { until, .. }) => {
                let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
                causes.push(Cause::Pause { until_ms });
            }
            Inner::Rest(
                Rest::Idle | Rest::Stopped { .. } | Rest::Succeeded | Rest::Failed { .. },
            )
            | Inner::Ready(_) => {}
            Inner::Starting(starting) => {
                if starting.pid.is_none() && !node.is_external() {
                    causes.push(Cause::Start);
                }
                let missing = self.missing_probes(id).into_iter();
                causes.extend(missing.map(|seen| Cause::Probe { seen }));
            }
            Inner::Stopping(stopping) => causes.push(Cause::LastRun { pid: stopping.pid }),
        }
        causes
    }

    fn idle_causes(&self, id: Id, explained: &mut BTreeSet<Id>, causes: &mut Vec<Cause>) {
        if self.node(id).program() == ProgramState::Pending {
            causes.push(Cause::Build);
        }
        match self.node(id).address.bound {
            Bound::Yes | Bound::Taken(_) => {}
            Bound::No
            | Bound::Asked
            | Bound::Held(_)
            | Bound::Looking { .. }
            | Bound::Failed { .. } => {
                if self.is_bindable(id) {
                    causes.push(Cause::Address);
                }
            }
        }
        if let Some(dependent) = self.restarting_dependent(id) {
            let service = self.node(dependent).spec.name.clone();
            causes.push(Cause::Dependent { service });
        }
        self.other_causes(id, explained, causes);
    }

    fn other_causes(&self, id: Id, explained: &mut BTreeSet<Id>, causes: &mut Vec<Cause>) {
        for want in self.unmet(id) {
            causes.push(match want.condition {
                Some(condition) => Cause::Dependency {
                    condition,
                    because: Box::new(self.explanation(want.on, explained)),
                },
                None => Cause::AddressOf { service: self.node(want.on).spec.name.clone() },
            });
        }
    }
}
