//! Scans of the system's sockets, and questions to services, for clients that ask for the status.
//!
//! A look runs beside the loop, because a scan takes long on a machine with many connections, and a
//! service may be silent. One look runs at a time and answers all clients that asked before it
//! began. Later requests wait for the next one, so no answer is older than its request.

use xtask_core::sorted::SortedMap;

use tokio::task::JoinHandle;
use xtask_control::protocol::{Ask, Reply};
use xtask_core::snapshot::{Phase, Snapshot};
use xtask_core::stack::stopped_text;
use xtask_core::terms::Name;

use super::{Driver, Pending};
use crate::effects::probe::question::ask_all;
use crate::system::task;
use crate::system::traffic::Traffic;

/// A request for the status, with the services that it asks.
pub(super) struct Wanted {
    pending: Pending,
    ask: Ask,
    /// Whether it asks for what the sockets show.
    sockets: bool,
}

/// What a look saw: the sockets, and the services that did not answer as expected.
#[derive(Default)]
pub(super) struct Seen {
    traffic: Traffic,
    silent: Vec<(Name, String)>,
}

/// Requests that wait for the next look, and the running look with the requests it answers.
#[derive(Default)]
pub(super) struct Looks {
    waiting: Vec<Wanted>,
    running: Option<(JoinHandle<Seen>, Vec<Wanted>)>,
}

impl Looks {
    /// Starts a look if requests wait and none is running.
    fn begin<L>(&mut self, prepare: impl FnOnce(&[Wanted]) -> L)
    where
        L: Future<Output = Seen> + Send + 'static,
    {
        if self.running.is_none() && !self.waiting.is_empty() {
            let looking = task::spawn(prepare(&self.waiting));
            self.running = Some((looking, std::mem::take(&mut self.waiting)));
        }
    }

    /// Waits for the running look. Returns the requests that it answers and its result.
    /// Cancelling the wait loses nothing.
    pub(super) async fn seen(&mut self) -> (Vec<Wanted>, Seen) {
        let Some((looking, _)) = &mut self.running else { return std::future::pending().await };
        let seen = looking.await.unwrap_or_default();
        let asked = self.running.take().map(|(_, asked)| asked);
        (asked.unwrap_or_default(), seen)
    }
}

impl Driver {
    /// Answers with a snapshot after the next look.
    pub(super) fn look_for(&mut self, pending: Pending, ask: Ask, sockets: bool) {
        self.looks.waiting.push(Wanted { pending, ask, sockets });
        self.look();
    }

    fn look(&mut self) {
        let Self { looks, world, stack, .. } = self;
        looks.begin(|asked| {
            let sockets = asked.iter().any(|wanted| wanted.sockets);
            let query = world.traffic_query(stack.addresses());
            let mut questions = stack.questions();
            questions.retain(|(name, _)| asked.iter().any(|wanted| asks(&wanted.ask, name)));
            async move {
                let scan = task::spawn_blocking(move || match sockets {
                    true => query.run(),
                    false => query.without_sockets(),
                });
                let silent = ask_all(questions).await;
                Seen { traffic: scan.await.unwrap_or_default(), silent }
            }
        });
    }

    /// Answers the requests of a finished look and starts the next one.
    pub(super) fn looked(&mut self, asked: Vec<Wanted>, seen: &Seen) {
        self.publish();
        for Wanted { pending, ask, .. } in asked {
            let silent = seen.silent.iter().filter(|(name, _)| asks(&ask, name));
            let snapshot = self.snapshot_with(&seen.traffic, &silent.cloned().collect::<Vec<_>>());
            self.answer(pending, Reply::Snapshot(snapshot));
        }
        self.look();
    }

    fn snapshot_with(&self, traffic: &Traffic, silent: &[(Name, String)]) -> Snapshot {
        let mut snapshot = self.snapshot();
        self.stack.note_silence(&mut snapshot, silent);
        let of = |found: &SortedMap<Name, Vec<String>>, name| found.get(name).cloned();
        for service in &mut snapshot.services {
            if service.pid.is_some() {
                service.program = self.stack.program(&service.name);
                service.listens_elsewhere =
                    of(&traffic.elsewhere, &service.name).unwrap_or_default();
            }
            if let Some(pid) = traffic.stopped.get(&service.name)
                && !service.paused
            {
                let silence = service.reason.take().filter(|_| service.phase == Phase::Unhealthy);
                let silence = silence.map(|reason| format!("{reason}; ")).unwrap_or_default();
                service.reason = Some(silence + &stopped_text(*pid));
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

fn asks(ask: &Ask, service: &Name) -> bool {
    match ask {
        Ask::No => false,
        Ask::All => true,
        Ask::Only(names) => names.contains(service),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn asked(id: u64) -> Wanted {
        let pending = Pending { connection: 1, id, answered: oneshot::channel().0 };
        Wanted { pending, ask: Ask::No, sockets: true }
    }

    fn ids(asked: &[Wanted]) -> Vec<u64> {
        asked.iter().map(|wanted| wanted.pending.id).collect()
    }

    #[tokio::test]
    async fn scan_answers_requests_made_before_it_began() {
        let mut looks = Looks::default();
        let (go, wait) = oneshot::channel();
        looks.waiting.push(asked(1));
        looks.begin(|_| async {
            wait.await.unwrap();
            Seen::default()
        });
        for id in [2, 3] {
            looks.waiting.push(asked(id));
            looks.begin(|_| async { panic!("a second scan beside the first") });
        }
        go.send(()).unwrap();
        assert_eq!(ids(&looks.seen().await.0), [1]);
        looks.begin(|_| async { Seen::default() });
        assert_eq!(ids(&looks.seen().await.0), [2, 3]);
        assert!(looks.waiting.is_empty() && looks.running.is_none());
    }
}
