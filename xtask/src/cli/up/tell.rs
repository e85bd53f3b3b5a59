//! How an `up` speaks: lines of progress for people, or events for programs.
//!
//! It chooses words only through the views, and keeps count of what was said.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use xtask_client::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::calls::Deadlock;
use xtask_core::plan::Plan;
use xtask_core::terms::Name;

use super::build::programs;
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::view::event::{TimedEvent, UpEvent};
use crate::view::style::{BUSY, GOOD, WARN};
use crate::view::{progress, status};

/// After this much silence it is said what is waited for; each time twice as long.
const FIRST_SILENCE: Duration = Duration::from_millis(1500);

/// How long the last words may wait for somebody who takes them: a terminal that is
/// stopped, a pager that is at its first page.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// To whom it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Somebody who reads lines.
    Person,
    /// A program that reads JSON lines on standard output.
    Program,
    /// Nobody: somebody else tells what came of it.
    Nobody,
}

/// The last word to a program about an `up` that began then, if anybody takes it.
pub(crate) async fn end(began: Instant, exit: Exit) {
    let at_ms = began.elapsed().as_millis();
    let last = TimedEvent { at_ms, event: UpEvent::End { exit_code: exit.code() } };
    let said = spawn_blocking(move || print::json(&last));
    let _ = timeout(PATIENCE, said).await;
}

/// The voice of one `up`.
pub(crate) struct Teller {
    listener: Listener,
    began: Instant,
    programs: usize,
    linked: usize,
    silence: Duration,
    speak_at: Instant,
    /// Whether failures are told where they happen: at first they are told at the end,
    /// with all that belongs to them.
    failures: bool,
    /// Services whose log was said to be in trouble.
    troubled: BTreeSet<Name>,
    /// Whether it goes on, and silently, when nobody reads any more.
    goes_on: bool,
}

impl Teller {
    /// A voice that has said what is going to happen.
    /// With `goes_on` a reader who leaves is no reason to end.
    pub(crate) fn new(listener: Listener, plan: &Plan, goes_on: bool) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut teller = Self {
            listener,
            began,
            programs: programs(plan),
            linked: 0,
            silence: FIRST_SILENCE,
            speak_at: began + FIRST_SILENCE,
            failures: false,
            troubled: BTreeSet::new(),
            goes_on,
        };
        if listener == Listener::Program {
            let programs = teller.programs;
            teller.print(UpEvent::Plan {
                stack: &plan.stack,
                services: plan.services.iter().map(|service| &*service.name).collect(),
                programs,
            })?;
        }
        Ok(teller)
    }

    pub(crate) fn linked(
        &mut self,
        services: &[Name],
        path: &str,
        fresh: bool,
    ) -> anyhow::Result<()> {
        self.linked += 1;
        match self.listener {
            Listener::Program => {
                let services = services.iter().map(|name| &**name).collect();
                self.print(UpEvent::Linked { services, path, fresh })?;
            }
            Listener::Person if !fresh => {
                let names: Vec<&str> = services.iter().map(|name| &**name).collect();
                let text = format!("{} ({} of {})", names.join(", "), self.linked, self.programs);
                print::say(GOOD, "Built", &text);
                self.spoke();
            }
            Listener::Person | Listener::Nobody => {}
        }
        Ok(())
    }

    pub(crate) fn build_ended(&mut self, ok: bool) -> anyhow::Result<()> {
        if self.listener == Listener::Program {
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
        match self.listener {
            Listener::Person => {
                if (self.failures || now.phase != Phase::Failed)
                    && let Some((color, verb, text)) = progress::step(before, now)
                {
                    print::say(color, verb, &text);
                    self.spoke();
                }
            }
            Listener::Program => {
                let same = before
                    .is_some_and(|b| (b.phase, b.run, b.pid) == (now.phase, now.run, now.pid));
                if !same {
                    self.print(UpEvent::phase(now))?;
                }
            }
            Listener::Nobody => {}
        }
        Ok(())
    }

    /// Says once a service that lines are missing from its log.
    fn log_trouble(&mut self, now: &ServiceSnapshot) -> anyhow::Result<()> {
        let Some(error) = &now.log_trouble else { return Ok(()) };
        if !self.troubled.insert(now.name.clone()) {
            return Ok(());
        }
        match self.listener {
            Listener::Person => {
                let (color, verb, text) = progress::log_trouble(&now.name, error);
                print::say(color, verb, &text);
                self.spoke();
            }
            Listener::Program => self.print(UpEvent::LogTrouble { service: &now.name, error })?,
            Listener::Nobody => {}
        }
        Ok(())
    }

    /// To whom it speaks.
    pub(crate) fn listener(&self) -> Listener {
        self.listener
    }

    /// When it is time to say what is waited for.
    pub(crate) fn speak_at(&self) -> Instant {
        self.speak_at
    }

    /// Says what is waited for.
    pub(crate) fn waiting(&mut self, services: &[&ServiceSnapshot], deadlocks: &[Deadlock]) {
        if let Some(text) = progress::waiting(services.iter().copied(), deadlocks) {
            print::say(BUSY, "Waiting", &text);
        }
    }

    /// It is time to say what is waited for, and again after twice as long. Whether anybody
    /// wants to hear it.
    pub(crate) fn is_time_to_speak(&mut self) -> bool {
        self.silence *= 2;
        self.speak_at = Instant::now() + self.silence;
        self.listener == Listener::Person
    }

    /// What is up now.
    pub(crate) fn ready(
        &mut self,
        snapshot: &Snapshot,
        services: &[&ServiceSnapshot],
        kept: &[&Name],
    ) -> anyhow::Result<()> {
        self.failures = true;
        match self.listener {
            Listener::Person => {
                let printed = print::out(&status::summary(services, kept));
                self.heard(printed.map_err(Into::into))?;
            }
            Listener::Program => {
                let already_running = kept.iter().map(|name| name.as_str()).collect();
                self.print(UpEvent::Ready { snapshot, already_running })?;
            }
            Listener::Nobody => {}
        }
        Ok(())
    }

    /// Services that run on, though this `up` took away who needed them: they may be wanted
    /// again by the next one, with their overlay.
    pub(crate) fn unused(&self, names: &[&Name], stack: &str) {
        if let (Listener::Person, Some(text)) =
            (self.listener, progress::unused_words(names, stack))
        {
            print::say(WARN, "Unused", &text);
        }
    }

    fn print(&mut self, event: UpEvent<'_>) -> anyhow::Result<()> {
        let printed = print::json(&TimedEvent { at_ms: self.began.elapsed().as_millis(), event });
        self.heard(printed)
    }

    /// Falls silent where nobody reads and that changes nothing.
    fn heard(&mut self, printed: anyhow::Result<()>) -> anyhow::Result<()> {
        match printed {
            Err(error) if self.goes_on && print::is_broken_pipe(&error) => {
                self.listener = Listener::Nobody;
                Ok(())
            }
            printed => printed,
        }
    }

    fn spoke(&mut self) {
        self.silence = FIRST_SILENCE;
        self.speak_at = Instant::now() + FIRST_SILENCE;
    }
}
