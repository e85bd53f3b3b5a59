//! Scans of the system's sockets for clients that ask for the status.
//!
//! A scan runs on a thread beside the loop, because it takes long on a machine with many
//! connections. One scan runs at a time and answers all clients that asked before it began.
//! Later requests wait for the next one, so no answer is older than its request.

use std::collections::BTreeMap;

use tokio::task::JoinHandle;
use xtask_client::protocol::Reply;
use xtask_core::snapshot::{Phase, Snapshot};
use xtask_core::terms::Name;

use super::{Driver, Pending};
use crate::system::traffic::Traffic;

/// Requests that wait for the next scan, and the running scan with the requests it answers.
#[derive(Default)]
pub(super) struct Looks {
    waiting: Vec<Pending>,
    running: Option<(JoinHandle<Traffic>, Vec<Pending>)>,
}

impl Looks {
    /// Starts a scan if requests wait and none is running.
    fn begin<L>(&mut self, prepare: impl FnOnce() -> L)
    where
        L: FnOnce() -> Traffic + Send + 'static,
    {
        if self.running.is_none() && !self.waiting.is_empty() {
            let looking = tokio::task::spawn_blocking(prepare());
            self.running = Some((looking, std::mem::take(&mut self.waiting)));
        }
    }

    /// Waits for the running scan. Returns the requests that it answers and its result.
    /// Cancelling the wait loses nothing.
    pub(super) async fn seen(&mut self) -> (Vec<Pending>, Traffic) {
        let Some((looking, _)) = &mut self.running else { return std::future::pending().await };
        let traffic = looking.await.unwrap_or_default();
        let asked = self.running.take().map(|(_, asked)| asked);
        (asked.unwrap_or_default(), traffic)
    }
}

impl Driver {
    /// Answers with a snapshot after the next scan.
    pub(super) fn look_for(&mut self, pending: Pending) {
        self.looks.waiting.push(pending);
        self.look();
    }

    fn look(&mut self) {
        let Self { looks, world, stack, .. } = self;
        looks.begin(|| {
            let query = world.traffic_query(stack.addresses());
            || query.run()
        });
    }

    /// Answers the requests of a finished scan and starts the next one.
    pub(super) fn looked(&mut self, asked: Vec<Pending>, traffic: &Traffic) {
        self.publish();
        let snapshot = self.snapshot_with(traffic);
        for pending in asked {
            self.answer(pending, Reply::Snapshot(snapshot.clone()));
        }
        self.look();
    }

    fn snapshot_with(&self, traffic: &Traffic) -> Snapshot {
        let mut snapshot = self.snapshot();
        let of = |found: &BTreeMap<Name, Vec<String>>, name| found.get(name).cloned();
        for service in &mut snapshot.services {
            if service.pid.is_some() {
                service.listens_elsewhere =
                    of(&traffic.elsewhere, &service.name).unwrap_or_default();
            }
            service.strangers = of(&traffic.strangers, &service.name).unwrap_or_default();
            if service.phase != Phase::Ready {
                let ports = service.ports.values().filter_map(|port| traffic.waiting.get(port));
                service.callers_waiting = ports.copied().reduce(u32::saturating_add);
            }
        }
        self.stack.note_calls(&mut snapshot, &traffic.calls);
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::sync::oneshot;

    use super::*;

    fn asked(id: u64) -> Pending {
        Pending { connection: 1, id, answered: oneshot::channel().0 }
    }

    fn ids(asked: &[Pending]) -> Vec<u64> {
        asked.iter().map(|pending| pending.id).collect()
    }

    #[tokio::test]
    async fn scan_answers_requests_made_before_it_began() {
        let mut looks = Looks::default();
        let (go, wait) = channel();
        looks.waiting.push(asked(1));
        looks.begin(|| {
            move || {
                wait.recv().unwrap();
                Traffic::default()
            }
        });
        for id in [2, 3] {
            looks.waiting.push(asked(id));
            looks.begin(|| -> fn() -> Traffic { panic!("a second scan beside the first") });
        }
        go.send(()).unwrap();
        assert_eq!(ids(&looks.seen().await.0), [1]);
        looks.begin(|| Traffic::default);
        assert_eq!(ids(&looks.seen().await.0), [2, 3]);
        assert!(looks.waiting.is_empty() && looks.running.is_none());
    }
}
