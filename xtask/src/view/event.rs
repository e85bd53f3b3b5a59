//! `up --json`: what happens, one JSON object a line on standard output.
//!
//! These types are documented in the README and change only by addition.

use serde::Serialize;
use xtask_client::snapshot::{Failure, Phase, ServiceSnapshot, Snapshot};

/// A line that a service printed, as in `logs --json`.
#[derive(Debug, Serialize)]
pub(crate) struct LogLine<'a> {
    /// The service.
    pub(crate) service: &'a str,
    /// The line, with its time, run and stream.
    #[serde(flatten)]
    pub(crate) line: xtask_client::logs::Line<'a>,
}

/// One line, apart from `log`: a line that was printed has its own time.
#[derive(Debug, Serialize)]
pub(crate) struct TimedEvent<'a> {
    /// From the beginning of this `up`, in milliseconds.
    pub(crate) at_ms: u128,
    /// What happened.
    #[serde(flatten)]
    pub(crate) event: UpEvent<'a>,
}

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub(crate) enum UpEvent<'a> {
    /// The first line: what will be brought up.
    Plan {
        /// The stack's name.
        stack: &'a str,
        /// Its services, dependencies first.
        services: Vec<&'a str>,
        /// How many programs are built for it.
        programs: usize,
    },
    /// A program was linked, or was found up to date.
    Linked {
        /// The services that run it.
        services: Vec<&'a str>,
        /// Where cargo put it.
        path: &'a str,
        /// Whether cargo had nothing to do for it.
        fresh: bool,
    },
    /// Cargo is done.
    BuildEnded {
        /// Whether it was content.
        ok: bool,
    },
    /// The phase of a service changed.
    Phase {
        /// The service.
        service: &'a str,
        /// Its new phase.
        phase: Phase,
        /// Its run, 0 before the first.
        run: u64,
        /// Its process.
        pid: Option<u32>,
        /// Whether that process was started by somebody else and is left alone.
        adopted: bool,
        /// Its default address, once known.
        url: Option<&'a str>,
        /// From the start of the run to ready, in milliseconds.
        ready_ms: Option<u64>,
        /// Why, where there is more to say than the phase.
        reason: Option<&'a str>,
        /// For `failed`: what kind of failure.
        failure: Option<Failure>,
    },
    /// What was asked for is ready: the state of the stack, as in `status --json`.
    Ready {
        /// The stack.
        #[serde(flatten)]
        snapshot: &'a Snapshot,
        /// Services that ran before and were left alone.
        already_running: Vec<&'a str>,
    },
    /// A line that a service printed; in the foreground only.
    Log(LogLine<'a>),
    /// The last line.
    End {
        /// The process' exit code.
        exit_code: u8,
    },
}

impl<'a> UpEvent<'a> {
    /// The event of a service's new state.
    pub(crate) fn phase(service: &'a ServiceSnapshot) -> Self {
        Self::Phase {
            service: &service.name,
            phase: service.phase,
            run: service.run,
            pid: service.pid,
            adopted: service.adopted,
            url: service.url.as_deref(),
            ready_ms: service.ready_ms,
            reason: service.reason.as_deref(),
            failure: service.failure,
        }
    }
}
