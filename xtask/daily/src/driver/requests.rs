//! Turns requests of clients into events of the reducer.
//!
//! A request is answered at once, unless its answer promises that an effect has happened. The
//! driver refuses only what the reducer cannot see.

use std::ffi::OsStr;

use thiserror::Error;
use tokio::time::Instant;
use xtask_control::context::Context;
use xtask_control::protocol::{self, Reply, Request};
use xtask_core::plan::{Plan, Service};
use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot, State, Watch, WatchState};
use xtask_core::stack::{Event, Fault};
use xtask_core::terms::Name;

use crate::driver::compilers::Compilers;
use crate::driver::outbox::Outbox;
use crate::driver::{ConnectionId, Driver, HURRIED_GRACE, Input, Pending};
use crate::effects::done::is_done;
use crate::system::executable;

/// Why a request is refused.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("the build of this connection is already ending")]
    BuildIsEnding,
    #[error("the plan has version {0}, this supervisor reads {own}", own = Plan::VERSION)]
    PlanVersion(u32),
    #[error("stack `{0}` is being shut down")]
    ShuttingDown(String),
    #[error("another watcher took the place of this one")]
    NotTheWatcher,
    #[error("no service `{0}` in this stack")]
    UnknownService(Name),
    #[error("service `{service}` has no process to signal: it is {phase}")]
    NoProcess { service: Name, phase: &'static str },
    #[error(
        "`{service}` runs{process}, which this stack did not start and does not stop; \
         `%xtask% restart --replace {service}` replaces it"
    )]
    NotOurs { service: Name, process: String },
    #[error("`{service}` is not replaced, because `{program}` cannot be executed: {fault}")]
    Program { service: Name, program: String, fault: executable::Fault },
}

/// How the build of a client ended, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BuildEnd {
    #[default]
    Succeeded,
    /// The connection closed before cargo had exited.
    Interrupted,
    Failed,
}

impl Refusal {
    fn not_ours(service: &ServiceSnapshot) -> Self {
        let process = service.pid.map(|pid| format!(" as process {pid}")).unwrap_or_default();
        Self::NotOurs { service: service.name.clone(), process }
    }
}

impl Driver {
    pub(crate) fn take(&mut self, input: Input) {
        match input {
            Input::Opened { connection, outbox } => {
                self.clients.insert(connection, outbox);
            }
            Input::Call { pending, request } => self.call(pending, request),
            Input::Closed { connection } => self.closed(connection),
            Input::Leave => self.leave(),
            Input::Abandoned => self.hurry(),
            Input::Unguarded { sweeper } => {
                self.guardian = sweeper;
                self.hurry();
            }
        }
    }

    fn call(&mut self, pending: Pending, request: Request) {
        let connection = pending.connection;
        let result = match request {
            Request::Status { ask, sockets } => return self.look_for(pending, ask, sockets),
            Request::BuildEnded { ok } => {
                self.compilers.remove(&connection);
                self.build_ended(
                    connection,
                    if ok { BuildEnd::Succeeded } else { BuildEnd::Failed },
                );
                if self.after_accepts.contains_key(&connection) {
                    Err(Refusal::BuildIsEnding)
                } else {
                    // Creating an image takes long, so the answer is deferred.
                    self.after_accepts.insert(connection, pending.id);
                    let _ = pending.answered.send(());
                    return;
                }
            }
            Request::Watch => Ok(self.watch(connection)),
            Request::Flags => Ok(self.kept_flags()),
            Request::StartedAs { service } => {
                Ok(Reply::StartedAs { service: self.started_as(&service).map(Box::new) })
            }
            request => self.change(connection, request).map(|()| Reply::Done),
        };
        // The changes are queued before the answer that reports their completion.
        self.publish();
        self.answer(
            pending,
            result.unwrap_or_else(|refusal| Reply::Refused { message: refusal.to_string() }),
        );
    }

