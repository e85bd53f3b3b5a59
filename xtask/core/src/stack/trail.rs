//! What the runs of a service have left behind: ends and starts in a row, and what the
//! last one has shown of itself.
//!
//! What follows from it is decided in `verdict`.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::event::Fault;

/// Ends and starts in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    /// When it was started again, as far back as it counts.
    pub(crate) again: Vec<Duration>,
    /// Whether a run of this series was ready.
    pub(crate) was_ready: bool,
    /// How often it was started again at all.
    pub(crate) restarts: u32,
}

impl Series {
    /// Begins anew, because somebody asked for it.
    pub(crate) fn reset(&mut self) {
        self.again.clear();
        self.was_ready = false;
    }
}

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// From its start to ready.
    pub(crate) ready: Option<Duration>,
    /// From the start of the stack to ready.
    pub(crate) ready_at: Option<Duration>,
    /// What each probe last saw.
    pub(crate) seen: Vec<Option<String>>,
    /// Its own words.
    pub(crate) status: Option<String>,
    /// What a test did to it, and did not take back.
    pub(crate) fault: Option<Fault>,
    /// Why nobody can say with which settings it would be started now.
    pub(crate) outdated: Option<String>,
}
