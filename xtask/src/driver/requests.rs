//! Turns requests of clients into events of the reducer.
//!
//! A request is answered at once, unless its answer promises that an effect has happened. The
//! driver refuses only what the reducer cannot see.

use std::collections::btree_map::Entry;

use tokio::time::Instant;
use xtask_client::protocol::{Reply, Request};
use xtask_core::plan::Plan;
use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot, State};
use xtask_core::stack::{Event, Fault};
use xtask_core::terms::Name;

use crate::driver::compilers::Compilers;
use crate::driver::{Asked, ConnectionId, Driver, HURRIED_GRACE, Input, Pending};

impl Driver {
    pub(crate) fn take(&mut self, input: Input) {
        match input {
            Input::Opened { connection, outbox } => {
                self.clients.insert(connection, outbox);
            }
            Input::Call { connection, call } => self.call(connection, call),
            Input::Closed { connection } => self.closed(connection),
            Input::Leave => self.leave(),
            Input::Abandoned => self.hurry(),
            Input::Unguarded { sweeper } => {
                self.guardian = sweeper;
                self.hurry();
            }
        }
    }

    fn call(&mut self, connection: ConnectionId, call: Asked) {
        let Asked { id, request, answered } = call;
        let pending = Pending { connection, id, answered };
        let reply = match request {
            Request::Status => return self.look_for(pending),
            Request::Watch => self.watch(connection),
            Request::Apply { plan, hold } => self.apply(connection, *plan, hold),
            Request::Hold { hold } => {
                self.hold(connection, hold);
                Reply::Done
            }
            Request::Building { pid } => {
                if let Some(compilers) = Compilers::led_by(pid) {
                    self.compilers.insert(connection, compilers);
                }
                Reply::Done
            }
            Request::Linked { services, path } => {
                for service in services {
                    self.step(Event::Linked { service, path: path.clone() });
                }
                Reply::Done
            }
            Request::BuildFailed { services, message } => {
                for service in services {
                    self.step(Event::BuildFailed { service, message: message.clone() });
                }
                Reply::Done
            }
            Request::BuildEnded { ok } => {
                self.compilers.remove(&connection);
                self.build_ended(connection, ok);
                match self.after_accepts.entry(connection) {
                    // Creating an image takes long, so the answer is deferred.
                    Entry::Vacant(vacant) => {
                        vacant.insert(id);
                        let _ = pending.answered.send(());
                        return;
                    }
                    Entry::Occupied(_) => {
                        refused("the build of this connection is already ending".to_owned())
                    }
                }
            }
            Request::TakeDown { services, only } => {
                self.step_known(&services.clone(), Event::TakeDown { services, only })
            }
            Request::Restart { services } => self.restart(services),
            Request::Replace { services } => {
                self.step_known(&services.clone(), Event::Replace { services })
            }
            Request::Fault { service, fault } => self.fault(service, fault),
            Request::Shutdown { now } => {
                self.step(if now { Event::KillNow } else { Event::Shutdown });
                Reply::Done
            }
        };
        // The changes are queued before the answer that reports their completion.
        self.publish();
        self.answer(pending, reply);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.stack.snapshot();
        snapshot.supervisor_pid = std::process::id();
        snapshot.guardian_pid = self.guardian;
        snapshot.held = !self.holders.is_empty();
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

    fn apply(&mut self, connection: ConnectionId, plan: Plan, hold: bool) -> Reply {
        if plan.version != Plan::VERSION {
            return refused(format!(
                "the plan has version {}, this supervisor reads {}",
                plan.version,
                Plan::VERSION
            ));
        }
        if self.stack.state() == State::Stopping {
            return refused(format!("stack `{}` is being shut down", self.board.stack()));
        }
        self.applied = true;
        self.hold(connection, hold);
        self.builders.insert(connection);
        self.step(Event::Apply { plan });
        Reply::Done
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
    fn build_ended(&mut self, connection: ConnectionId, ok: bool) {
        self.builders.remove(&connection);
        self.builds_ok &= ok;
        if self.builders.is_empty() {
            let ok = std::mem::replace(&mut self.builds_ok, true);
            self.step(Event::BuildEnded { ok });
        }
    }

    /// Refuses adopted services, which the reducer would silently leave alone.
    fn restart(&mut self, services: Vec<Name>) -> Reply {
        let mut all = services.iter().filter_map(|name| self.stack.service_snapshot(name));
        match all.find(|seen| seen.adopted) {
            Some(seen) => not_ours(&seen),
            None => self.step_known(&services.clone(), Event::Restart { services }),
        }
    }

    /// Refuses a fault that would have no effect, so that no test waits for one.
    fn fault(&mut self, service: Name, fault: Fault) -> Reply {
        let Some(seen) = self.stack.service_snapshot(&service) else {
            return refused(format!("no service `{service}` in this stack"));
        };
        if seen.adopted {
            return not_ours(&seen);
        }
        match (seen.phase, seen.pid) {
            (Phase::Starting | Phase::Ready, Some(_)) => {
                self.step(Event::Fault { service, fault });
                Reply::Done
            }
            (phase, _) => refused(format!(
                "service `{service}` has no process to signal: it is {}",
                phase.as_str()
            )),
        }
    }

    fn step_known(&mut self, services: &[Name], event: Event) -> Reply {
        match services.iter().find(|name| self.stack.service_snapshot(name).is_none()) {
            Some(unknown) => refused(format!("no service `{unknown}` in this stack")),
            None => {
                self.step(event);
                Reply::Done
            }
        }
    }

    fn closed(&mut self, connection: ConnectionId) {
        self.clients.remove(&connection);
        self.after_accepts.remove(&connection);
        if let Some(compilers) = self.compilers.remove(&connection) {
            compilers.kill();
        }
        if self.builders.contains(&connection) {
            self.build_ended(connection, false);
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

fn not_ours(service: &ServiceSnapshot) -> Reply {
    let pid = service.pid.map(|pid| format!(" as process {pid}")).unwrap_or_default();
    let name = &service.name;
    refused(format!(
        "`{name}` runs{pid}, which this stack did not start and does not stop; \
         `cargo xtask restart --replace {name}` replaces it"
    ))
}

fn refused(message: String) -> Reply {
    Reply::Refused { message }
}