    /// Applies a request whose answer is that it was done.
    ///
    /// # Errors
    /// Why the request is refused.
    fn change(&mut self, connection: ConnectionId, request: Request) -> Result<(), Refusal> {
        match request {
            Request::Context { context } => self.take_context(connection, *context),
            Request::Apply { plan, hold, flags } => {
                self.apply(connection, *plan, hold)?;
                if let Some(flags) = flags {
                    self.flags = *flags;
                }
            }
            Request::Hold { hold } => self.hold(connection, hold),
            Request::Reports => {
                self.clients.get(&connection).into_iter().for_each(Outbox::want_reports);
            }
            Request::Building { pid } => {
                if let Some(compilers) = Compilers::led_by(pid) {
                    self.compilers.insert(connection, compilers);
                }
            }
            Request::Linked { services, program } => {
                for service in services {
                    self.step(Event::Linked { service, program: program.clone() });
                }
            }
            Request::BuildFailed { services, message } => {
                for service in services {
                    self.step(Event::BuildFailed { service, message: message.clone() });
                }
            }
            Request::TakeDown { services, only } => {
                self.check_known(&services)?;
                self.step(Event::TakeDown { services, only });
            }
            Request::Restart { services } => {
                self.check_ours(&services)?;
                self.check_known(&services)?;
                self.check_restarts(&services)?;
                self.step(Event::Restart { services });
            }
            Request::Replace { services } => {
                self.check_known(&services)?;
                self.check_restarts(&services)?;
                self.step(Event::Replace { services });
            }
            Request::Fault { service, fault } => return self.fault(service, fault),
            Request::BeginWatching { pid, keep, polls } => {
                self.begin_watching(
                    connection,
                    Watch { pid, state: WatchState::Building, polls },
                    keep,
                )?;
            }
            Request::WatchState { state } => self.watch_state(connection, state)?,
            Request::StopWatching => self.stop_watching(),
            Request::Shutdown { now } => {
                self.step(if now { Event::KillNow } else { Event::Shutdown });
            }
            // `call` answers these.
            Request::Status { .. }
            | Request::Watch
            | Request::StartedAs { .. }
            | Request::Flags
            | Request::BuildEnded { .. } => {}
        }
        Ok(())
    }

    fn kept_flags(&self) -> Reply {
        let services = self.stack.snapshot().services.into_iter();
        let running = services.filter(|service| service.wanted).map(|service| service.name);
        Reply::Flags { flags: Box::new(self.flags.clone()), running: running.collect() }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.stack.snapshot();
        snapshot.tool = Some(protocol::tool_version());
        snapshot.supervisor_pid = std::process::id();
        snapshot.guardian_pid = self.guardian;
        snapshot.held = !self.holders.is_empty();
        snapshot.watch = self.watcher.as_ref().map(|(_, watch)| watch.clone());
        if snapshot.stack.is_empty() {
            snapshot.stack = self.board.stack().to_string();
        }
        snapshot
    }

    fn watch(&mut self, connection: ConnectionId) -> Reply {
        self.publish();
        if let Some(outbox) = self.clients.get(&connection) {
            self.board.add(outbox.clone());
        }
        Reply::Snapshot(self.snapshot())
    }

    /// Keeps the context of a connection, and drops those that no run needs any more.
    fn take_context(&mut self, connection: ConnectionId, context: Context) {
        let number = self.world.contexts.keep(context);
        self.contexts.insert(connection, number);
        let mut used = self.stack.contexts();
        used.extend(self.contexts.values().copied());
        self.world.contexts.retain(&used);
    }

    /// The service as its present run was started, with the values of the run's context.
    fn started_as(&self, name: &Name) -> Option<Service> {
        let (mut service, context) = self.stack.started_as(name)?;
        let context = self.world.contexts.of(context);
        for (name, setting) in service.env.iter_mut() {
            setting.resolve(context.variable(name).and_then(OsStr::to_str));
        }
        Some(service)
    }

