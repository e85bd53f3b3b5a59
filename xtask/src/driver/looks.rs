//! Looks at the system's sockets for clients who ask for the status: beside the loop, as a
//! machine with many connections takes long to tell of them, and no stop, kill or start may
//! wait for that.
//!
//! One look is under way at a time, so that many clients cost no more than one. Who asks
//! meanwhile gets the next one: an answer is never older than its question.

use tokio::task::JoinHandle;
use xtask_client::protocol::Reply;
use xtask_core::snapshot::{Phase, Snapshot};

use super::{Driver, Pending};
use crate::system::traffic::Traffic;

/// Who waits for a look, and the one that is under way.
#[derive(Default)]
pub(super) struct Looks {
    waiting: Vec<Pending>,
    under_way: Option<(JoinHandle<Traffic>, Vec<Pending>)>,
}

impl Looks {
    /// Begins a look if somebody waits for one and none is under way.
    fn begin<L>(&mut self, prepare: impl FnOnce() -> L)
    where
        L: FnOnce() -> Traffic + Send + 'static,
    {
        if self.under_way.is_none() && !self.waiting.is_empty() {
            let looking = tokio::task::spawn_blocking(prepare());
            self.under_way = Some((looking, std::mem::take(&mut self.waiting)));
        }
    }

    /// Waits for the end of the look that is under way: for whom it was, and what was seen.
    /// Nothing is lost when the wait is given up.
    pub(super) async fn seen(&mut self) -> (Vec<Pending>, Traffic) {
        let Some((looking, _)) = &mut self.under_way else { return std::future::pending().await };
        let traffic = looking.await.unwrap_or_default();
        let asked = self.under_way.take().map(|(_, asked)| asked);
        (asked.unwrap_or_default(), traffic)
    }
}

impl Driver {
    /// Answers with the state and what only a look at the system tells, once it was looked.
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

    /// A look is over.
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
        for service in &mut snapshot.services {
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
    async fn one_look_at_a_time_is_for_those_who_asked_before_it_began() {
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
            looks.begin(|| -> fn() -> Traffic { panic!("a second look beside the first") });
        }
        go.send(()).unwrap();
        assert_eq!(ids(&looks.seen().await.0), [1]);
        looks.begin(|| Traffic::default);
        assert_eq!(ids(&looks.seen().await.0), [2, 3]);
        assert!(looks.waiting.is_empty() && looks.under_way.is_none());
    }
}
