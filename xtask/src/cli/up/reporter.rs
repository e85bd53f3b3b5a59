//! Reports the progress of an `up`: lines for users, or JSON events for programs.
//!
//! The views word the lines.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use xtask_client::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::calls::Deadlock;
use xtask_core::plan::Plan;
use xtask_core::terms::Name;

use super::build::programs;
use crate::cli::error::is_broken_pipe;
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::view::event::{TimedEvent, UpEvent};
use crate::view::style::{BUSY, GOOD, WARN};
use crate::view::{progress, status};

/// After this time without a line `up` reports what it waits for. Each repetition waits twice as
/// long.
const FIRST_SILENCE: Duration = Duration::from_millis(1500);

/// How long the last lines wait for their reader, such as a stopped terminal or a pager.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The form of the reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Lines for users.
    Text,
    /// JSON lines on standard output.
    Json,
    /// Nothing; the caller reports the result.
    Silent,
}

/// Prints the last JSON event of an `up` that began at `began`, if the reader accepts it.
pub(crate) async fn end(began: Instant, exit: Exit) {
    let at_ms = began.elapsed().as_millis();
    let last = TimedEvent { at_ms, event: UpEvent::End { exit_code: exit.code() } };
    let printed = spawn_blocking(move || print::json(&last));
    let _ = timeout(PATIENCE, printed).await;
}

/// Reports the progress of one `up`.
pub(crate) struct Reporter {
    output: Output,
    began: Instant,
    programs: usize,
    linked: usize,
    silence: Duration,
    waiting_report_at: Instant,
    /// Whether a failure is reported at once. During the start they are reported at its end, with
    /// causes and logs.
    reports_failures: bool,
    /// Services with a reported log trouble.
    troubled: BTreeSet<Name>,
    /// Whether the command continues, and silently, after a broken pipe.
    survives_broken_pipe: bool,
}

impl Reporter {
    /// Reports the plan. With `survives_broken_pipe` the command continues without its reader.
    pub(crate) fn new(
        output: Output,
        plan: &Plan,
        survives_broken_pipe: bool,
    ) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut reporter = Self {
            output,
            began,
            programs: programs(plan),
            linked: 0,
            silence: FIRST_SILENCE,
            waiting_report_at: began + FIRST_SILENCE,
            reports_failures: false,
            troubled: BTreeSet::new(),
            survives_broken_pipe,
        };
        if output == Output::Json {
            let programs = reporter.programs;
            reporter.print(UpEvent::Plan {
                stack: &plan.stack,
                services: plan.services.iter().map(|service| &*service.name).collect(),
                programs,
            })?;
        }
        Ok(reporter)
    }

    pub(crate) fn linked(
        &mut self,
        services: &[Name],
        path: &str,
        fresh: bool,
    ) -> anyhow::Result<()> {
        self.linked += 1;
        match self.output {
            Output::Json => {
                let services = services.iter().map(|name| &**name).collect();
                self.print(UpEvent::Linked { services, path, fresh })?;
            }
            Output::Text if !fresh => {
                let names: Vec<&str> = services.iter().map(|name| &**name).collect();
                let text = format!("{} ({} of {})", names.join(", "), self.linked, self.programs);
                print::progress(GOOD, "Built", &text);
                self.restart_silence();
            }
            Output::Text | Output::Silent => {}
        }
        Ok(())
    }

    pub(crate) fn build_ended(&mut self, ok: bool) -> anyhow::Result<()> {
        if self.output == Output::Json {
            self.print(UpEvent::BuildEnded { ok })?;
        }
        Ok(())
    }

    pub(crate) fn changed(
        &mut self,
        before: Option<&ServiceSnapshot>,
        now: &ServiceSnapshot,
    ) -> anyhow::Result<()> {
        self.log_trouble(now)?;
        match self.output {
            Output::Text => {
                if (self.reports_failures || now.phase != Phase::Failed)
                    && let Some((color, verb, text)) = progress::step(before, now)
                {
                    print::progress(color, verb, &text);
                    self.restart_silence();
                }
            }
            Output::Json => {
                let same = before
                    .is_some_and(|b| (b.phase, b.run, b.pid) == (now.phase, now.run, now.pid));
                if !same {
                    self.print(UpEvent::phase(now))?;
                }
            }
            Output::Silent => {}
        }
        Ok(())
    }

    /// Reports once per service that its log misses lines.
    fn log_trouble(&mut self, now: &ServiceSnapshot) -> anyhow::Result<()> {
        let Some(error) = &now.log_trouble else { return Ok(()) };
        if !self.troubled.insert(now.name.clone()) {
            return Ok(());
        }
        match self.output {
            Output::Text => {
                let (color, verb, text) = progress::log_trouble(&now.name, error);
                print::progress(color, verb, &text);
                self.restart_silence();
            }
            Output::Json => self.print(UpEvent::LogTrouble { service: &now.name, error })?,
            Output::Silent => {}
        }
        Ok(())
    }

    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// When to report what the command waits for.
    pub(crate) fn waiting_report_at(&self) -> Instant {
        self.waiting_report_at
    }

    /// Reports what the command waits for.
    pub(crate) fn waiting(&mut self, services: &[&ServiceSnapshot], deadlocks: &[Deadlock]) {
        if let Some(text) = progress::waiting(services.iter().copied(), deadlocks) {
            print::progress(BUSY, "Waiting", &text);
        }
    }

    /// Schedules the next such report after twice the time. Returns whether this one is due.
    pub(crate) fn schedule_waiting_report(&mut self) -> bool {
        self.silence *= 2;
        self.waiting_report_at = Instant::now() + self.silence;
        self.output == Output::Text
    }

    /// Reports the services that are up.
    pub(crate) fn ready(
        &mut self,
        snapshot: &Snapshot,
        services: &[&ServiceSnapshot],
        kept: &[&Name],
    ) -> anyhow::Result<()> {
        self.reports_failures = true;
        match self.output {
            Output::Text => {
                let printed = print::out(&status::summary(services, kept));
                self.check_reader(printed.map_err(Into::into))?;
            }
            Output::Json => {
                let already_running = kept.iter().map(|name| name.as_str()).collect();
                self.print(UpEvent::Ready { snapshot, already_running })?;
            }
            Output::Silent => {}
        }
        Ok(())
    }

    /// Reports services that keep running although this `up` removed their last dependent. The next
    /// `up` with their overlay may need them.
    pub(crate) fn unused(&self, names: &[&Name], stack: &str) {
        if let (Output::Text, Some(text)) = (self.output, progress::unused_text(names, stack)) {
            print::progress(WARN, "Unused", &text);
        }
    }

    fn print(&mut self, event: UpEvent<'_>) -> anyhow::Result<()> {
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

    fn restart_silence(&mut self) {
        self.silence = FIRST_SILENCE;
        self.waiting_report_at = Instant::now() + FIRST_SILENCE;
    }
}
