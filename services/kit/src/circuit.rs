//! A circuit breaker: calls to a service that does not answer fail at once, and single trial calls
//! find out whether it is back.
//!
//! It counts failures in a row. It knows nothing of HTTP.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::settings::{SettingError, Settings};

/// When a circuit opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitLimits {
    /// Failures in a row that open it; 0 for never.
    pub failures: u32,
    /// The time between trial calls while it is open.
    pub pause: Duration,
}

/// The circuit of one service, shared by all callers.
#[derive(Clone, Debug)]
pub(crate) struct Circuit {
    limits: CircuitLimits,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// When the next trial call may start; `None` while the circuit is closed.
    trial_at: Option<Instant>,
    /// Whether a trial call is running.
    is_trying: bool,
}

/// A call that may be made. Dropped without a result, it counts as never made.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    circuit: &'a Circuit,
    is_trial: bool,
}

impl Default for CircuitLimits {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_secs(1) }
    }
}

impl CircuitLimits {
    /// Reads `CIRCUIT_FAILURES` and `CIRCUIT_PAUSE`.
    ///
    /// # Errors
    /// When one of them is not a number or a time.
    pub fn from_settings(settings: &Settings) -> Result<Self, SettingError> {
        let default = Self::default();
        let expected = "a number of failures in a row, 0 for never";
        Ok(Self {
            failures: settings.parsed("CIRCUIT_FAILURES", default.failures, expected)?,
            pause: settings.time("CIRCUIT_PAUSE", default.pause)?,
        })
    }
}

impl Circuit {
    pub(crate) fn new(limits: CircuitLimits) -> Self {
        Self { limits, state: Arc::default() }
    }

    /// Whether calls fail at once.
    pub(crate) fn is_open(&self) -> bool {
        self.state().trial_at.is_some()
    }

    /// Lets a call pass; `None` while the circuit is open and no trial call is due.
    pub(crate) fn pass(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.state();
        let is_trial = match state.trial_at {
            None => false,
            Some(at) if at <= now && !state.is_trying => true,
            Some(_) => return None,
        };
        state.is_trying |= is_trial;
        Some(Pass { circuit: self, is_trial })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Ends the call: whether it was answered, and when.
    pub(crate) fn end(self, is_answered: bool, now: Instant) {
        let CircuitLimits { failures, pause } = self.circuit.limits;
        let mut state = self.circuit.state();
        if is_answered {
            // A late answer to a call from before proves nothing while the circuit is open.
            if self.is_trial || state.trial_at.is_none() {
                (state.failures, state.trial_at) = (0, None);
            }
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if self.is_trial || (state.trial_at.is_none() && state.failures == failures) {
            state.trial_at = Some(now + pause);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.circuit.state().is_trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn opened(now: Instant) -> Circuit {
        let circuit = Circuit::new(CircuitLimits { failures: 3, pause: PAUSE });
        for _ in 0..3 {
            assert!(!circuit.is_open());
            circuit.pass(now).unwrap().end(false, now);
        }
        assert!(circuit.is_open());
        circuit
    }

    #[test]
    fn open_circuit_passes_one_trial_at_a_time() {
        let now = Instant::now();
        let circuit = opened(now);
        assert!(circuit.pass(now).is_none());
        let trial = circuit.pass(now + PAUSE).unwrap();
        assert!(circuit.pass(now + 2 * PAUSE).is_none(), "a trial is running");
        trial.end(false, now + 2 * PAUSE);
        assert!(circuit.pass(now + 2 * PAUSE).is_none());
        circuit.pass(now + 3 * PAUSE).unwrap().end(true, now + 3 * PAUSE);
        assert!(!circuit.is_open());
        assert!(circuit.pass(now + 3 * PAUSE).is_some());
    }

    #[test]
    fn dropped_trial_makes_room_for_another() {
        let now = Instant::now();
        let circuit = opened(now);
        drop(circuit.pass(now + PAUSE).unwrap());
        assert!(circuit.pass(now + PAUSE).is_some());
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        let circuit = Circuit::new(CircuitLimits { failures: 2, pause: PAUSE });
        for _ in 0..5 {
            circuit.pass(now).unwrap().end(false, now);
            circuit.pass(now).unwrap().end(true, now);
        }
        assert!(!circuit.is_open());
        let never = Circuit::new(CircuitLimits { failures: 0, pause: PAUSE });
        for _ in 0..5 {
            never.pass(now).unwrap().end(false, now);
        }
        assert!(!never.is_open());
    }

    #[test]
    fn late_answers_do_not_close_it() {
        let now = Instant::now();
        let circuit = Circuit::new(CircuitLimits { failures: 1, pause: PAUSE });
        let (slow, failed) = (circuit.pass(now).unwrap(), circuit.pass(now).unwrap());
        failed.end(false, now);
        slow.end(true, now);
        assert!(circuit.is_open());
    }
}
