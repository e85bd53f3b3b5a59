//! The phases of the reducer: what runs of a service, and its deadline.
//!
//! Views see them as [`crate::snapshot::Phase`]. `transitions` writes them.

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
    /// There is no run.
    Rest(Rest),
    /// There is a run that is not ready.
    Starting(Starting),
    Ready(Ready),
    /// The run is ending, or its process group still has members.
    Stopping(Stopping),
}

/// Why nothing runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It starts as soon as its conditions hold.
    Idle,
    /// It ended and starts again after a pause.
    Backoff { until: Duration, reason: String },
    /// It exited by itself with status 0.
    Stopped { reason: String },
    /// The job did its work.
    Succeeded,
    /// No start is tried until the user acts or a dependency recovers.
    Failed { failure: Failure, reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Starting {
    /// When it was requested.
    pub(crate) since: Duration,
    /// Its process, once it reported `Started`.
    pub(crate) pid: Option<u32>,
    /// When the run is given up.
    pub(crate) deadline: Option<Duration>,
    /// The number of its probes. The plan may have changed since.
    pub(crate) probes: usize,
    /// The probes that have not passed.
    pub(crate) missing: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Its process; none for an `external` service.
    pub(crate) pid: Option<u32>,
    pub(crate) probes: usize,
    /// When the next `WATCHDOG=1` is due.
    pub(crate) watchdog: Option<Duration>,
    pub(crate) health: Health,
}

/// The health checks of a ready run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) next: NextCheck,
    /// How many checks in a row failed.
    pub(crate) failures: u32,
    /// What the last check saw, if it failed.
    pub(crate) seen: Option<String>,
}

/// When a ready run is checked next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NextCheck {
    /// No check is planned.
    #[default]
    Off,
    At(Duration),
    /// A check is under way.
    Asked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// Its process; none before `Started`.
    pub(crate) pid: Option<u32>,
    pub(crate) stage: Stage,
    /// Whether the leader of its process group has exited.
    pub(crate) exited: bool,
    pub(crate) reason: Option<String>,
    /// The phase after the end.
    pub(crate) then: Rest,
}

/// How long a process may take to disappear after SIGKILL, or to appear after its start.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How far a stop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has no process to signal yet, and its start is expected until `give_up`.
    Unstarted { give_up: Duration },
    /// It received its stop signal.
    Signalled {
        /// When it receives SIGKILL.
        kill_at: Duration,
        /// The latest time to which `EXTEND_TIMEOUT_USEC=` can move SIGKILL.
        latest: Duration,
    },
    /// It received SIGKILL, and counts as lost at `give_up`.
    Killed { give_up: Duration },
    /// It survived SIGKILL. Only its own next run still waits for it.
    Lost,
}

impl Stage {
    /// When the next stage is due.
    pub(crate) fn deadline(self) -> Option<Duration> {
        match self {
            Self::Unstarted { give_up } | Self::Killed { give_up } => Some(give_up),
            Self::Signalled { kill_at, .. } => Some(kill_at),
            Self::Lost => None,
        }
    }
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
    /// The user asked for the service. A run that is up to date is reported.
    Announced,
    /// The user asked for a new run. It begins once its program is known.
    Restart,
}

/// What a run was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launched {
    pub(crate) kind: Kind,
    pub(crate) origin: RunOrigin,
    /// The command; none for an `external` service. For an adopted process, the command that it
    /// replaces.
    pub(crate) command: Option<Command>,
    /// A hash of the program, if xtask built it.
    pub(crate) content: Option<u64>,
    pub(crate) ports: Vec<Port>,
    /// The numbers of the ports, if they were known.
    pub(crate) numbers: Vec<u16>,
    /// What an adopted process was compared with; none where `adopt` accepts any process.
    pub(crate) expected: Option<ExpectedProcess>,
}

impl Launched {
    /// Where the run has a port: host and number. A later plan may have other ports.
    pub(crate) fn address(&self, port: usize) -> Option<(&str, u16)> {
        Some((&self.ports.get(port)?.host, *self.numbers.get(port)?))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunOrigin {
    /// xtask started it.
    Started,
    /// It was already running and acts as the run of the service. It gets no signal.
    Adopted,
    /// It was already running, and is stopped because the user asked for that.
    Evicted,
    /// The service is `external`: xtask only probes it.
    Unmanaged,
}
