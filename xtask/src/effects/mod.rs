//! Everything that touches the world: processes, sockets, probes, logs, programs.
//!
//! [`World::perform`] takes an effect of the reducer and starts what it needs: small
//! straight-line tasks, each of which ends in one event. Nothing here decides what
//! should run; the reducer does, and hears of everything through events.

mod active_run;
pub(crate) mod containers;
mod exit;
mod logs;
mod perform;
mod probe;
mod process;
mod programs;
mod sockets;
mod spawn;
#[cfg(test)]
mod tests;

pub(crate) use perform::{World, WorldSettings};

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use xtask_core::stack::{Event, Exit, Run};
use xtask_core::terms::Name;

/// The way back to the reducer for everything about one run.
#[derive(Clone, Debug)]
pub(crate) struct RunEvents {
    events: UnboundedSender<Event>,
    service: Name,
    run: Run,
}

impl RunEvents {
    /// Sends an event; the supervisor being over is no reason to complain.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn started(&self, pid: u32) {
        self.send(Event::Started { service: self.service.clone(), run: self.run, pid });
    }

    fn start_failed(&self, error: String) {
        self.send(Event::StartFailed { service: self.service.clone(), run: self.run, error });
    }

    fn passed(&self, probe: usize) {
        self.send(Event::ProbePassed { service: self.service.clone(), run: self.run, probe });
    }

    fn seen(&self, probe: usize, seen: String) {
        self.send(Event::ProbeSeen { service: self.service.clone(), run: self.run, probe, seen });
    }

    /// What it says of itself; an empty text takes that back.
    fn status(&self, status: String) {
        self.send(Event::Status { service: self.service.clone(), run: self.run, status });
    }

    /// Lets the present deadline be so far from now.
    fn extend(&self, by: Duration) {
        self.send(Event::ExtendTimeout { service: self.service.clone(), run: self.run, by });
    }

    fn pinged(&self) {
        self.send(Event::WatchdogPing { service: self.service.clone(), run: self.run });
    }

    fn exited(&self, exit: Exit) {
        self.send(Event::Exited { service: self.service.clone(), run: self.run, exit });
    }

    fn log_trouble(&self, trouble: Option<String>) {
        self.send(Event::LogTrouble { service: self.service.clone(), trouble });
    }

    fn gone(&self) {
        self.send(Event::Gone { service: self.service.clone(), run: self.run });
    }
}
