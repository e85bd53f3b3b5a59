//! Traces: records as `up --record` writes them, with the steps after which the stack must be at
//! rest.
//!
//! The cases in `tests/traces` contain no effects, because theirs were wrong.

use xtask_core::record::{RecordCheck, RecordLine, RecordStep, VERSION};
use xtask_core::stack::Stack;

use crate::checkers::{Checkers, Verdict};

/// The text of a record.
pub(crate) fn text(steps: &[RecordLine]) -> String {
    let begin = RecordLine::Begin { version: VERSION, by: "simulation".to_owned() };
    let lines = std::iter::once(&begin).chain(steps);
    lines.map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

/// The lines of a record after the first one.
pub(crate) fn read(text: &str) -> Vec<RecordLine> {
    let mut lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let begin: RecordLine = lines.next().unwrap();
    assert!(matches!(begin, RecordLine::Begin { version: VERSION, .. }), "{begin:?}");
    lines.collect()
}

/// Steps a trace again and checks it.
pub(crate) fn replay(lines: &[RecordLine]) -> Verdict {
    let mut stack = Stack::new();
    let mut checkers = Checkers::default();
    for line in lines {
        match line {
            RecordLine::Step(step) => checkers.step(&mut stack, step.at(), &step.event)?,
            RecordLine::Check(RecordCheck::Rest) => checkers.at_rest(&stack)?,
            RecordLine::Begin { .. } => panic!("a record in a record"),
        }
    }
    Ok(())
}

/// A trace without effects.
pub(crate) fn events(lines: &[RecordLine]) -> Vec<RecordLine> {
    let bare = |step: &RecordStep| RecordStep { effects: None, ..step.clone() };
    let lines = lines.iter().map(|line| match line {
        RecordLine::Step(step) => RecordLine::Step(Box::new(bare(step))),
        other => other.clone(),
    });
    lines.collect()
}
