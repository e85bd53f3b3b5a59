//! Outboxes: the bounded queue of messages for each client.
//!
//! A queue holds the names of changed services and reads their states when it is written. So a slow
//! client gets fewer and newer states in bounded memory. No code here waits for a client. Why a run
//! was replaced is not lost between two states, unless the client is far behind.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use xtask_core::sorted::SortedMap;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use xtask_control::protocol::{Answer, Reply};
use xtask_core::snapshot::{ServiceSnapshot, State, Watch};
use xtask_core::stack::Report;
use xtask_core::terms::Name;

/// The number of reports that wait for one client; older ones are dropped.
const MOST_REPORTS: usize = 1024;

/// The number of waiting answers at which the client's next request is not read yet.
const MOST_ANSWERS: usize = 16;

/// The least time between two messages with nothing but changes of a stack that starts or stops.
/// Without it a client would read several messages for each service, and cost the start more than
/// it costs itself.
pub(super) const PACE: Duration = Duration::from_millis(10);

/// The latest published state and the clients that watch it.
pub(crate) struct Board {
    stack: String,
    latest: Rc<RefCell<Latest>>,
    watchers: Vec<Outbox>,
}

struct Latest {
    state: State,
    services: SortedMap<Name, ServiceSnapshot>,
    /// The number of changes so far.
    changes: u64,
    watch: Option<Watch>,
}

pub(crate) struct Outboxes(Rc<RefCell<Latest>>);

#[derive(Clone)]
pub(crate) struct Outbox(Rc<Shared>);

struct Shared {
    latest: Rc<RefCell<Latest>>,
    queue: RefCell<Queue>,
    wake: Notify,
    /// Notified when answers were taken or the outbox was closed.
    taken: Notify,
    /// When messages may follow the last ones.
    paced_until: Cell<Option<Instant>>,
}

#[derive(Default)]
struct Queue {
    /// The number of the call that asked to watch.
    watch: u64,
    /// Changed services, each with the number of the change that set its phase.
    changed: SortedMap<Name, u64>,
    state_changed: bool,
    watch_changed: bool,
    /// Whether the client asked for reports.
    wants_reports: bool,
    reports: VecDeque<Report>,
    /// Answers, with the changes that precede them.
    answers: Vec<Answer>,
    closed: bool,
}

impl Queue {
    /// Appends waiting reports and changes, in their latest state, to the answers.
    fn settle(&mut self, latest: &Latest) {
        let id = self.watch;
        let reports = self.reports.drain(..).map(Reply::Report);
        self.answers.extend(reports.map(|reply| Answer { id, reply }));
        if self.state_changed || !self.changed.is_empty() {
            let mut changed: Vec<_> = std::mem::take(&mut self.changed).into_iter().collect();
            changed.sort_by_key(|(_, change)| *change);
            let names = changed.iter().map(|(name, _)| name);
            let services = names.filter_map(|name| latest.services.get(name)).cloned().collect();
            self.answers
                .push(Answer { id, reply: Reply::Changed { state: latest.state, services } });
            self.state_changed = false;
        }
        if std::mem::take(&mut self.watch_changed) {
            let watch = latest.watch.clone();
            self.answers.push(Answer { id, reply: Reply::Watch { watch } });
        }
    }
}

impl Board {
    pub(crate) fn new(stack: String) -> Self {
        let (services, watch) = (SortedMap::new(), None);
        let latest = Latest { state: State::Working, services, changes: 0, watch };
        Self { stack, latest: Rc::new(RefCell::new(latest)), watchers: Vec::new() }
    }

    pub(crate) fn stack(&self) -> &str {
        &self.stack
    }

    /// The state that was published last.
    pub(super) fn state(&self) -> State {
        self.latest.borrow().state
    }

    pub(crate) fn outboxes(&self) -> Outboxes {
        Outboxes(Rc::clone(&self.latest))
    }

    /// Sends changes to this client from now on.
    pub(crate) fn add(&mut self, outbox: Outbox) {
        if !self.watchers.iter().any(|known| Rc::ptr_eq(&known.0, &outbox.0)) {
            self.watchers.push(outbox);
        }
    }

    /// Publishes new states of services, in the order in which they were reached.
    pub(crate) fn publish(
        &mut self,
        state: State,
        services: impl Iterator<Item = ServiceSnapshot>,
    ) {
        let services: Vec<_> = services.collect();
        self.keep_reasons(&services);
        let mut changed = Vec::new();
        let state_changed = {
            let mut latest = self.latest.borrow_mut();
            for service in services {
                let known = latest.services.get(&service.name);
                if known != Some(&service) {
                    let moved = known.is_none_or(|known| known.phase != service.phase);
                    latest.changes += 1;
                    changed.push((service.name.clone(), moved, latest.changes));
                    latest.services.insert(service.name.clone(), service);
                }
            }
            std::mem::replace(&mut latest.state, state) != state
        };
        if changed.is_empty() && !state_changed {
            return;
        }
        self.each(|queue| {
            for (name, moved, change) in &changed {
                let at = queue.changed.entry(name.clone()).or_insert(*change);
                // A detail that changed later does not move a service behind others.
                *at = if *moved { *change } else { *at };
            }
            queue.state_changed |= state_changed;
        });
    }

