//! What runs of a service, and the deadline of that: the phases of the reducer.
//!
//! Others see them as [`crate::snapshot::Phase`]; what follows from a phase is decided
//! elsewhere.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::adoption::ExpectedProcess;
use super::effect::Command;
use crate::plan::Port;
use crate::snapshot::Failure;
use crate::terms::Kind;

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing.
    Rest(Rest),
    /// A run that is not ready.
    Starting(Starting),
    /// A run that is ready.
    Ready(Ready),
    /// A run that ends, or what is left of one.
    Stopping(Stopping),
}

/// Why nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing speaks against a start but what it waits for.
    Idle,
    /// It ended and is started again at that time.
    Backoff {
        /// When.
        until: Duration,
        /// How it ended.
        reason: String,
    },
    /// It ended by itself, well.
    Stopped {
        /// How.
        reason: String,
    },
    /// A job that did its work.
    Succeeded,
    /// Given up.
    Failed {
        /// The kind.
        failure: Failure,
        /// Why.
        reason: String,
    },
}

/// A run on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Starting {
    /// When it was asked for.
    pub(crate) since: Duration,
    /// Its process, once it is there.
    pub(crate) pid: Option<u32>,
    /// When it is given up.
    pub(crate) deadline: Option<Duration>,
    /// How many probes it has; the plan may have others by now.
    pub(crate) probes: usize,
    /// Those that have not passed.
    pub(crate) missing: Vec<usize>,
}

/// A run that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Its process; none for what is not managed.
    pub(crate) pid: Option<u32>,
    /// How many probes it has.
    pub(crate) probes: usize,
    /// When it must have said that it is alive.
    pub(crate) watchdog: Option<Duration>,
}

/// A run on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// Its process; none while it has not been started yet.
    pub(crate) pid: Option<u32>,
    /// How far it is.
    pub(crate) stage: Stage,
    /// Whether the leader has ended.
    pub(crate) exited: bool,
    /// Why it ends.
    pub(crate) reason: Option<String>,
    /// What follows.
    pub(crate) then: Rest,
}

/// How long a process may take to go away after SIGKILL, or to appear after its start.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How far a stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It cannot be told before it is started.
    Unstarted {
        /// When that is no longer expected.
        give_up: Duration,
    },
    /// It was told.
    Signalled {
        /// When it is killed.
        kill_at: Duration,
        /// The latest time that its own words can move that to.
        latest: Duration,
    },
    /// It was killed.
    Killed {
        /// When nothing more is expected of that.
        give_up: Duration,
    },
    /// It is beyond reach. Nobody waits for it any more, except its own next run.
    Lost,
}

/// Whether what runs must be compared with what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// No comparison is due.
    Done,
    /// An address that the launch names is unknown: the run is kept until it can be compared.
    Deferred,
    /// An address that the run was given has changed.
    Silent,
    /// The user asked for it, and is told if the run is already up to date.
    Announced,
}

/// What a run was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launched {
    /// Service or job: what runs to completion is not ready in the same way.
    pub(crate) kind: Kind,
    /// How it came to be.
    pub(crate) origin: RunOrigin,
    /// The command; none for what is not managed. What was not started here would have
    /// been started with it.
    pub(crate) command: Option<Command>,
    /// The content of the program, if it was built.
    pub(crate) content: Option<u64>,
    /// Its ports.
    pub(crate) ports: Vec<Port>,
    /// What an adopted process was compared with; none where anybody would do.
    pub(crate) expected: Option<ExpectedProcess>,
}

/// How a run came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunOrigin {
    /// By a start.
    Started,
    /// It was there, and stands in the place of one. It gets no signal.
    Adopted,
    /// It was there, and is stopped because somebody asked for that.
    Evicted,
    /// Nobody knows: it is only probed.
    Unmanaged,
}
