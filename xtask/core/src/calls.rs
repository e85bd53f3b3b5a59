//! Who calls whom: open connections between services as somebody saw them, and the
//! start-up deadlocks that follow from them.
//!
//! Nothing is looked up here. Which calls make a deadlock is decided by the stack, which
//! knows the phases; here is what was decided, and how it is said.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::terms::Name;

/// At least one open connection from processes of one service to a port of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Call {
    /// The service that calls.
    pub from: Name,
    /// The service that is called.
    pub to: Name,
    /// How far it is.
    pub state: CallState,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallState {
    /// Nobody has accepted it.
    Waiting,
    /// It is accepted; whether an answer is due cannot be seen from outside.
    Accepted,
}

/// A call as its caller's snapshot shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// The service that is called.
    pub to: Name,
    /// How far it is.
    pub state: CallState,
}

/// Services that cannot get ready because each waits for the next, and the last for the
/// first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlock {
    /// At least one of them is a call.
    pub steps: Vec<DeadlockStep>,
}

/// One service of a deadlock, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlockStep {
    /// Who waits.
    pub service: Name,
    /// In which way.
    pub blocked: Blocked,
    /// For whom.
    pub on: Name,
}

/// In which way a service waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocked {
    /// Its process has called, and the other one does not accept.
    Calling,
    /// It is not started before the other one is as far as its `depends-on` asks.
    Waiting,
}

impl Deadlock {
    /// Whether this service is part of it.
    #[must_use]
    pub fn concerns(&self, service: &str) -> bool {
        self.steps.iter().any(|step| &*step.service == service)
    }
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DeadlockStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, blocked, on } = self;
        match blocked {
            Blocked::Calling => write!(f, "`{service}` is blocked calling `{on}`"),
            Blocked::Waiting => write!(f, "`{service}` waits for `{on}`"),
        }
    }
}