    /// Appends waiting states to the answers if one says why a run ended and these states show the
    /// run after it.
    fn keep_reasons(&self, next: &[ServiceSnapshot]) {
        let latest = self.latest.borrow();
        let replaced = next.iter().filter(|next| {
            let known = latest.services.get(&next.name);
            // Before its first run it only waits.
            known.is_some_and(|known| known.reason.is_some() && (1..next.run).contains(&known.run))
        });
        for service in replaced {
            for outbox in &self.watchers {
                let mut queue = outbox.0.queue.borrow_mut();
                if queue.changed.contains_key(&service.name) && queue.answers.len() < MOST_ANSWERS {
                    queue.settle(&latest);
                }
            }
        }
    }

    /// Publishes what the watcher of the sources does.
    pub(crate) fn watch(&mut self, watch: Option<Watch>) {
        self.latest.borrow_mut().watch = watch;
        self.each(|queue| queue.watch_changed = true);
    }

    /// Forwards a report to every watcher that asked for reports.
    pub(crate) fn report(&mut self, report: &Report) {
        if !self.watchers.iter().any(|outbox| outbox.0.queue.borrow().wants_reports) {
            return;
        }
        self.each(|queue| {
            if !queue.wants_reports {
                return;
            }
            if queue.reports.len() == MOST_REPORTS {
                queue.reports.pop_front();
            }
            queue.reports.push_back(report.clone());
        });
    }

    /// Nothing more will come: each client gets what waits for it, then its end.
    pub(crate) fn close(&mut self) {
        self.each(|queue| queue.closed = true);
        self.watchers.clear();
    }

    fn each(&mut self, mut change: impl FnMut(&mut Queue)) {
        self.watchers.retain(|outbox| !outbox.0.queue.borrow().closed);
        for outbox in &self.watchers {
            change(&mut outbox.0.queue.borrow_mut());
            outbox.0.wake.notify_one();
        }
    }
}

impl Outboxes {
    /// An outbox for a new client. It gets no changes before it is added to the board.
    pub(crate) fn outbox(&self) -> Outbox {
        let latest = Rc::clone(&self.0);
        let (wake, taken) = (Notify::new(), Notify::new());
        let (queue, paced_until) = (RefCell::default(), Cell::default());
        Outbox(Rc::new(Shared { latest, queue, wake, taken, paced_until }))
    }
}

impl Outbox {
    /// Queues an answer. Changes that were published before are written before it, and
    /// later ones after it.
    pub(crate) fn answer(&self, answer: Answer) {
        let mut queue = self.0.queue.borrow_mut();
        queue.settle(&self.0.latest.borrow());
        if let Reply::Snapshot(_) = &answer.reply {
            queue.watch = answer.id;
        }
        queue.answers.push(answer);
        drop(queue);
        self.0.wake.notify_one();
    }

    /// Sends the client reports from now on.
    pub(crate) fn want_reports(&self) {
        self.0.queue.borrow_mut().wants_reports = true;
    }

    /// Closes the queue: the client disconnected or gets no more messages.
    pub(crate) fn close(&self) {
        self.0.queue.borrow_mut().closed = true;
        self.0.wake.notify_one();
        self.0.taken.notify_one();
    }

    /// Waits until fewer than [`MOST_ANSWERS`] answers wait. Returns false if the queue is closed.
    pub(crate) async fn has_room(&self) -> bool {
        let is_full = |queue: &Queue| !queue.closed && queue.answers.len() >= MOST_ANSWERS;
        while is_full(&self.0.queue.borrow()) {
            self.0.taken.notified().await;
        }
        !self.0.queue.borrow().closed
    }

    /// Waits for messages to write; `None` once the queue is closed and empty.
    pub(crate) async fn next(&self) -> Option<Vec<Answer>> {
        loop {
            let pace = self.0.paced_until.get().filter(|_| !self.is_urgent());
            if let Some(until) = pace.filter(|until| Instant::now() < *until) {
                tokio::select! {
                    () = self.0.wake.notified() => continue,
                    () = sleep_until(until) => {}
                }
            }
            let ready = self.take();
            if !ready.is_empty() {
                self.0.paced_until.set(Some(Instant::now() + PACE));
                return Some(ready);
            }
            if self.0.queue.borrow().closed {
                return None;
            }
            self.0.wake.notified().await;
        }
    }

