//! The state of a stack as data for views, `status --json` and tests.
//!
//! A snapshot is made by the reducer; nothing can be changed through it. As JSON it is what
//! `status` writes: keys may be added, so readers skip those that they do not know, and a key
//! that is added has a default, so that another version's snapshot can be read.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::calls::{Call, CallState, Called, Deadlock};
pub use crate::terms::Placement;
use crate::terms::{Kind, Name};

/// A stack at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The stack's name.
    pub stack: String,
    /// The workspace root.
    pub workspace: String,
    /// The supervisor's process.
    pub supervisor_pid: u32,
    /// The guardian's process, once there is one.
    pub guardian_pid: Option<u32>,
    /// What the stack as a whole is doing.
    pub state: State,
    /// Whether it goes with a client that stays, an `up` in the foreground.
    #[serde(default)]
    pub held: bool,
    /// Its services, dependencies first.
    pub services: Vec<ServiceSnapshot>,
    /// Services that keep each other from getting ready, where that was looked at: in
    /// the answer to a `status`.
    #[serde(default)]
    pub deadlocks: Vec<Deadlock>,
}

impl Snapshot {
    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&ServiceSnapshot> {
        self.services.iter().find(|service| &*service.name == name)
    }

    /// Whom a service that is not ready has called and who does not accept because it is
    /// not ready either.
    pub fn blocked_calling<'a>(
        &'a self,
        service: &'a ServiceSnapshot,
    ) -> impl Iterator<Item = &'a ServiceSnapshot> {
        let waiting = service.calls.iter().filter(|called| called.state == CallState::Waiting);
        waiting
            .filter_map(|called| self.service(&called.to))
            .filter(|called| service.phase != Phase::Ready && called.phase != Phase::Ready)
    }

    /// The calls to others that the caller's metadata does not declare, in order.
    #[must_use]
    pub fn undeclared_calls(&self) -> Vec<Call> {
        self.services.iter().flat_map(ServiceSnapshot::undeclared_calls).collect()
    }
}

/// What a stack as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Something that is wanted is neither ready nor given up, or it runs and is still
    /// to be compared with a program that is being built.
    Working,
    /// Everything that is wanted is ready or succeeded.
    Ready,
    /// Nothing more happens by itself, nothing failed, and something that is wanted ended
    /// by itself and well.
    Stopped,
    /// Nothing more happens by itself, and something that is wanted failed.
    Failed,
    /// It is being shut down.
    Stopping,
}

/// A service at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSnapshot {
    /// Its name.
    pub name: Name,
    /// Service or job.
    pub kind: Kind,
    /// Where it runs.
    #[serde(default)]
    pub placement: Placement,
    /// Its phase.
    pub phase: Phase,
    /// Whether it is wanted.
    pub wanted: bool,
    /// Why it is in this phase, one line.
    pub reason: Option<String>,
    /// For `failed`: what kind of failure.
    pub failure: Option<Failure>,
    /// What it waits for right now, each with why: `api (starting)`.
    pub waiting_on: Vec<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Whether that process was started by somebody else and is left alone.
    #[serde(default)]
    pub adopted: bool,
    /// Its run, 0 before the first.
    pub run: u64,
    /// Its default address.
    pub url: Option<String>,
    /// Its ports by name, once known.
    pub ports: BTreeMap<String, u16>,
    /// From the start of the run to ready (for a job: to its end), in milliseconds.
    pub ready_ms: Option<u64>,
    /// From the start of the stack to ready, in milliseconds.
    pub ready_at_ms: Option<u64>,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// What its probes last saw.
    pub seen: Vec<String>,
    /// How many callers wait unaccepted on its ports, where that was looked at: in the
    /// answer to a `status`, of a service that is not ready.
    pub callers_waiting: Option<u32>,
    /// Whom its processes have open connections to, where that was looked at: in the
    /// answer to a `status`.
    #[serde(default)]
    pub calls: Vec<Called>,
    /// Whether its policy starts it again when it is killed.
    #[serde(default)]
    pub comes_back: bool,
    /// Whether a test made it stand still: it may be `ready` and answer nobody.
    #[serde(default)]
    pub paused: bool,
    /// Its own `STATUS=`.
    pub status: Option<String>,
    /// Why lines that it prints are missing from its log, while that is so.
    pub log_trouble: Option<String>,
    /// What it waits for at a start.
    pub depends_on: Vec<Name>,
    /// What it only knows the address of.
    pub uses: Vec<Name>,
}

impl ServiceSnapshot {
    fn undeclared_calls(&self) -> impl Iterator<Item = Call> {
        let declared = |name: &Name| self.depends_on.contains(name) || self.uses.contains(name);
        let foreign = move |called: &&Called| called.to != self.name && !declared(&called.to);
        self.calls.iter().filter(foreign).map(|called| Call {
            from: self.name.clone(),
            to: called.to.clone(),
            state: called.state,
        })
    }
}

/// The state of a service, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Wanted, and a condition does not hold yet.
    Waiting,
    /// Wanted, and its program is not linked yet.
    Building,
    /// Its process runs and is not ready.
    Starting,
    /// All probes passed.
    Ready,
    /// It ended, and is started again after a pause.
    Backoff,
    /// It was told to stop, or its group still has members.
    Stopping,
    /// Nothing of it runs, as wanted.
    Stopped,
    /// A job that ended with exit code 0.
    Succeeded,
    /// Given up.
    Failed,
}

impl Phase {
    /// Whether it is on the way to another phase.
    #[must_use]
    pub const fn is_on_the_way(self) -> bool {
        match self {
            Self::Waiting | Self::Building | Self::Starting | Self::Backoff | Self::Stopping => {
                true
            }
            Self::Ready | Self::Stopped | Self::Succeeded | Self::Failed => false,
        }
    }

    /// The phase as users see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Building => "building",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Backoff => "backoff",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// What kind of failure ended the tries; each has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// Its program could not be built.
    Build,
    /// Its port is held by another program.
    Port,
    /// Its port is held by the same program, started by somebody else, which cannot
    /// stand in its place: it is another build, or has other settings.
    Unadopted,
    /// It could not be started, ended too often, or ended before it was ready.
    Start,
    /// It did not get ready in time.
    Timeout,
    /// It ended after it had been ready, and was not or no longer started again.
    Died,
    /// Something it depends on failed.
    Dependency,
}
