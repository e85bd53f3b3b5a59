//! What a look at the sockets of this machine tells about a stack: who calls whom, and how
//! many callers wait.
//!
//! To look takes long on a machine with many connections. So it is prepared where the runs
//! are known, and done wherever its caller wants. What follows from it is not decided here.

use std::collections::BTreeMap;
use std::sync::Arc;

use xtask_core::calls::Call;
use xtask_core::stack::ServiceAddress;
use xtask_core::terms::Name;

use crate::system::group::Leader;
use crate::system::{connections, listeners};

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// How many callers wait unaccepted on each port that somebody listens on, the
    /// supervisor's own queued requests apart; empty if the system does not tell.
    pub(crate) waiting: BTreeMap<u16, u32>,
    /// Which services have open connections to which.
    pub(crate) calls: Vec<Call>,
}

/// A look that is prepared.
pub(crate) struct TrafficQuery {
    pub(crate) leaders: Vec<(Arc<Leader>, Name)>,
    pub(crate) addresses: Vec<ServiceAddress>,
    /// How many of our own requests are queued on a port.
    pub(crate) queued: BTreeMap<u16, u32>,
}

impl TrafficQuery {
    /// Looks at everything.
    pub(crate) fn run(self) -> Traffic {
        let mut waiting = listeners::waiting_callers();
        for (port, own) in &self.queued {
            waiting.entry(*port).and_modify(|all| *all = all.saturating_sub(*own));
        }
        Traffic { waiting, calls: self.calls() }
    }

    /// Looks at who calls whom.
    pub(crate) fn calls(self) -> Vec<Call> {
        let living = self.leaders.iter().filter(|(leader, _)| !leader.is_reaped());
        let groups = living.map(|(leader, name)| (leader.pid().as_raw_nonzero().get(), name));
        let groups = groups.map(|(pid, name)| (pid, name.clone())).collect();
        let mut calls = connections::between(&groups, &self.addresses);
        // The number of a run that ended meanwhile may be another process's by now.
        let ended: Vec<&Name> = (self.leaders.iter())
            .filter_map(|(leader, name)| leader.is_reaped().then_some(name))
            .collect();
        calls.retain(|call| !ended.contains(&&call.from));
        calls
    }
}
