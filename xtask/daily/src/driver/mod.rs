//! The supervisor's loop: receive or sleep until the deadline, step, perform, publish.
//!
//! The reducer decides everything about services. The driver keeps state about clients only:
//! which of them build, and which connections hold the stack.

mod clock;
pub(crate) mod compilers;
mod idle;
mod looks;
pub(crate) mod outbox;
mod record;
mod replaced;
mod requests;
mod watcher;

use std::time::Duration;
use xtask_core::sorted::{SortedMap, SortedSet};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use xtask_control::protocol::{Answer, Reply, Request};
use xtask_core::plan::KeptFlags;
use xtask_core::snapshot::{Phase, State, Watch};
use xtask_core::stack::{Effect, Event, Report, Stack};
use xtask_core::terms::Name;

use crate::driver::compilers::Compilers;
use crate::driver::outbox::{Board, Outbox, PACE};
use crate::effects::World;
use crate::system::traffic::Traffic;
use crate::system::{say, wait_if_some};

use clock::Clock;
use idle::Idle;
use looks::Looks;
pub(crate) use record::Record;

/// Time for services to stop after the process that held the stack has died. The whole stack is
/// gone one second after that process.
const HURRIED_GRACE: Duration = Duration::from_millis(500);

/// The number of a connection. A supervisor never reuses one.
pub(crate) type ConnectionId = u64;

/// Input of the driver from clients and the system. Events of effects arrive separately.
pub(crate) enum Input {
    /// A client connected.
    Opened { connection: ConnectionId, outbox: Outbox },
    /// A client sent a request. `pending.answered` is signalled when the next one may be read: the
    /// answer is in the outbox or deferred.
    Call { pending: Pending, request: Request },
    /// A client closed its connection.
    Closed { connection: ConnectionId },
    /// The supervisor received a stop signal. The second one kills all services.
    Leave,
    /// The process named by `--until-pid` has exited.
    Abandoned,
    /// The guardian has died. The sweeper with this process id, if any, remains.
    Unguarded { sweeper: Option<u32> },
}

pub(crate) struct Driver {
    stack: Stack,
    world: World,
    board: Board,
    record: Option<Record>,
    clock: Clock,
    effects: Vec<Effect>,
    clients: SortedMap<ConnectionId, Outbox>,
    /// Connections that hold the stack: when one closes, the stack stops.
    holders: SortedSet<ConnectionId>,
    /// Connections that applied a plan and have not reported the end of its build.
    builders: SortedSet<ConnectionId>,
    /// The builds of these connections, killed when their client dies.
    compilers: SortedMap<ConnectionId, Compilers>,
    /// The numbers of the contexts that these connections sent.
    contexts: SortedMap<ConnectionId, u64>,
    /// The worst end of the builds that ended since `builders` was last empty.
    worst_build: requests::BuildEnd,
    /// How many programs are being accepted for each service.
    accepting: SortedMap<Name, usize>,
    /// Calls to answer once no program is being accepted, at most one for each connection.
    after_accepts: SortedMap<ConnectionId, u64>,
    looks: Looks,
    idle: Idle,
    applied: bool,
    /// The flags of `up` that the stack keeps.
    flags: KeptFlags,
    /// The connection of the watcher of the sources, and what it does.
    watcher: Option<(ConnectionId, Watch)>,
    leaving: bool,
    /// When everything that still runs is killed.
    kill_at: Option<Instant>,
    guardian: Option<u32>,
    /// When the changes since the last publication are published at the latest.
    publish_at: Option<Instant>,
    /// Whether a run ended since the last publication.
    run_ended: bool,
    ended: bool,
}

/// A call that is not answered yet.
pub(crate) struct Pending {
    pub(crate) connection: ConnectionId,
    /// The number that the answer repeats.
    pub(crate) id: u64,
    pub(crate) answered: oneshot::Sender<()>,
}

impl Driver {
    pub(crate) fn new(
        world: World,
        board: Board,
        record: Option<Record>,
        guardian: Option<u32>,
    ) -> Self {
        Self {
            stack: Stack::new(),
            world,
            board,
            record,
            clock: Clock::new(Instant::now()),
            effects: Vec::new(),
            clients: SortedMap::new(),
            holders: SortedSet::new(),
            builders: SortedSet::new(),
            compilers: SortedMap::new(),
            contexts: SortedMap::new(),
            worst_build: requests::BuildEnd::default(),
            accepting: SortedMap::new(),
            after_accepts: SortedMap::new(),
            looks: Looks::default(),
            idle: Idle::default(),
            applied: false,
            flags: KeptFlags::default(),
            watcher: None,
            leaving: false,
            kill_at: None,
            guardian,
            publish_at: None,
            run_ended: false,
            ended: false,
        }
    }

