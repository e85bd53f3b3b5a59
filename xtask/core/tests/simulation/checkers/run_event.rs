//! What the events of the present run of a service change in its history.

use std::time::Duration;

use xtask_core::stack::{Event, Exit};
use xtask_core::terms::Kind;

use super::service::{Crash, Position, ServiceHistory};

/// An event of the present run of a service.
pub(super) fn run_event(
    service: &mut ServiceHistory,
    position: Position,
    now: Duration,
    event: &Event,
) {
    let Some(run) = service.run.as_mut() else { return };
    match event {
        Event::Started { .. } => (run.started, run.last_ping) = (true, Some(now)),
        Event::StartFailed { .. } => {
            service.run = None;
            service.skip(true);
        }
        // The answer to the next `Bind` tells whether the address changed.
        Event::PortsLost { .. } => {
            (service.run, service.bound) = (None, false);
            service.skip(true);
        }
        // The watchdog starts again when a probe passes for the first time.
        Event::ProbePassed { probe, .. } if run.pending_probes.remove(probe) => {
            run.last_ping = Some(now);
        }
        Event::ExtendTimeout { by, .. } => {
            run.start_deadline = now + *by;
            run.stop_deadline = run.stop_deadline.map(|_| now + *by);
        }
        Event::WatchdogPing { .. } => run.last_ping = Some(now),
        Event::HealthChecked { failure, .. } if run.health.checking => {
            let health = &mut run.health;
            (health.checking, health.answered_at) = (false, Some(now));
            health.failures = if failure.is_some() { health.failures + 1 } else { 0 };
        }
        Event::Exited { exit, .. } => {
            run.exit = Some(*exit);
            run.ended_by_itself = run.stop_requested_at.is_none() && run.kill_sent_at.is_none();
            if run.ended_by_itself {
                service.crash = Some(Crash { at: now, injected: run.fault.is_some() });
                service.last.crashed = position;
                let again = service.last.restart_requested > service.last.started;
                let done = *exit == Exit::Code(0) && !again && !run.cancelled;
                service.succeeded = done && service.wanted && service.spec.kind == Kind::Job;
            }
        }
        Event::Gone { .. } => {
            let done = run.ended_by_itself && run.exit == Some(Exit::Code(0));
            let again = service.last.restart_requested > service.last.started;
            service.succeeded = done && !again && service.wanted && service.is_job();
            service.succeeded |= service.is_skipped();
            service.run = None;
        }
        _ => {}
    }
}
