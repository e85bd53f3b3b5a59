//! What is known of one service and of its present run.
//!
//! How it came to be known is in `observed`.

use std::collections::BTreeSet;
use std::time::Duration;

use xtask_core::plan::{Port, Service};
use xtask_core::snapshot::Phase;
use xtask_core::stack::event::InspectedHolder;
use xtask_core::stack::{Exit, Fault, Run};
use xtask_core::terms::{Kind, Name};

/// After this long a killed process is nobody's hope any more.
pub(crate) const REACH: Duration = Duration::from_secs(5);

/// What is known of one service.
pub(crate) struct Seen {
    pub(crate) spec: Service,
    /// The other services that it reaches and that reach it.
    pub(crate) together: BTreeSet<Name>,
    pub(crate) wanted: bool,
    /// The phase that was last reported.
    pub(crate) phase: Phase,
    /// Where the accepted program lies, and its content.
    pub(crate) accepted: Option<(String, u64)>,
    /// Whether a build has begun and not answered for this service.
    pub(crate) pending: bool,
    /// Whether it may be started from the accepted program nevertheless.
    pub(crate) serving: bool,
    /// Whether a build, or the keeping of its result, has ever failed.
    pub(crate) build_failed: bool,
    pub(crate) bound: bool,
    /// The numbers of its ports as they were last had.
    pub(crate) numbers: Option<Vec<u16>>,
    /// Whether they could not be had again, so that nobody knows the next ones.
    pub(crate) numbers_lost: bool,
    /// The ports as they were when they were last had, and their numbers.
    pub(crate) had: Option<(Vec<Port>, Vec<u16>)>,
    pub(crate) life: Option<Life>,
    /// The number of the last run, 0 before the first.
    pub(crate) last_run: Run,
    /// The ports that were asked for and not answered.
    pub(crate) ports_asked: Option<Vec<Port>>,
    /// How the last run ended, if by itself.
    pub(crate) crashed_at: Option<Duration>,
    pub(crate) succeeded: bool,
    /// Whether a person, a build, an edit or an address gave reason for a new run.
    pub(crate) excused: bool,
    /// When it was started without anybody asking.
    pub(crate) again: Vec<Duration>,
    /// Whether somebody asked for something since the last start.
    pub(crate) asked: bool,
    /// Whether somebody asked for a new run since the last start.
    pub(crate) restarted: bool,
    /// Whether somebody asked that whoever holds its ports makes room.
    pub(crate) may_replace: bool,
    /// Whether a look at who holds its ports was asked for and not answered.
    pub(crate) looking: bool,
    /// Who held its ports at the last look.
    pub(crate) found: Option<InspectedHolder>,
}

/// Whose process a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// It was started here.
    Ours,
    /// It was adopted.
    LeftAlone,
    /// It is stopped because somebody asked for that.
    MakesRoom,
}

/// A run, from its effect to the end of its group.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) run: Run,
    pub(crate) whose: Whose,
    pub(crate) external: bool,
    pub(crate) since: Duration,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) args: Vec<String>,
    pub(crate) content: Option<u64>,
    pub(crate) started: bool,
    /// Whether it was started as a job.
    pub(crate) job: bool,
    pub(crate) missing: BTreeSet<usize>,
    pub(crate) told: Option<Duration>,
    /// When it may be killed, once it is told.
    pub(crate) grace_ends: Option<Duration>,
    pub(crate) killed: Option<Duration>,
    pub(crate) exit: Option<Exit>,
    /// Whether its end was asked for before it came.
    pub(crate) clean: bool,
    /// When its start timeout ends, as far as it may have been moved.
    pub(crate) overdue: Duration,
    /// Whether it was to end before its process was there, and be told as soon as it is.
    pub(crate) sentenced: bool,
    /// Whether its start was called off.
    pub(crate) called_off: bool,
    pub(crate) last_ping: Option<Duration>,
    /// What a test did to it.
    pub(crate) fault: Option<Fault>,
}

impl Life {
    /// Whether every probe passed and its process is there and not told to go.
    pub(crate) fn ready(&self) -> bool {
        self.started && self.missing.is_empty() && self.live()
    }

    /// Whether it ended, and nobody waits for what is left: it was not started here.
    pub(crate) fn parted(&self) -> bool {
        self.whose == Whose::LeftAlone && self.exit.is_some()
    }

    /// Whether its process is there and not told to go.
    pub(crate) fn live(&self) -> bool {
        self.started && self.goes_on()
    }

    /// Whether it has not ended and is not told to go, if its process is there.
    pub(crate) fn goes_on(&self) -> bool {
        self.exit.is_none() && self.told.is_none() && self.killed.is_none()
    }
}

impl Seen {
    pub(super) fn new(spec: Service) -> Self {
        Self {
            spec,
            together: BTreeSet::new(),
            wanted: false,
            phase: Phase::Stopped,
            accepted: None,
            pending: false,
            serving: false,
            build_failed: false,
            bound: false,
            numbers: None,
            numbers_lost: false,
            had: None,
            life: None,
            last_run: 0,
            ports_asked: None,
            crashed_at: None,
            succeeded: false,
            excused: false,
            again: Vec::new(),
            asked: true,
            restarted: false,
            may_replace: false,
            looking: false,
            found: None,
        }
    }

    pub(crate) fn is_job(&self) -> bool {
        self.spec.kind == Kind::Job
    }

    pub(crate) fn ready(&self) -> bool {
        self.wanted && self.life.as_ref().is_some_and(Life::ready)
    }

    /// The run that others may have to wait for: a process, and not one beyond reach.
    pub(crate) fn process(&self, now: Duration) -> Option<&Life> {
        self.life.as_ref().filter(|life| {
            let lost = |at: Option<Duration>| at.is_some_and(|at| now >= at + REACH);
            // One that never appeared counts from when it was asked for.
            let unborn = !life.started && now >= life.since + REACH;
            let ours = life.whose != Whose::LeftAlone;
            ours && !life.external && !lost(life.killed) && !unborn
        })
    }

    /// Whether the ports that it last had are not those of the plan: a broken build let it
    /// keep them, and whoever was started since was told their numbers.
    pub(super) fn keeps_other_ports(&self) -> bool {
        self.had.as_ref().is_some_and(|(ports, _)| *ports != self.spec.ports)
    }

    /// Whether its run is beyond reach.
    pub(crate) fn is_lost(&self, now: Duration) -> bool {
        let left = |life: &Life| life.external || life.whose == Whose::LeftAlone;
        self.life.as_ref().is_some_and(|life| !left(life)) && self.process(now).is_none()
    }

    pub(super) fn asked_for(&mut self) {
        self.asked = true;
        self.again.clear();
    }
}
