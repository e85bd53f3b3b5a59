//! Open connections between services, and the start-up deadlocks that follow from them.
//!
//! Nothing is looked up here. The stack decides which calls make a deadlock, because it knows
//! the phases.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::terms::Name;

/// At least one open connection from processes of one service to a port of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Call {
    /// The calling service.
    pub from: Name,
    /// The called service.
    pub to: Name,
    /// Whether the connection is accepted.
    pub state: CallState,
}

/// Whether a call is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallState {
    /// The called service has not accepted it.
    Waiting,
    /// It is accepted. Whether an answer is due is not visible from outside.
    Accepted,
}

/// A call as its caller's snapshot shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// The called service.
    pub to: Name,
    /// Whether the connection is accepted.
    pub state: CallState,
}

/// Services that cannot become ready, because each waits for the next and the last for the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlock {
    /// At least one of them is a call.
    pub steps: Vec<DeadlockStep>,
}

/// One service of a deadlock, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlockStep {
    /// The waiting service.
    pub service: Name,
    /// How it waits.
    pub blocked: Blocked,
    /// The service that it waits for.
    pub on: Name,
}

/// How a service waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blocked {
    /// Its process called the other service, which does not accept.
    Calling,
    /// It starts once the other service reaches the condition of its `depends-on`.
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
        let steps: Vec<String> = self.steps.iter().map(DeadlockStep::to_string).collect();
        f.write_str(&steps.join(", "))
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
