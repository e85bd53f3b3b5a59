//! What must hold, whatever happens. Checkers see events and effects, and what the
//! stack shows of itself; they work out for themselves what should be.
//!
//! They share [`Observed`] and nothing with the reducer.

mod adoption;
mod bring_up;
mod nonsense;
mod observed;
mod promises;
mod seen;
mod take_down;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use xtask_core::stack::{Effect, Event, Report, Stack};

pub(crate) use observed::Observed;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// Which checker says so.
    pub(crate) checker: &'static str,
    /// What it saw.
    pub(crate) message: String,
}

pub(crate) type Verdict = Result<(), Violation>;

/// A verdict, or the panic that came instead: no event may end in one.
pub(crate) fn judged(play: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let said = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it says nothing");
        Err(Violation { checker: "no panic", message: said.to_owned() })
    })
}

/// Fails with a message unless a condition holds.
macro_rules! demand {
    ($condition:expr, $checker:literal, $($message:tt)*) => {
        if !$condition {
            return Err($crate::checkers::Violation {
                checker: $checker,
                message: format!($($message)*),
            });
        }
    };
}
pub(crate) use demand;

/// All checkers, and what they have seen.
#[derive(Default)]
pub(crate) struct Checkers {
    pub(crate) observed: Observed,
    /// What the last event caused.
    pub(crate) effects: Vec<Effect>,
    steps: u64,
    /// The latest time that was seen.
    latest: Duration,
}

impl Checkers {
    /// Steps a stack under the eyes of all checkers.
    pub(crate) fn step(&mut self, stack: &mut Stack, now: Duration, event: &Event) -> Verdict {
        let nonsense = self.observed.is_nonsense(event);
        let stale = !nonsense && self.observed.is_stale(event);
        let before = stale.then(|| stack.snapshot());
        let mut effects = Vec::new();
        stack.step(now, event.clone(), &mut effects);
        // A clock that goes backwards stands still.
        self.latest = self.latest.max(now);
        let now = self.latest;
        self.effects.clone_from(&effects);
        if let Some(before) = before {
            // Whatever else is due now may be done now, too.
            let due = self.observed.deadline.is_some_and(|deadline| deadline <= now);
            demand!(
                due || (effects.is_empty() && stack.snapshot() == before),
                "stale runs",
                "{event:?} of a run that is over caused {effects:?}"
            );
        }
        adoption::replaced(&self.observed, stack, event)?;
        if nonsense {
            let due = self.observed.deadline.is_some_and(|deadline| deadline <= now);
            let said =
                |effect: &Effect| matches!(effect, Effect::Report(Report::Unexpected { .. }));
            let only_said = !effects.is_empty() && effects.iter().all(said);
            demand!(due || only_said, "nonsense", "{event:?} caused {effects:?}");
        } else {
            self.observed.event(now, event);
        }
        for effect in &effects {
            bring_up::check(&self.observed, now, effect)?;
            take_down::check(&self.observed, now, effect)?;
            adoption::check(&self.observed, effect)?;
            promises::check(&self.observed, effect, nonsense)?;
            self.observed.effect(now, effect);
        }
        promises::bounded(&self.observed, &effects)?;
        promises::fixed_point(stack, now)?;
        promises::nobody_hangs_on_a_failure(&self.observed)?;
        self.steps += 1;
        if self.steps.is_multiple_of(7) {
            promises::worklist(&self.observed, stack)?;
        }
        self.observed.deadline = stack.next_deadline();
        Ok(())
    }

    /// Nothing has happened for long, and nothing is broken any more.
    pub(crate) fn at_rest(&self, stack: &Stack) -> Verdict {
        promises::everything_settled(&self.observed, self.latest, stack)
    }

    /// It was told to end, and has had all the time in the world.
    pub(crate) fn at_the_end(&self, survivors: &[String]) -> Verdict {
        demand!(self.observed.ends == 1, "the end", "`end` came {} times", self.observed.ends);
        demand!(survivors.is_empty(), "the end", "still alive: {survivors:?}");
        Ok(())
    }
}
