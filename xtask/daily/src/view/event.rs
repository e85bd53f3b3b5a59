//! `up --json`: events, one JSON object a line on standard output.
//!
//! These types change only by addition.

use std::borrow::Cow;

use serde::Serialize;
use xtask_control::timings::Start;
use xtask_core::snapshot::{Failure, Phase, RunSnapshot, ServiceSnapshot, Snapshot};
use xtask_core::terms::secret::shown_url;
use xtask_logs::{End, Record, Stream};

use super::visible::visible_json;

/// A line that a service printed, as in `logs --json`.
#[derive(Debug, Serialize)]
pub(crate) struct LogLine<'a> {
    /// Time of the line: RFC 3339 in UTC with milliseconds.
    time: &'a str,
    service: &'a str,
    run: u64,
    /// `stdout`, `stderr`, or `xtask` for the tool's own notes about the log.
    stream: &'static str,
    /// The printed text with its escapes; invalid UTF-8 becomes the replacement character.
    text: Cow<'a, str>,
    /// Present and true if the line is incomplete so far. Its rest follows with `continues`, unless
    /// its writer never finishes it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    open: bool,
    /// Present and true if the text continues an earlier line of this run and stream.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    continues: bool,
}

impl<'a> LogLine<'a> {
    pub(crate) fn new(service: &'a str, line: &Record<'a>) -> Self {
        let stream = match line.stream {
            Stream::Out => "stdout",
            Stream::Err => "stderr",
            Stream::Tool => "xtask",
        };
        let open = line.end == End::Open;
        let Record { time, run, continues, .. } = *line;
        Self { time, service, run, stream, text: line.text_lossy(), open, continues }
    }

    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        append(out, self);
    }
}

fn append(out: &mut Vec<u8>, value: &impl Serialize) {
    // Texts and numbers always serialize.
    let json = serde_json::to_string(value).unwrap_or_default();
    out.extend_from_slice(visible_json(&json).as_bytes());
    out.push(b'\n');
}

/// One event with its time. A `log` event has the time of its line instead.
#[derive(Debug, Serialize)]
pub(crate) struct TimedEvent<'a> {
    /// Milliseconds since the start of this `up`.
    pub(crate) at_ms: u128,
    #[serde(flatten)]
    pub(crate) event: UpEvent<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub(crate) enum UpEvent<'a> {
    /// The first event: the plan with its services, dependencies first, and the number of programs
    /// to build.
    Plan { stack: &'a str, services: Vec<&'a str>, programs: usize },
    /// A program was linked, or was found up to date: then it is `fresh`. `path` is its path in the
    /// target directory.
    Linked { services: Vec<&'a str>, path: &'a str, fresh: bool },
    /// Cargo has exited.
    BuildEnded { ok: bool },
    /// The phase of a service changed. The keys mean the same as in `status --json`.
    Phase {
        service: &'a str,
        phase: Phase,
        run: u64,
        pid: Option<u32>,
        adopted: bool,
        url: Option<String>,
        ready_ms: Option<u64>,
        reason: Option<&'a str>,
        failure: Option<Failure>,
    },
    /// The candidate of a handover is `starting`, or `failed` and the run of the service continues.
    /// A candidate that replaced the run is a `phase` event with its run.
    Candidate {
        service: &'a str,
        /// The number of the new run; 0 if it could not be started.
        run: u64,
        phase: Phase,
        pid: Option<u32>,
        reason: Option<&'a str>,
        failure: Option<Failure>,
    },
    /// What a run printed that ended before it was ready: from its panic on, or its last lines.
    /// `hint` is the dependency that the service may miss.
    Cause { service: &'a str, run: u64, lines: Vec<String>, hint: Option<&'a str> },
    /// All requested services are ready: the snapshot, as in `status --json`.
    Ready {
        #[serde(flatten)]
        snapshot: &'a Snapshot,
        /// Services that ran before and were not touched.
        already_running: Vec<&'a str>,
    },
    /// How long the parts of the start took, as in `timings --json`. After `ready`, unless all
    /// services ran before.
    Timings {
        #[serde(flatten)]
        start: &'a Start,
    },
    /// Lines of the service are missing from its log from now on. Reported once for each service.
    LogTrouble { service: &'a str, error: &'a str },
    /// A line that a service printed; in the foreground only.
    Log(LogLine<'a>),
    /// The last event.
    End { exit_code: u8 },
}

impl<'a> UpEvent<'a> {
    /// Appends the event as a line of JSON, without a time.
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        append(out, self);
    }

    pub(crate) fn candidate(service: &'a ServiceSnapshot, candidate: &'a RunSnapshot) -> Self {
        Self::Candidate {
            service: &service.name,
            run: candidate.run,
            phase: candidate.phase,
            pid: candidate.pid,
            reason: candidate.reason.as_deref(),
            failure: candidate.failure,
        }
    }

    pub(crate) fn phase(service: &'a ServiceSnapshot) -> Self {
        Self::Phase {
            service: &service.name,
            phase: service.phase,
            run: service.run,
            pid: service.pid,
            adopted: service.adopted,
            url: service.url.as_deref().map(shown_url),
            ready_ms: service.ready_ms,
            reason: service.reason.as_deref(),
            failure: service.failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_acts_on_no_terminal_in_json() {
        let text = b"a\x1b]52;c;x\x07\xc2\x9b2J\xe2\x80\xae\x7f";
        let line = Record {
            time: "",
            run: 1,
            stream: Stream::Out,
            continues: false,
            end: End::Line,
            text: &text[..],
        };
        let mut out = Vec::new();
        LogLine::new("s", &line).append(&mut out);
        let out = String::from_utf8(out).unwrap();
        let escaped = r#""text":"a\u001b]52;c;x\u0007\u009b2J\u202e\u007f"}"#;
        assert!(out.trim_end().ends_with(escaped), "{out}");
    }
}
