//! Reports the progress of an `up`: lines for users, or JSON events for programs.
//!
//! The views word the lines.

use std::time::Duration;
use xtask_core::sorted::{SortedMap, SortedSet};

use tokio::time::{Instant, timeout};
use xtask_control::timings::{Slower, Start};
use xtask_core::calls::Deadlock;
use xtask_core::plan::Plan;
use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::terms::Name;

use super::build::programs;
use crate::cli::error::is_broken_pipe;
use crate::cli::exit::Exit;
use crate::cli::{print, screen};
use crate::system::task::spawn_blocking;
use crate::view::cause::Cause;
use crate::view::event::{TimedEvent, UpEvent};
use crate::view::progress::{self, ProgressLine};
use crate::view::style::{BUSY, GOOD, WARN};
use crate::view::{status, timings};

/// After this time without a line `up` reports what it waits for. Each repetition waits twice as
/// long.
const FIRST_SILENCE: Duration = Duration::from_millis(1500);

/// How long the last lines wait for their reader, such as a stopped terminal or a pager.
pub const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Lines for users.
    Text,
    /// JSON lines on standard output.
    Json,
    /// Nothing; the caller reports the result.
    Silent,
}

/// Prints the last JSON event of an `up` that began at `began`, if the reader accepts it.
pub async fn end(began: Instant, exit: Exit) {
    let at_ms = began.elapsed().as_millis();
    let last = TimedEvent { at_ms, event: UpEvent::End { exit_code: exit.code() } };
    let printed = spawn_blocking(move || print::json(&last));
    let _ = timeout(PATIENCE, printed).await;
}

pub struct Reporter {
    pub(super) output: Output,
    began: Instant,
    programs: usize,
    linked: usize,
    silence: Duration,
    /// When to report what the command waits for.
    pub(super) waiting_report_at: Instant,
    /// The subject of the last such report.
    reported_wait: Option<String>,
    /// Whether a failure is reported at once. During the start they are reported at its end, with
    /// causes and logs.
    reports_failures: bool,
    /// Services with a reported log trouble.
    troubled: SortedSet<Name>,
    /// Services of which an early end was explained.
    explained: SortedSet<Name>,
    /// Whether the command continues, and silently, after a broken pipe.
    survives_broken_pipe: bool,
}

