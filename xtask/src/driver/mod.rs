//! The one loop of a supervisor: receive or sleep until the deadline, step, perform,
//! publish.
//!
//! It decides nothing about services: that is the reducer's. What it knows itself is
//! about clients: whose build is under way, and whose connection holds the stack.

pub(crate) mod compilers;
mod looks;
pub(crate) mod outbox;
mod record;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;
use xtask_client::protocol::{Answer, Reply, Request};
use xtask_core::stack::{Effect, Event, Report, Stack};
use xtask_core::terms::Name;

use crate::driver::compilers::Compilers;
use crate::driver::outbox::{Board, Outbox};
use crate::effects::World;
use crate::system::say;

use looks::Looks;
pub(crate) use record::Record;

/// How long services may take to stop once nobody is left who wants the stack: all of it
/// is gone a second after the process that it was for.
const HURRIED_GRACE: Duration = Duration::from_millis(500);

/// The number of a connection, never reused in a supervisor's life.
pub(crate) type ConnectionId = u64;

/// What reaches the driver from clients and the system, beside the events of the world.
pub(crate) enum Input {
    /// A client connected.
    Opened { connection: ConnectionId, outbox: Outbox },
    /// A client asked for something.
    Call { connection: ConnectionId, call: Asked },
    /// A client is gone.
    Closed { connection: ConnectionId },
    /// The supervisor was told to go. The second time it does not wait for anybody.
    Leave,
    /// The process that the supervisor lives for is gone.
    Abandoned,
    /// The guardian is gone; this process, if any, has taken its place.
    Unguarded { sweeper: Option<u32> },
}

/// A request that waits for its answer.
pub(crate) struct Asked {
    /// The number that the answer repeats.
    pub id: u64,
    /// What is asked.
    pub request: Request,
    /// Told when the client's next request may be read: when the answer is in the client's
    /// outbox, or is due later.
    pub answered: oneshot::Sender<()>,
}

/// The state of the loop.
pub(crate) struct Driver {
    stack: Stack,
    world: World,
    board: Board,
    record: Option<Record>,
    began: Instant,
    effects: Vec<Effect>,
    clients: BTreeMap<ConnectionId, Outbox>,
    /// Connections whose end is the stack's end.
    holders: BTreeSet<ConnectionId>,
    /// Connections that applied a plan and have not said that its build ended, each
    /// with whether all went well so far.
    builders: BTreeSet<ConnectionId>,
    /// What builds for them, and is killed with them.
    compilers: BTreeMap<ConnectionId, Compilers>,
    /// Whether every build that ended since the last time there was none went well.
    builds_ok: bool,
    /// Programs that are being accepted. A service may be accepted twice at once.
    accepting: BTreeMap<Name, usize>,
    /// Calls that are done once no program is being accepted: at most one a connection.
    after_accepts: BTreeMap<ConnectionId, u64>,
    looks: Looks,
    applied: bool,
    leaving: bool,
    /// When everything that still runs is killed, in no order.
    kill_at: Option<Instant>,
    guardian: Option<u32>,
    ended: bool,
}

/// A call whose request was taken and whose answer is due later.
struct Pending {
    connection: ConnectionId,
    id: u64,
    answered: oneshot::Sender<()>,
}

impl Driver {
    /// A driver over a fresh stack. Its clock starts now.
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
            began: Instant::now(),
            effects: Vec::new(),
            clients: BTreeMap::new(),
            holders: BTreeSet::new(),
            builders: BTreeSet::new(),
            compilers: BTreeMap::new(),
            builds_ok: true,
            accepting: BTreeMap::new(),
            after_accepts: BTreeMap::new(),
            looks: Looks::default(),
            applied: false,
            leaving: false,
            kill_at: None,
            guardian,
            ended: false,
        }
    }

    /// Runs until the stack has ended. What is queued is taken in whole before the
    /// changes are published, so that a burst of events is one message.
    pub(crate) async fn run(
        &mut self,
        mut events: UnboundedReceiver<Event>,
        mut inputs: UnboundedReceiver<Input>,
    ) {
        while !self.ended {
            let deadline = self.stack.next_deadline().map(|deadline| self.began + deadline);
            let deadline = deadline.into_iter().chain(self.kill_at).min();
            tokio::select! {
                Some(event) = events.recv() => self.happened(event),
                Some(input) = inputs.recv() => self.take(input),
                (asked, traffic) = self.looks.seen() => self.looked(asked, &traffic),
                () = sleep_until(deadline) => self.tick(),
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
            self.publish();
        }
    }

    /// Closes the board: what is published by now still reaches its readers.
    pub(crate) fn close(&mut self) {
        self.clients.clear();
        self.board.close();
    }

    /// Ends what is left of the world. Whether nothing of the stack is there any more.
    pub(crate) fn end(&mut self) -> bool {
        self.world.end()
    }

    /// An event of the world.
    fn happened(&mut self, event: Event) {
        if let Event::Accepted { service, .. } | Event::BuildFailed { service, .. } = &event {
            let service = service.clone();
            self.step(event);
            self.accepted(&service);
        } else {
            self.step(event);
        }
    }

    fn tick(&mut self) {
        if self.kill_at.is_some_and(|kill_at| kill_at <= Instant::now()) {
            self.kill_at = None;
            self.step(Event::KillNow);
        } else {
            self.step(Event::Tick);
        }
    }

    fn accepted(&mut self, service: &Name) {
        if let Some(count) = self.accepting.get_mut(service) {
            *count -= 1;
            if *count == 0 {
                self.accepting.remove(service);
            }
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.began.elapsed();
        if self.stack.gives_up_at(now) {
            let calls = self.world.traffic_query(self.stack.addresses()).calls();
            self.step_at(now, Event::Calls { calls });
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
                    self.board.report(&report);
                }
                Effect::End => self.ended = true,
                Effect::Accept { ref service, .. } => {
                    *self.accepting.entry(service.clone()).or_default() += 1;
                    self.world.perform(effect);
                }
                Effect::Bind { .. }
                | Effect::Unbind { .. }
                | Effect::Look { .. }
                | Effect::Adopt { .. }
                | Effect::Release { .. }
                | Effect::Spawn { .. }
                | Effect::Probe { .. }
                | Effect::StopProbes { .. }
                | Effect::CallOff { .. }
                | Effect::Signal { .. } => self.world.perform(effect),
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

    fn publish(&mut self) {
        let changed = self.stack.take_changed();
        let services = changed.iter().filter_map(|name| self.stack.service_snapshot(name));
        self.board.publish(self.stack.state(), services);
        if self.accepting.is_empty() {
            for (connection, id) in std::mem::take(&mut self.after_accepts) {
                self.post(connection, id, Reply::Done);
            }
        }
        if let Some(record) = &mut self.record {
            record.flush();
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