    fn apply(
        &mut self,
        connection: ConnectionId,
        mut plan: Plan,
        hold: bool,
    ) -> Result<(), Refusal> {
        if plan.version != Plan::VERSION {
            return Err(Refusal::PlanVersion(plan.version));
        }
        if self.stack.state() == State::Stopping {
            return Err(Refusal::ShuttingDown(self.board.stack().to_owned()));
        }
        if !plan.replace {
            self.check_ours(&plan.restart)?;
        }
        plan.context = self.contexts.get(&connection).copied().unwrap_or_default();
        self.check_replacements(&plan)?;
        let once = plan.services.iter().filter(|service| service.once);
        plan.done = once
            .filter(|job| is_done(&self.world.settings.state, &job.name))
            .map(|job| job.name.clone())
            .collect();
        self.applied = true;
        self.hold(connection, hold);
        self.builders.insert(connection);
        self.step(Event::Apply { plan });
        Ok(())
    }

    fn hold(&mut self, connection: ConnectionId, hold: bool) {
        if hold {
            self.holders.insert(connection);
        } else {
            self.holders.remove(&connection);
        }
    }

    /// Reports the end of a build to the reducer when the last running build has ended: another
    /// client's build may still link what this one did not.
    fn build_ended(&mut self, connection: ConnectionId, end: BuildEnd) {
        self.builders.remove(&connection);
        self.worst_build = self.worst_build.max(end);
        if self.builders.is_empty() {
            let event = match std::mem::take(&mut self.worst_build) {
                BuildEnd::Succeeded => Event::BuildEnded { ok: true },
                BuildEnd::Interrupted => Event::BuildInterrupted,
                BuildEnd::Failed => Event::BuildEnded { ok: false },
            };
            self.step(event);
        }
    }

    /// Refuses a fault that would have no effect, so that no test waits for one.
    fn fault(&mut self, service: Name, fault: Fault) -> Result<(), Refusal> {
        self.check_known(std::slice::from_ref(&service))?;
        match self.stack.service_snapshot(&service) {
            Some(seen) if seen.adopted => return Err(Refusal::not_ours(&seen)),
            Some(ServiceSnapshot { phase, pid, .. })
                if pid.is_none()
                    || !matches!(phase, Phase::Starting | Phase::Ready | Phase::Unhealthy) =>
            {
                return Err(Refusal::NoProcess { service, phase: phase.as_str() });
            }
            _ => self.step(Event::Fault { service, fault }),
        }
        Ok(())
    }

    /// Refuses adopted services, which the reducer would silently leave alone.
    fn check_ours(&self, services: &[Name]) -> Result<(), Refusal> {
        let mut all = services.iter().filter_map(|name| self.stack.service_snapshot(name));
        match all.find(|seen| seen.adopted) {
            Some(seen) => Err(Refusal::not_ours(&seen)),
            None => Ok(()),
        }
    }

    fn check_known(&self, services: &[Name]) -> Result<(), Refusal> {
        match services.iter().find(|name| self.stack.service_snapshot(name).is_none()) {
            Some(unknown) => Err(Refusal::UnknownService(unknown.clone())),
            None => Ok(()),
        }
    }

    fn closed(&mut self, connection: ConnectionId) {
        self.clients.remove(&connection);
        self.after_accepts.remove(&connection);
        self.contexts.remove(&connection);
        self.watcher_closed(connection);
        if let Some(compilers) = self.compilers.remove(&connection) {
            compilers.kill();
        }
        if self.builders.contains(&connection) {
            self.build_ended(connection, BuildEnd::Interrupted);
        }
        if self.holders.remove(&connection) {
            if self.stack.state() == State::Stopping {
                // The client asked for the shutdown and left without waiting.
                self.step(Event::Shutdown);
            } else {
                // The client was killed, so the stack must be gone soon.
                self.hurry();
            }
        }
        // A supervisor that never received a plan exits with its last client.
        if !self.applied && self.clients.is_empty() {
            self.ended = true;
        }
    }

    /// Stops everything in order and kills what still runs after [`HURRIED_GRACE`].
    fn hurry(&mut self) {
        if !self.applied {
            self.ended = true;
            return;
        }
        self.step(Event::Shutdown);
        let kill_at = Instant::now() + HURRIED_GRACE;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
    }

    fn leave(&mut self) {
        if !self.applied {
            self.ended = true;
        } else if std::mem::replace(&mut self.leaving, true) {
            self.step(Event::KillNow);
        } else {
            self.step(Event::Shutdown);
        }
    }
}
