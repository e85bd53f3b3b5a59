//! `--kill-random`: kills services while tests run, at times and in an order that a seed draws.
//!
//! It kills only ready services whose policy restarts them, and none that a test stopped or paused.
//! It waits for tests that exclude faults, and these tests wait until the killed service is ready.
//! The kills are injected faults, so the supervisor counts no restart attempt.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::timeout;
use xtask_client::Stack;
use xtask_client::harness::fault_permit;
use xtask_control::StackPaths;
use xtask_core::snapshot::{Phase, ServiceSnapshot};
use xtask_core::terms::Kind;
use xtask_core::terms::chance::Chance;

use xtask::cli::print;
use xtask::view::style;

/// The shortest and the longest pause between two kills.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1500));

/// The timeout for a killed service to become ready.
const RECOVERY_TIME: Duration = Duration::from_secs(60);

/// Kills services until the future is dropped.
pub(crate) async fn kill_until_dropped(
    paths: &StackPaths,
    seed: u64,
    kills: &mut u32,
) -> Infallible {
    let mut chance = Chance::of(seed);
    loop {
        tokio::time::sleep(chance.duration(PAUSES.0, PAUSES.1)).await;
        // Drawn also without a candidate, so that the times depend on the seed only.
        let mut draw = Chance::of(chance.number());
        let Ok(_permit) = fault_permit(paths.folder()).await else { continue };
        let Ok(stack) = Stack::connect(paths.clone()).await else { continue };
        let Ok(snapshot) = stack.status().await else { continue };
        let candidates: Vec<_> =
            snapshot.services.iter().filter(|service| may_be_killed(service)).collect();
        let Some(victim) = draw.pick(&candidates) else { continue };
        let service = stack.service(&victim.name);
        if service.kill().await.is_ok() {
            *kills += 1;
            let text = format!("{} (run {}) for `--kill-random`", victim.name, victim.run);
            print::progress(style::WARN, "Killed", &text);
            // A service that does not recover fails the tests.
            timeout(RECOVERY_TIME, service.wait_ready_after(victim.run)).await.ok();
        }
    }
}

fn may_be_killed(service: &ServiceSnapshot) -> bool {
    let ready = service.kind == Kind::Service && service.phase == Phase::Ready;
    ready && service.comes_back && !service.paused && service.pid.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::service;

    #[test]
    fn only_ready_restartable_services_are_killed() {
        let ready = ServiceSnapshot { pid: Some(7), ..service("a", Phase::Ready) };
        assert!(may_be_killed(&ready));
        assert!(!may_be_killed(&ServiceSnapshot { comes_back: false, ..ready.clone() }));
        assert!(!may_be_killed(&ServiceSnapshot { paused: true, ..ready.clone() }));
        assert!(!may_be_killed(&ServiceSnapshot { kind: Kind::Job, ..ready.clone() }));
        assert!(!may_be_killed(&ServiceSnapshot { pid: None, ..ready.clone() }));
        assert!(!may_be_killed(&ServiceSnapshot { phase: Phase::Starting, ..ready }));
    }
}