impl Reporter {
    /// Reports the plan. With `survives_broken_pipe` the command continues without its reader.
    pub fn new(output: Output, plan: &Plan, survives_broken_pipe: bool) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut reporter = Self {
            output,
            began,
            programs: programs(plan),
            linked: 0,
            silence: FIRST_SILENCE,
            waiting_report_at: began + FIRST_SILENCE,
            reported_wait: None,
            reports_failures: false,
            troubled: SortedSet::new(),
            explained: SortedSet::new(),
            survives_broken_pipe,
        };
        reporter.event(UpEvent::Plan {
            stack: &plan.stack,
            services: plan.services.iter().map(|service| &*service.name).collect(),
            programs: reporter.programs,
        })?;
        Ok(reporter)
    }

    pub fn linked(&mut self, services: &[Name], path: &str, fresh: bool) -> anyhow::Result<()> {
        self.linked += 1;
        let names: Vec<&str> = services.iter().map(|name| &**name).collect();
        if self.output == Output::Text && !fresh {
            let text = format!("{} ({} of {})", names.join(", "), self.linked, self.programs);
            self.line((GOOD, "Built", text));
        }
        self.event(UpEvent::Linked { services: names, path, fresh })
    }

    pub fn build_ended(&mut self, ok: bool) -> anyhow::Result<()> {
        self.event(UpEvent::BuildEnded { ok })
    }

    pub fn changed(
        &mut self,
        before: Option<&ServiceSnapshot>,
        now: &ServiceSnapshot,
    ) -> anyhow::Result<()> {
        if let Some(error) = &now.log_trouble
            && self.troubled.insert(now.name.clone())
        {
            self.line(progress::log_trouble(&now.name, error));
            self.event(UpEvent::LogTrouble { service: &now.name, error })?;
        }
        if (self.reports_failures || now.phase != Phase::Failed)
            && let Some(line) = progress::step(before, now)
        {
            self.line(line);
        }
        let failed = now.candidate.as_ref().is_some_and(|run| run.phase == Phase::Failed);
        if (self.reports_failures || !failed)
            && let Some(line) = progress::candidate(before, now)
        {
            self.line(line);
        }
        if let Some(candidate) = &now.candidate
            && before.and_then(|before| before.candidate.as_ref()) != Some(candidate)
        {
            self.event(UpEvent::candidate(now, candidate))?;
        }
        match before {
            Some(b) if (b.phase, b.run, b.pid) == (now.phase, now.run, now.pid) => Ok(()),
            _ => self.event(UpEvent::phase(now)),
        }
    }

    /// Explains the first run of a service that ended before it was ready. The next ones usually
    /// end in the same way.
    pub(crate) fn cause(&mut self, service: &ServiceSnapshot, cause: &Cause) -> anyhow::Result<()> {
        if !self.explained.insert(service.name.clone()) {
            return Ok(());
        }
        if self.output == Output::Text {
            print::lines(&cause.text());
        }
        let (lines, hint) = (cause.lines(), cause.hint.as_deref());
        self.event(UpEvent::Cause { service: &service.name, run: service.run, lines, hint })
    }

    /// Reports what the command waits for, if that was not reported before. Live lines show it
    /// anyway, except for deadlocks.
    pub fn waiting(&mut self, services: &[&ServiceSnapshot], deadlocks: &[Deadlock]) {
        let Some(waiting) = progress::waiting(services.iter().copied(), deadlocks) else { return };
        if screen::is_on() && deadlocks.is_empty() {
            return;
        }
        if self.reported_wait.as_ref() != Some(&waiting.subject) {
            print::progress(BUSY, "Waiting", &waiting.text);
            self.reported_wait = Some(waiting.subject);
        }
    }

    /// Schedules the next such report after twice the time. Returns whether this one is due.
    pub fn schedule_waiting_report(&mut self) -> bool {
        self.silence *= 2;
        self.waiting_report_at = Instant::now() + self.silence;
        self.output == Output::Text
    }

    /// Reports the services that are up.
    pub fn ready(
        &mut self,
        snapshot: &Snapshot,
        services: &[&ServiceSnapshot],
        kept: &[&Name],
    ) -> anyhow::Result<()> {
        self.reports_failures = true;
        if self.output == Output::Text {
            let printed = print::out(&status::summary(services, kept));
            self.check_reader(printed.map_err(Into::into))?;
        }
        let already_running = kept.iter().map(|name| name.as_str()).collect();
        self.event(UpEvent::Ready { snapshot, already_running })
    }

    /// Reports how long the start took, and what made it slower than those before it.
    pub(super) fn timed(&mut self, start: &Start, slower: &[Slower]) -> anyhow::Result<()> {
        if self.output == Output::Text {
            print::progress(GOOD, "Ready", &timings::line(start));
            if let Some(text) = timings::slower(slower) {
                print::progress(WARN, "Slower", &text);
            }
        }
        self.event(UpEvent::Timings { start })
    }

    /// Reports services that keep running although this `up` removed their last dependent. The next
    /// `up` with their overlay may need them.
    pub fn unused(&self, names: &[&Name], stack: &str) {
        if let (Output::Text, Some(text)) = (self.output, progress::unused_text(names, stack)) {
            print::progress(WARN, "Unused", &text);
        }
    }

    /// Reports other programs that callers of `localhost` may reach instead of a service.
    pub fn strangers(&mut self, found: &SortedMap<Name, Vec<String>>) {
        for (name, strangers) in found {
            self.line((WARN, "Warning", format!("{name}: {}", strangers.join("; "))));
        }
    }

    /// Prints a line if the output is text.
    fn line(&mut self, (color, verb, text): ProgressLine) {
        if self.output == Output::Text {
            print::progress(color, verb, &text);
            self.silence = FIRST_SILENCE;
            self.waiting_report_at = Instant::now() + FIRST_SILENCE;
        }
    }

    /// Prints an event if the output is JSON.
    fn event(&mut self, event: UpEvent<'_>) -> anyhow::Result<()> {
        if self.output != Output::Json {
            return Ok(());
        }
        let printed = print::json(&TimedEvent { at_ms: self.began.elapsed().as_millis(), event });
        self.check_reader(printed)
    }

    /// Turns a broken pipe into silence if the command survives it.
    fn check_reader(&mut self, printed: anyhow::Result<()>) -> anyhow::Result<()> {
        match printed {
            Err(error) if self.survives_broken_pipe && is_broken_pipe(&error) => {
                self.output = Output::Silent;
                Ok(())
            }
            printed => printed,
        }
    }
}
