//! Performs the effects of the reducer: processes, sockets, probes, logs, programs.
//!
//! [`World::perform`] starts small tasks without branches, each of which ends in one event. The
//! reducer decides what should run, and receives every result as an event.

mod active_run;
pub mod containers;
pub(crate) mod done;
mod error;
mod exit;
mod health;
mod libraries;
pub(crate) mod logs;
mod perform;
pub(crate) mod probe;
mod process;
mod programs;
pub(crate) mod proxies;
mod sockets;
mod spawn;
#[cfg(test)]
mod tests;

pub(crate) use perform::{World, WorldSettings};

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use xtask_core::stack::{Event, Exit, ExitClue, Run};
use xtask_core::terms::Name;

#[derive(Clone, Debug)]
pub(crate) struct RunEvents {
    events: UnboundedSender<Event>,
    service: Name,
    run: Run,
}

impl RunEvents {
    /// Sends an event. The reducer may have ended before, which is no error.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn started(&self, pid: u32) {
        self.send(Event::Started { service: self.service.clone(), run: self.run, pid });
    }

    fn start_failed(&self, error: impl ToString) {
        let error = error.to_string();
        self.send(Event::StartFailed { service: self.service.clone(), run: self.run, error });
    }

    fn passed(&self, probe: usize) {
        self.send(Event::ProbePassed { service: self.service.clone(), run: self.run, probe });
    }

    fn seen(&self, probe: usize, seen: impl ToString) {
        let seen = seen.to_string();
        self.send(Event::ProbeSeen { service: self.service.clone(), run: self.run, probe, seen });
    }

    /// Reports the status text of the service; an empty text removes it.
    fn status(&self, status: String) {
        self.send(Event::Status { service: self.service.clone(), run: self.run, status });
    }

    /// Moves the current deadline to this long from now.
    fn extend(&self, by: Duration) {
        self.send(Event::ExtendTimeout { service: self.service.clone(), run: self.run, by });
    }

    fn pinged(&self) {
        self.send(Event::WatchdogPing { service: self.service.clone(), run: self.run });
    }

    fn health_checked(&self, failure: Option<String>) {
        self.send(Event::HealthChecked { service: self.service.clone(), run: self.run, failure });
    }

    fn exited(&self, exit: Exit, clue: Option<ExitClue>) {
        self.send(Event::Exited { service: self.service.clone(), run: self.run, exit, clue });
    }

    fn log_trouble(&self, trouble: Option<String>) {
        self.send(Event::LogTrouble { service: self.service.clone(), trouble });
    }

    fn gone(&self) {
        self.send(Event::Gone { service: self.service.clone(), run: self.run });
    }
}