    /// Runs until the stack has ended. It drains both queues before it publishes, so a burst of
    /// events becomes one message. It also drains them before a deadline takes effect. The changes
    /// of a stack that starts or stops are published a few milliseconds later, together.
    pub(crate) async fn run(
        &mut self,
        mut events: UnboundedReceiver<Event>,
        mut inputs: UnboundedReceiver<Input>,
    ) {
        while !self.ended {
            let deadline = self.clock.sleep_until(self.stack.next_deadline(), Instant::now());
            let deadline = deadline.into_iter().chain(self.kill_at).min();
            tokio::select! {
                Some(event) = events.recv() => self.happened(event),
                Some(input) = inputs.recv() => self.take(input),
                (asked, seen) = self.looks.seen() => self.looked(asked, &seen),
                () = wait_if_some(deadline.map(sleep_until)) => {}
                () = wait_if_some(self.publish_at.map(sleep_until)) => {}
                () = wait_if_some(self.idle.release_at().map(sleep_until)) => {
                    self.idle.release();
                    continue;
                }
            }
            let is_due = self.is_due();
            if is_due {
                self.world.read_notifications();
            }
            loop {
                if let Ok(event) = events.try_recv() {
                    self.happened(event);
                } else if let Ok(input) = inputs.try_recv() {
                    self.take(input);
                } else {
                    break;
                }
            }
            if is_due {
                self.tick();
            }
            self.publish_in_time();
        }
    }

    /// Closes the board. Clients still receive what is already published.
    pub(crate) fn close(&mut self) {
        self.clients.clear();
        self.board.close();
    }

    /// Removes what is left of the stack. Returns whether nothing remains.
    pub(crate) fn end(&mut self) -> bool {
        self.world.end()
    }

    /// Takes an event of an effect.
    fn happened(&mut self, event: Event) {
        let accepted = match &event {
            Event::Accepted { service, .. } | Event::BuildFailed { service, .. } => {
                self.accepting.get_mut(service)
            }
            _ => None,
        };
        if let Some(count) = accepted {
            *count -= 1;
        }
        self.accepting.retain(|_, count| *count > 0);
        self.step(event);
    }

