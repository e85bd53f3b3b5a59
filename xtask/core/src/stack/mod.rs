//! The reducer over the whole graph of a running stack: events in, effects out.
//!
//! It decides everything about what runs, and touches nothing: no clock (time is an
//! argument), no process, no file. Deadlines live in the phases.

pub mod effect;
pub mod event;

pub use effect::{Command, Effect, Report, Signal};
pub use event::{Artifact, BindFailure, Event, Exit, Run};

use alloc::vec::Vec;
use core::time::Duration;

use crate::snapshot::Snapshot;

/// A running set of services: what is wanted, what is, and what to do about it.
///
/// Times are durations since the stack began.
#[derive(Clone, Debug, Default)]
pub struct Stack {}

impl Stack {
    /// A stack without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event and appends what is to be done. Never panics on any event.
    pub fn step(&mut self, _now: Duration, _event: Event, _effects: &mut Vec<Effect>) {}

    /// When the next [`Event::Tick`] is wanted, if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        None
    }

    /// Everything about the stack that the reducer knows; the caller fills in its own
    /// process ids.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            stack: alloc::string::String::new(),
            workspace: alloc::string::String::new(),
            supervisor_pid: 0,
            guardian_pid: None,
            state: crate::snapshot::State::Ready,
            services: Vec::new(),
        }
    }
}
