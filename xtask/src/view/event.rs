//! `up --json`: what happens, one JSON object a line on standard output.
//!
//! These types change only by addition.

use std::borrow::Cow;

use serde::Serialize;
use xtask_client::logs::{End, Line, Stream};
use xtask_client::snapshot::{Failure, Phase, ServiceSnapshot, Snapshot};

/// A line that a service printed, as in `logs --json`.
#[derive(Debug, Serialize)]
pub(crate) struct LogLine<'a> {
    /// When, RFC 3339 in UTC with milliseconds.
    time: &'a str,
    /// The service.
    service: &'a str,
    /// The run that printed it.
    run: u64,
    /// `stdout`, `stderr`, or `xtask` where the tool has something to say about the log.
    stream: &'static str,
    /// What was printed, escapes and all; the replacement character where it was no text.
    text: Cow<'a, str>,
    /// There and true if the line does not end here: it was longer than 64 KiB and the
    /// next of this run and stream goes on, or it never ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    open: bool,
}

impl<'a> LogLine<'a> {
    /// A line of the log of that service.
    pub(crate) fn new(service: &'a str, line: &Line<'a>) -> Self {
        let stream = match line.stream {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
            Stream::Tool => "xtask",
        };
        let open = line.end == End::Open;
        let Line { time, run, .. } = *line;
        Self { time, service, run, stream, text: line.text_lossy(), open }
    }

    /// Appends it as a line of JSON.
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        append(out, self);
    }
}

fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    // Neither texts and numbers nor a buffer in memory can fail.
    let _ = serde_json::to_writer(&mut *out, value);
    out.push(b'\n');
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
    /// The first line, once there is a plan: what will be brought up.
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
    /// Lines that the service prints are missing from its log from now on. Said once a
    /// service.
    LogTrouble {
        /// The service.
        service: &'a str,
        /// Why, in the system's words.
        error: &'a str,
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
    /// Appends it as a line of JSON, without the time that a printed line has itself.
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        append(out, self);
    }

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