    /// Whether a client waits for what is in the queue: an answer, or the result of a start.
    fn is_urgent(&self) -> bool {
        let queue = self.0.queue.borrow();
        let is_changing = matches!(self.0.latest.borrow().state, State::Working | State::Stopping);
        queue.closed || queue.watch_changed || !queue.answers.is_empty() || !is_changing
    }

    /// Whether something waits to be written.
    #[cfg(test)]
    pub(super) fn has_messages(&self) -> bool {
        let queue = self.0.queue.borrow();
        !queue.changed.is_empty() || !queue.answers.is_empty()
    }

    fn take(&self) -> Vec<Answer> {
        let mut queue = self.0.queue.borrow_mut();
        queue.settle(&self.0.latest.borrow());
        self.0.taken.notify_one();
        std::mem::take(&mut queue.answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::service;
    use xtask_core::snapshot::Phase;

    fn names(answers: &[Answer]) -> Vec<&str> {
        let changed = answers.iter().filter_map(|answer| match &answer.reply {
            Reply::Changed { services, .. } => Some(services),
            _ => None,
        });
        changed.flatten().map(|service| &*service.name).collect()
    }

    #[test]
    fn reports_reach_only_clients_that_asked() {
        let mut board = Board::new("dev".to_owned());
        let [silent, asking] = [board.outboxes().outbox(), board.outboxes().outbox()];
        asking.want_reports();
        [&silent, &asking].into_iter().for_each(|outbox| board.add(outbox.clone()));
        board.report(&Report::Unexpected { what: "x".to_owned() });
        assert!(silent.take().is_empty());
        assert_eq!(asking.take().len(), 1);
    }

    #[tokio::test]
    async fn only_changes_of_a_start_or_stop_are_paced() {
        let mut board = Board::new("dev".to_owned());
        let outbox = board.outboxes().outbox();
        board.add(outbox.clone());
        let began = Instant::now();
        board.publish(State::Working, [service("a", Phase::Starting)].into_iter());
        assert!(outbox.next().await.is_some());
        board.publish(State::Working, [service("b", Phase::Starting)].into_iter());
        assert!(outbox.next().await.is_some());
        assert!(began.elapsed() >= PACE);
        assert!(!outbox.is_urgent());
        board.publish(State::Ready, [service("b", Phase::Ready)].into_iter());
        assert!(outbox.is_urgent());
        assert!(outbox.next().await.is_some());
    }

    #[test]
    fn reason_of_a_replaced_run_is_sent() {
        let mut board = Board::new("dev".to_owned());
        let outbox = board.outboxes().outbox();
        board.add(outbox.clone());
        let mut publish = |run, phase, reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            let service = ServiceSnapshot { run, reason, ..service("a", phase) };
            board.publish(State::Working, [service].into_iter());
        };
        publish(1, Phase::Stopping, Some("its program changed"));
        publish(2, Phase::Starting, None);
        publish(2, Phase::Ready, None);
        let answers = outbox.take();
        let states = answers.iter().map(|answer| match &answer.reply {
            Reply::Changed { services, .. } => (services[0].phase, services[0].reason.as_deref()),
            reply => panic!("{reply:?}"),
        });
        let expected = [(Phase::Stopping, Some("its program changed")), (Phase::Ready, None)];
        assert_eq!(states.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn first_start_is_sent_without_what_it_waited_for() {
        let mut board = Board::new("dev".to_owned());
        let outbox = board.outboxes().outbox();
        board.add(outbox.clone());
        let mut publish = |run, phase, reason: Option<&str>| {
            let reason = reason.map(str::to_owned);
            let service = ServiceSnapshot { run, reason, ..service("a", phase) };
            board.publish(State::Working, [service].into_iter());
        };
        publish(0, Phase::Waiting, Some("waits for b"));
        publish(1, Phase::Starting, None);
        assert_eq!(outbox.take().len(), 1);
    }

    #[test]
    fn changes_keep_the_order_of_phase_changes() {
        let mut board = Board::new("dev".to_owned());
        let outbox = board.outboxes().outbox();
        board.add(outbox.clone());
        let mut publish = |services: &[ServiceSnapshot]| {
            board.publish(State::Stopping, services.iter().cloned());
        };
        let stopped = service("z", Phase::Stopped);
        publish(&[service("b", Phase::Stopping), stopped.clone(), service("a", Phase::Stopping)]);
        publish(&[service("b", Phase::Stopped)]);
        publish(&[ServiceSnapshot { restarts: 1, ..stopped }]);
        assert_eq!(names(&outbox.take()), ["z", "a", "b"]);
    }
}
