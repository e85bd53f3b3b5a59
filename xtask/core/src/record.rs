//! A recorded run: what happened to a stack and when, and what it did about it.
//!
//! Chance and clocks are no part of the reducer, so the same events at the same times
//! have the same effects; [`Replay`] says where they have not. There is deliberately no
//! file and no JSON here: whoever writes a record writes a line for each [`RecordLine`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stack::{Effect, Event, Stack};

/// The version of the format: of these types, and of events, effects and plans.
pub const VERSION: u32 = 2;

/// One line of a record. The first one is [`RecordLine::Begin`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordLine {
    /// What follows, and who wrote it.
    Begin {
        /// [`VERSION`].
        version: u32,
        /// The program that wrote it, for people.
        by: String,
    },
    /// Something happened.
    Step(Box<RecordStep>),
    /// Something that is promised at this point; only simulations write it.
    Check(RecordCheck),
}

/// An event and what it caused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordStep {
    /// When it came, in nanoseconds since the stack began. Not rounded: a deadline must
    /// not come a moment earlier when it is replayed.
    pub at_ns: u64,
    /// What came.
    pub event: Event,
    /// What it caused, in order. None in a case that was kept for its events: there the
    /// effects are the ones that were wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effects: Option<Vec<Effect>>,
}

impl RecordStep {
    /// A step as it is recorded.
    #[must_use]
    pub fn new(at: Duration, event: Event, effects: Vec<Effect>) -> Self {
        let at_ns = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        Self { at_ns, event, effects: Some(effects) }
    }

    /// When it came, since the stack began.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_nanos(self.at_ns)
    }
}

/// A promise about the stack as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordCheck {
    /// Nothing bad has happened for long: everybody is where he can stay.
    Rest,
}

/// How a replayed step compares with what was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepComparison {
    /// The effects are the same.
    Same,
    /// The effects differ, the first time at this place in the list.
    Differs {
        /// Counted from 0; it may be the end of the shorter list.
        at: usize,
    },
    /// No effects were recorded.
    Nothing,
}

/// Steps a fresh stack through a record.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    stack: Stack,
}

impl Replay {
    /// A stack to which nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one step, and returns its effects as they are now.
    pub fn step(&mut self, step: &RecordStep) -> (Vec<Effect>, StepComparison) {
        let mut effects = Vec::new();
        self.stack.step(step.at(), step.event.clone(), &mut effects);
        let comparison = match &step.effects {
            None => StepComparison::Nothing,
            Some(recorded) => match first_difference(recorded, &effects) {
                None => StepComparison::Same,
                Some(at) => StepComparison::Differs { at },
            },
        };
        (effects, comparison)
    }

    /// Whether the stack has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stack.is_over()
    }
}

fn first_difference(left: &[Effect], right: &[Effect]) -> Option<usize> {
    let common = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    (common < left.len().max(right.len())).then_some(common)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_step_that_is_repeated_has_the_same_effects_and_a_changed_one_is_found() {
        let mut stack = Stack::new();
        let mut effects = Vec::new();
        stack.step(Duration::from_nanos(1_500), Event::Shutdown, &mut effects);
        let mut step = RecordStep::new(Duration::from_nanos(1_500), Event::Shutdown, effects);
        assert_eq!(Replay::new().step(&step), (vec![Effect::End], StepComparison::Same));
        step.effects = Some(vec![Effect::End, Effect::End]);
        assert_eq!(Replay::new().step(&step).1, StepComparison::Differs { at: 1 });
        step.effects = None;
        assert_eq!(Replay::new().step(&step).1, StepComparison::Nothing);
    }
}
