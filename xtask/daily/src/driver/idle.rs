//! Returns memory to the system while a stack is idle.
//!
//! A start touches most of the supervisor's code, which an idle stack does not need. Without this
//! it would be most of the tool's memory.

use std::time::Duration;

use tokio::time::Instant;
use xtask_core::snapshot::State;

use crate::system::release::release_when_parking;

/// How long nothing must have happened.
const QUIET: Duration = Duration::from_millis(500);

/// The least time between two releases, because the next event maps some pages again.
const BETWEEN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Idle {
    release_at: Option<Instant>,
    last: Option<Instant>,
}

impl Idle {
    /// Notes that something happened in a stack that is in this state now.
    pub(crate) fn happened(&mut self, state: State, now: Instant) {
        let is_settled = !matches!(state, State::Working | State::Stopping);
        let earliest = self.last.map_or(now, |last| last + BETWEEN);
        self.release_at = is_settled.then(|| earliest.max(now + QUIET));
    }

    /// When memory is to be released.
    pub(crate) fn release_at(&self) -> Option<Instant> {
        self.release_at
    }

    pub(crate) fn release(&mut self) {
        self.release_at = None;
        self.last = Some(Instant::now());
        release_when_parking();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_released_once_nothing_happens() {
        let (mut idle, now) = (Idle::default(), Instant::now());
        idle.happened(State::Working, now);
        assert_eq!(idle.release_at(), None);
        idle.happened(State::Ready, now);
        assert_eq!(idle.release_at(), Some(now + QUIET));
        idle.release();
        assert_eq!(idle.release_at(), None, "nothing has happened since");
        idle.happened(State::Failed, now);
        assert!(idle.release_at() >= Some(now + BETWEEN));
        idle.happened(State::Stopping, now);
        assert_eq!(idle.release_at(), None);
    }
}
