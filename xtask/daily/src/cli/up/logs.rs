//! The log lines of an `up` in the foreground, from its first service on.

use std::sync::Arc;
use std::time::Duration;

use regex_lite::Regex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use xtask_control::StackPaths;
use xtask_core::plan::Plan;
use xtask_core::terms::Name;
use xtask_logs::escapes::{Keep, strip};
use xtask_logs::{More, Record, Start, WATCH_LOG, Wanted};

use super::reporter::{Output, PATIENCE};
use crate::cli::{color, print};
use crate::session::follow::{Extent, Follower};
use crate::system::task::spawn_blocking;
use crate::view::event::{LogLine, UpEvent};
use crate::view::log::Prefixes;

/// How long remaining lines are printed. A service that prints without end must not delay the
/// result of the command or its exit.
const REST_TIME: Duration = Duration::from_millis(300);

/// How many lines of a log are shown first if it is the only one.
const LAST_LINES: usize = 20;

/// Which lines are shown.
#[derive(Debug, Default)]
struct Shown {
    /// Only those of this service; none for all.
    service: Option<Name>,
    /// Only those that match; it does not see colours.
    filter: Option<Regex>,
}

impl Shown {
    fn contains(&self, service: &str, line: &Record<'_>) -> bool {
        // A broken build concerns every reader.
        if service == WATCH_LOG {
            return true;
        }
        self.service.as_ref().is_none_or(|name| name.as_str() == service)
            && self.filter.as_ref().is_none_or(|filter| {
                filter.is_match(&String::from_utf8_lossy(&strip(line.text, Keep::Nothing)))
            })
    }
}

/// The log lines of the foreground. A blocking thread prints them, because the reader may be slow.
/// No more are read before they are printed.
pub struct Logs {
    follower: Follower,
    prefixes: Prefixes,
    output: Output,
    shown: Shown,
    text: Vec<u8>,
    printing: Option<JoinHandle<(Vec<u8>, std::io::Result<()>)>>,
}

impl Logs {
    /// The lines that the services of a plan print from now on.
    ///
    /// # Errors
    /// When the logs cannot be read or watched.
    pub(crate) fn of(plan: &Plan, paths: &StackPaths, output: Output) -> std::io::Result<Self> {
        let names: Vec<_> = plan.services.iter().map(|service| service.name.to_string()).collect();
        let followed: Vec<_> = names.iter().cloned().chain([WATCH_LOG.to_owned()]).collect();
        Ok(Self {
            follower: Follower::new(paths, &followed, &Start::Now, Extent::Future)?,
            prefixes: Prefixes::of(color::kept(), names.iter().map(String::as_str))
                .shortening_times(print::is_terminal()),
            output,
            shown: Shown::default(),
            text: Vec::new(),
            printing: None,
        })
    }

    /// Waits until printing ends, or else for new lines, and starts to print them. Cancel safe.
    pub(crate) async fn step(&mut self) -> anyhow::Result<()> {
        if self.is_printing() {
            return self.printed().await;
        }
        let Self { follower, prefixes, output, shown, text, .. } = self;
        let take = &mut |service: &str, line: &Record<'_>| {
            if shown.contains(service, line) {
                append(text, prefixes, *output, service, line);
            }
        };
        follower.next(take).await?;
        self.print();
        Ok(())
    }

    /// Shows only lines of one service from now on, its last ones first, or those of all services.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub(super) fn show_only(
        &mut self,
        service: Option<&Name>,
        paths: &StackPaths,
    ) -> anyhow::Result<()> {
        self.shown.service = service.cloned();
        let Some(service) = service else { return Ok(()) };
        let all: Wanted = Arc::new(|_| true);
        let start = Start::Last { count: LAST_LINES, since: None, wanted: &*all };
        let names = [service.to_string()];
        let mut last = Follower::new(paths, &names, &start, Extent::Present)?;
        let mut text = Vec::new();
        let mut more = More::Yes;
        while more == More::Yes {
            more = last.rest(&mut |service, line| {
                append(&mut text, &mut self.prefixes, self.output, service, line);
            })?;
        }
        print::bytes(&text)?;
        Ok(())
    }

    /// Shows only lines that match from now on, or all.
    pub(super) fn filter(&mut self, filter: Option<Regex>) {
        self.shown.filter = filter;
    }

    pub(crate) fn is_printing(&self) -> bool {
        self.printing.is_some()
    }

    fn print(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.printing = Some(spawn_blocking(move || {
                let printed = print::bytes(&text);
                (text, printed)
            }));
        }
    }

    async fn printed(&mut self) -> anyhow::Result<()> {
        if let Some(printing) = &mut self.printing {
            let (mut text, printed) = printing.await?;
            self.printing = None;
            text.clear();
            self.text = text;
            printed?;
        }
        Ok(())
    }

    /// Prints the remaining lines, as long as the reader accepts them, for [`REST_TIME`].
    pub(crate) async fn rest(&mut self) -> anyhow::Result<()> {
        let mut more = More::Yes;
        let until = Instant::now() + REST_TIME;
        loop {
            timeout(PATIENCE, self.printed()).await??;
            if more == More::No || Instant::now() > until {
                return Ok(());
            }
            let Self { follower, prefixes, output, shown, text, .. } = self;
            more = follower.rest(&mut |service, line| {
                if shown.contains(service, line) {
                    append(text, prefixes, *output, service, line);
                }
            })?;
            self.print();
        }
    }
}

fn append(
    text: &mut Vec<u8>,
    prefixes: &mut Prefixes,
    output: Output,
    service: &str,
    line: &Record<'_>,
) {
    match output {
        Output::Text => prefixes.append(text, service, line),
        Output::Json => UpEvent::Log(LogLine::new(service, line)).append(text),
        Output::Silent => {}
    }
}
