//! Properties that hold after every event. Checkers see the events and effects of a stack and its
//! snapshots, and derive from them what should be.
//!
//! They share [`History`] and nothing with the reducer.

mod adoption;
mod bring_up;
mod contexts;
mod handover;
mod health;
mod history;
mod moves;
mod run_event;
mod service;
mod stack;
mod take_down;
mod unexpected;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use xtask_core::stack::{Effect, Event, Report, Stack};

pub(crate) use history::History;
pub(crate) use unexpected::KnownRuns;

/// A property that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) checker: &'static str,
    pub(crate) message: String,
}

pub(crate) type Verdict = Result<(), Violation>;

/// The verdict of a play. A panic is a violation: no event may cause one.
pub(crate) fn catch_panic(play: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(Violation { checker: "no panic", message: text.to_owned() })
    })
}

/// Returns a violation unless a condition holds.
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

/// All checkers and their history.
#[derive(Default)]
pub(crate) struct Checkers {
    pub(crate) history: History,
    /// The effects of the last event.
    pub(crate) effects: Vec<Effect>,
    steps: u64,
    /// The latest time of an event.
    latest: Duration,
}

impl Checkers {
    /// Steps a stack and checks the effects.
    pub(crate) fn step(&mut self, stack: &mut Stack, now: Duration, event: &Event) -> Verdict {
        let history = &mut self.history;
        history.event_position = history.position + 1;
        let unexpected = history.is_unexpected(event);
        let stale = !unexpected && history.is_stale(event);
        let before = stale.then(|| stack.snapshot());
        let mut effects = Vec::new();
        stack.step(now, event.clone(), &mut effects);
        // The stack ignores a clock that goes backwards.
        self.latest = self.latest.max(now);
        let now = self.latest;
        self.effects.clone_from(&effects);
        // What is due now may happen at any event.
        let due = history.deadline.is_some_and(|deadline| deadline <= now);
        if let Some(before) = before {
            demand!(
                due || (effects.is_empty() && stack.snapshot() == before),
                "stale runs",
                "{event:?} of a past run caused {effects:?}"
            );
        }
        adoption::replaced(history, stack, event)?;
        if !due {
            handover::failed(history, stack, event, &effects)?;
        }
        if unexpected {
            let report =
                |effect: &Effect| matches!(effect, Effect::Report(Report::Unexpected { .. }));
            let only_reports = !effects.is_empty() && effects.iter().all(report);
            demand!(due || only_reports, "unexpected events", "{event:?} caused {effects:?}");
        } else {
            history.event(now, event);
        }
        history.note_ends(&effects);
        for effect in &effects {
            bring_up::check(history, now, effect)?;
            take_down::check(history, now, effect)?;
            contexts::check(history, effect)?;
            adoption::check(history, now, effect)?;
            health::check(history, now, effect)?;
            handover::reported(history, effect)?;
            stack::check(history, effect, unexpected)?;
            stack::waits_for_closing_port(history, event, effect)?;
            history.effect(now, effect);
        }
        history.note_kept_ports();
        health::noticed(history, event)?;
        stack::bounded(history, &effects)?;
        stack::fixed_point(stack, now)?;
        stack::no_wait_for_failed_dependency(history)?;
        stack::jobs_succeed_with_their_process(history)?;
        self.steps += 1;
        if self.steps.is_multiple_of(7) {
            stack::worklist(history, stack)?;
        }
        history.deadline = stack.next_deadline();
        Ok(())
    }

    /// Checks a stack a long time after the last fault.
    pub(crate) fn at_rest(&self, stack: &Stack) -> Verdict {
        health::checked(&self.history)?;
        stack::all_settled(&self.history, self.latest, stack)
    }

    /// Checks a stack a long time after `Shutdown` or `KillNow`.
    pub(crate) fn at_the_end(&self, survivors: &[String]) -> Verdict {
        let ends = self.history.ends;
        demand!(ends == 1, "the end", "{ends} `end` effects");
        demand!(survivors.is_empty(), "the end", "still running: {survivors:?}");
        Ok(())
    }
}
