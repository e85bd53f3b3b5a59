//! Queries the sockets of this machine about a stack: which service calls which, and how many
//! callers wait.
//!
//! A query takes long on a machine with many connections. It is prepared where the runs are known,
//! and can run on another thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use xtask_core::calls::Call;
use xtask_core::stack::ServiceAddress;
use xtask_core::terms::Name;

use crate::system::group::Leader;
use crate::system::{connections, listeners};

/// The result of a query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// How many callers wait unaccepted on each listening port, without the supervisor's own
    /// queued requests; empty if the system does not show it.
    pub(crate) waiting: BTreeMap<u16, u32>,
    /// Which services have open connections to which.
    pub(crate) calls: Vec<Call>,
}

/// A prepared query.
pub(crate) struct TrafficQuery {
    pub(crate) leaders: Vec<(Arc<Leader>, Name)>,
    pub(crate) addresses: Vec<ServiceAddress>,
    /// How many requests of this process are queued on each port.
    pub(crate) queued: BTreeMap<u16, u32>,
}

impl TrafficQuery {
    /// Counts waiting callers, and finds calls.
    pub(crate) fn run(self) -> Traffic {
        let mut waiting = listeners::waiting_callers();
        for (port, own) in &self.queued {
            waiting.entry(*port).and_modify(|all| *all = all.saturating_sub(*own));
        }
        Traffic { waiting, calls: self.calls() }
    }

    /// Finds calls between services.
    pub(crate) fn calls(self) -> Vec<Call> {
        let active = self.leaders.iter().filter(|(leader, _)| !leader.is_reaped());
        let groups = active.map(|(leader, name)| (leader.id(), name.clone()));
        let mut calls = connections::between(&groups.collect(), &self.addresses);
        // The group id of a run that was reaped meanwhile may have been reused.
        let ended: Vec<&Name> = (self.leaders.iter())
            .filter_map(|(leader, name)| leader.is_reaped().then_some(name))
            .collect();
        calls.retain(|call| !ended.contains(&&call.from));
        calls
    }
}
