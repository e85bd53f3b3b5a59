//! Traces: one JSON value a line, each an event and when it came; effects are written
//! for the reader and not read back.

use std::time::Duration;

use serde_json::{Value, json};
use xtask_core::stack::{Effect, Event, Stack};

use crate::checkers::{Checkers, Verdict};

/// A line of a trace.
pub(crate) fn line(now: Duration, event: &Event, effects: &[Effect]) -> String {
    json!({ "at": now, "event": event, "effects": effects }).to_string()
}

/// The line that says: here everybody has to be at rest.
pub(crate) const REST: &str = r#"{"check":"rest"}"#;

/// Steps a trace again under the eyes of the checkers.
pub(crate) fn replay(text: &str) -> Verdict {
    let mut stack = Stack::new();
    let mut checkers = Checkers::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line == REST {
            checkers.at_rest(&stack)?;
            continue;
        }
        let value: Value = serde_json::from_str(line).unwrap();
        let now: Duration = serde_json::from_value(value["at"].clone()).unwrap();
        let event: Event = serde_json::from_value(value["event"].clone()).unwrap();
        checkers.step(&mut stack, now, &event)?;
    }
    Ok(())
}
