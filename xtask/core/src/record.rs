//! A recorded stack: its events with their times, and the effects of each.
//!
//! The reducer uses neither chance nor clocks, so the same events at the same times have the
//! same effects. [`Replay`] reports where they do not. Files and JSON are left to the writers of
//! records: they write one line for each [`RecordLine`].

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
    /// The header of the record.
    Begin {
        /// [`VERSION`].
        version: u32,
        /// The program that wrote it, for people.
        by: String,
    },
    /// An event and its effects.
    Step(Box<RecordStep>),
    /// A check of the whole stack. Only simulations write it.
    Check(RecordCheck),
}

/// An event and its effects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordStep {
    /// When it arrived, in nanoseconds since the stack began. Not rounded, so that a replayed
    /// deadline is not early.
    pub at_ns: u64,
    /// The event as the stack received it.
    pub event: Event,
    /// Its effects, in order. None in a test case, where the recorded effects were wrong.
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

    /// When it arrived, since the stack began.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_nanos(self.at_ns)
    }
}

/// A check of the whole stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordCheck {
    /// After a long time without faults every service is in a final state.
    Rest,
}

/// How a replayed step compares with the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepComparison {
    /// The effects are the same.
    Same,
    /// The effects differ.
    Differs {
        /// The index of the first difference, which may be the end of the shorter list.
        at: usize,
    },
    /// No effects were recorded.
    Nothing,
}

/// Replays a record with a new stack.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    stack: Stack,
}

impl Replay {
    /// A replay that has not taken a step.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one step and returns its present effects.
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
    fn replay_finds_a_changed_effect() {
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
