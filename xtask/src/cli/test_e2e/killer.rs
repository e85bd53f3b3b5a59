//! `--kill-random`: kills services while tests run, at times and in an order that a seed
//! draws.
//!
//! Only services that their policy starts again, and only while they are ready: what a test
//! stopped or paused is its own affair. The kills are faults by order, so no try is counted.

use std::convert::Infallible;
use std::time::Duration;

use xtask_client::snapshot::{Phase, ServiceSnapshot};
use xtask_client::{Stack, StackPaths};
use xtask_core::terms::Kind;
use xtask_core::terms::chance::Chance;

use crate::cli::print;
use crate::view::style;

/// The shortest and the longest pause between two kills.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1500));

/// Kills until it is dropped.
pub(crate) async fn kill_for_ever(paths: &StackPaths, seed: u64, kills: &mut u32) -> Infallible {
    let mut chance = Chance::of(seed);
    loop {
        tokio::time::sleep(chance.duration(PAUSES.0, PAUSES.1)).await;
        // The number is drawn even where there is nobody to kill: the times stay the same.
        let mut draw = Chance::of(chance.number());
        let Ok(stack) = Stack::connect(paths.clone()).await else { continue };
        let Ok(snapshot) = stack.status().await else { continue };
        let could: Vec<_> = snapshot.services.iter().filter(|service| may_die(service)).collect();
        let Some(victim) = draw.pick(&could) else { continue };
        if stack.service(&victim.name).kill().await.is_ok() {
            *kills += 1;
            let text =
                format!("`{}` (run {}), as `--kill-random` wants it", victim.name, victim.run);
            print::say(style::WARN, "Killed", &text);
        }
    }
}

fn may_die(service: &ServiceSnapshot) -> bool {
    let ready = service.kind == Kind::Service && service.phase == Phase::Ready;
    ready && service.comes_back && !service.paused && service.pid.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::service;

    #[test]
    fn only_what_is_ready_and_comes_back_is_killed() {
        let ready = ServiceSnapshot { pid: Some(7), ..service("a", Phase::Ready) };
        assert!(may_die(&ready));
        assert!(!may_die(&ServiceSnapshot { comes_back: false, ..ready.clone() }));
        assert!(!may_die(&ServiceSnapshot { paused: true, ..ready.clone() }));
        assert!(!may_die(&ServiceSnapshot { kind: Kind::Job, ..ready.clone() }));
        assert!(!may_die(&ServiceSnapshot { pid: None, ..ready.clone() }));
        assert!(!may_die(&ServiceSnapshot { phase: Phase::Starting, ..ready }));
    }
}