    /// Whether a deadline has passed.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let time = self.clock.time_at(now);
        self.kill_at.is_some_and(|kill_at| kill_at <= now)
            || self.stack.next_deadline().is_some_and(|deadline| deadline <= time)
    }

    fn tick(&mut self) {
        if self.kill_at.is_some_and(|kill_at| kill_at <= Instant::now()) {
            self.kill_at = None;
            self.step(Event::KillNow);
        } else {
            self.spare_stopped();
            self.step(Event::Tick);
        }
    }

    /// Postpones the limits of runs in which a signal has stopped a process.
    fn spare_stopped(&mut self) {
        let now = self.clock.time_at(Instant::now());
        for (service, run, postponed) in self.stack.limits_at(now) {
            if self.world.note_stopped(&service, run) {
                self.step(postponed);
            }
        }
    }

    /// Steps an event at the present time. Only a tick and a kill let a deadline pass: other events
    /// may have arrived before a message that moves the deadline.
    fn step(&mut self, event: Event) {
        let mut now = self.clock.time_at(Instant::now());
        if !matches!(event, Event::Tick | Event::KillNow)
            && let Some(deadline) = self.stack.next_deadline()
        {
            now = now.min(deadline.saturating_sub(Duration::from_nanos(1)));
        }
        if self.stack.gives_up_at(now) {
            let Traffic { calls, elsewhere, .. } =
                self.world.traffic_query(self.stack.addresses()).run();
            self.step_at(now, Event::Calls { calls, elsewhere });
        }
        self.step_at(now, event);
    }

    fn step_at(&mut self, now: Duration, event: Event) {
        let recorded = self.record.is_some().then(|| event.clone());
        self.stack.step(now, event, &mut self.effects);
        if let (Some(record), Some(event)) = (&mut self.record, recorded) {
            record.write(now, event, &self.effects);
        }
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Report(report) => {
                    if let Report::Unexpected { what } = &report {
                        say(&format!("unexpected: {what}"));
                    }
                    self.run_ended |= ends_a_run(&report);
                    self.board.report(&report);
                }
                Effect::End => self.ended = true,
                Effect::Accept { ref service, .. } => {
                    *self.accepting.entry(service.clone()).or_default() += 1;
                    self.world.perform(effect);
                }
                effect => self.world.perform(effect),
            }
        }
    }

    fn answer(&self, pending: Pending, reply: Reply) {
        self.post(pending.connection, pending.id, reply);
        let _ = pending.answered.send(());
    }

    fn post(&self, connection: ConnectionId, id: u64, reply: Reply) {
        if let Some(outbox) = self.clients.get(&connection) {
            outbox.answer(Answer { id, reply });
        }
    }

    /// Publishes, unless these are only some of the changes of a start or stop that is not over.
    fn publish_in_time(&mut self) {
        if let Some(record) = &mut self.record {
            record.flush();
        }
        let (state, now) = (self.stack.state(), Instant::now());
        let is_changing = matches!(state, State::Working | State::Stopping);
        let is_awaited = !self.after_accepts.is_empty() && self.accepting.is_empty();
        let at = *self.publish_at.get_or_insert(now + PACE);
        if self.ended
            // Views tell why it ended, which its next run would hide.
            || (self.run_ended && state == State::Working)
            || is_awaited
            || !is_changing
            || state != self.board.state()
            || at <= now
        {
            self.publish();
        }
    }

    fn publish(&mut self) {
        (self.publish_at, self.run_ended) = (None, false);
        let changed = self.stack.take_changed();
        let services = changed.iter().filter_map(|name| self.stack.service_snapshot(name));
        let state = self.stack.state();
        self.board.publish(state, services);
        self.idle.happened(state, Instant::now());
        if self.accepting.is_empty() {
            for (connection, id) in std::mem::take(&mut self.after_accepts) {
                self.post(connection, id, Reply::Done);
            }
        }
    }
}

/// Whether a run ended, or its end began.
fn ends_a_run(report: &Report) -> bool {
    let Report::Phase { phase, .. } = report else { return false };
    match phase {
        Phase::Waiting | Phase::Building | Phase::Starting | Phase::Ready => false,
        Phase::Unhealthy
        | Phase::Backoff
        | Phase::Stopping
        | Phase::Stopped
        | Phase::Succeeded
        | Phase::Failed => true,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;
    use xtask_core::plan::{Plan, Probe, Service};

    use super::*;
    use crate::effects::WorldSettings;
    use crate::sample::{plan_of, planned};
    use crate::system::mark::Marks;

    /// A driver, and the messages that a client of it has not read.
    fn watched(folder: &std::path::Path) -> (Driver, Outbox) {
        let settings = WorldSettings {
            state: folder.join("state"),
            runtime: folder.join("run"),
            marks: Marks::test("driver.key"),
        };
        let world = World::new(settings, unbounded_channel().0).unwrap();
        let mut board = Board::new("dev".to_owned());
        let outbox = board.outboxes().outbox();
        board.add(outbox.clone());
        (Driver::new(world, board, None, None), outbox)
    }

    fn never_ready() -> Plan {
        plan_of(vec![Service { probes: vec![Probe::Notify], ..planned("a") }])
    }

    fn phase(phase: Phase) -> Report {
        Report::Phase { service: "a".into(), run: 1, phase, reason: None }
    }

    #[tokio::test]
    async fn changes_of_a_start_are_published_together() {
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, outbox) = watched(folder.path());
        driver.step(Event::Apply { plan: never_ready() });
        driver.publish_in_time();
        assert!(driver.stack.state() == State::Working && !outbox.has_messages());
        sleep_until(driver.publish_at.unwrap()).await;
        driver.publish_in_time();
        assert!(outbox.has_messages() && driver.publish_at.is_none());
    }

    #[tokio::test]
    async fn end_of_a_run_is_published_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, outbox) = watched(folder.path());
        driver.step(Event::Apply { plan: never_ready() });
        driver.run_ended = ends_a_run(&phase(Phase::Starting));
        driver.publish_in_time();
        assert!(!outbox.has_messages());
        driver.run_ended = ends_a_run(&phase(Phase::Stopping));
        driver.publish_in_time();
        assert!(outbox.has_messages() && !driver.run_ended);
    }
}
