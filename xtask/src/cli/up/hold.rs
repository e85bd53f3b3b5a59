//! `up` in the foreground once everything is ready: logs until Ctrl-C, and the end.
//!
//! A stack that somebody else started is only watched: Ctrl-C leaves it running.

use anyhow::bail;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use xtask_client::logs::{Line, More};
use xtask_client::protocol::{Reply, Request};
use xtask_client::snapshot::State;

use super::bring_up::BringUp;
use super::tell::{Listener, PATIENCE};
use crate::cli::exit::Exit;
use crate::cli::follow::Follower;
use crate::cli::interrupt::Interrupts;
use crate::cli::{color, locate, print};
use crate::view::calls::undeclared;
use crate::view::event::{LogLine, UpEvent};
use crate::view::log::Prefixes;
use crate::view::style::{BUSY, WARN};

/// The foreground's log lines. They are printed beside everything else, as a reader may
/// be slow or stuck, and no more are read before they are gone.
pub(crate) struct Logs {
    follower: Follower,
    prefixes: Prefixes,
    listener: Listener,
    text: Vec<u8>,
    printing: Option<JoinHandle<(Vec<u8>, std::io::Result<()>)>>,
}

impl Logs {
    /// Waits for what is being printed, or else for new lines, which it begins to print.
    /// Nothing is lost when the wait is given up.
    async fn step(&mut self) -> anyhow::Result<()> {
        if self.is_printing() {
            return self.printed().await;
        }
        let Self { follower, prefixes, listener, text, .. } = self;
        follower
            .next(&mut |service, line| append(text, prefixes, *listener, service, line))
            .await?;
        self.print();
        Ok(())
    }

    fn is_printing(&self) -> bool {
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

    /// Prints what is left, as long as somebody takes it.
    async fn rest(&mut self) -> anyhow::Result<()> {
        let mut more = More::Yes;
        loop {
            timeout(PATIENCE, self.printed()).await??;
            if more == More::No {
                return Ok(());
            }
            let Self { follower, prefixes, listener, text, .. } = self;
            more = follower
                .rest(&mut |service, line| append(text, prefixes, *listener, service, line))?;
            self.print();
        }
    }
}

fn append(
    text: &mut Vec<u8>,
    prefixes: &mut Prefixes,
    listener: Listener,
    service: &str,
    line: &Line<'_>,
) {
    match listener {
        Listener::Person => prefixes.append(text, service, line),
        Listener::Program => UpEvent::Log(LogLine::new(service, line)).append(text),
        Listener::Nobody => {}
    }
}

/// Shows logs until somebody ends it.
///
/// # Errors
/// When the supervisor fails.
pub(crate) async fn foreground(
    up: &mut BringUp<'_>,
    follower: Follower,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    let names = up.plan.services.iter().map(|service| &*service.name);
    let mut logs = Logs {
        follower,
        prefixes: Prefixes::of(color::kept(), names),
        listener: up.teller.listener(),
        text: Vec::new(),
        printing: None,
    };
    if !up.session.launched && logs.listener == Listener::Person {
        let held = up.session.connection.status().await?.held;
        let whose = match held {
            true => "a stack that goes with another `up`",
            false => "a stack that runs by itself",
        };
        print::say(BUSY, "Watching", &format!("{whose}; Ctrl-C leaves it running"));
    }
    match watch(up, &mut logs, interrupts).await {
        Ok(Some(exit)) if up.session.launched => end(up, Some(logs), interrupts, exit).await,
        Ok(Some(exit)) => Ok(exit),
        Ok(None) if up.session.snapshot.state == State::Stopping => {
            farewell(up, Some(logs)).await;
            Ok(Exit::DONE)
        }
        // Nobody told the stack to end, and the supervisor had no time to say that it does.
        Ok(None) => {
            last_lines(Some(logs)).await;
            bail!("the supervisor of stack `{}` was killed", up.plan.stack)
        }
        // Whoever read the logs is gone: as good as Ctrl-C.
        Err(error) if print::is_broken_pipe(&error) && up.session.launched => {
            end(up, None, interrupts, Exit::DONE).await
        }
        Err(error) => Err(error),
    }
}

/// How the process is to end; none if the stack was shut down by somebody else.
async fn watch(
    up: &mut BringUp<'_>,
    logs: &mut Logs,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Option<Exit>> {
    loop {
        // What changes is told between lines, not in the middle of one.
        let quiet = !logs.is_printing();
        tokio::select! {
            step = logs.step() => step?,
            answer = up.session.connection.next(), if quiet => match answer? {
                Some(answer) => up.take(answer.reply)?,
                None => return Ok(None),
            },
            exit = interrupts.next() => return Ok(Some(exit)),
        }
    }
}

/// Shuts the stack down and waits until it is gone. A second interrupt kills, a third
/// one leaves.
///
/// # Errors
/// When the supervisor fails.
pub(crate) async fn end(
    up: &mut BringUp<'_>,
    mut logs: Option<Logs>,
    interrupts: &mut Interrupts,
    exit: Exit,
) -> anyhow::Result<Exit> {
    let mut asked = 1;
    // The last look at who calls whom, while they still do.
    let look = up.session.connection.send(Request::Status).await.ok();
    let _ = up.session.connection.send(Request::Shutdown { now: false }).await;
    loop {
        let quiet = !logs.as_ref().is_some_and(Logs::is_printing);
        let step = async {
            match &mut logs {
                Some(logs) => logs.step().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            step = step => {
                // Nobody reads the last lines; the stack still has to go.
                if step.is_err() {
                    logs = None;
                }
            }
            answer = up.session.connection.next(), if quiet => match answer {
                Ok(Some(answer)) => {
                    if let (true, Reply::Snapshot(seen)) = (look == Some(answer.id), &answer.reply) {
                        print::tell_all(&undeclared(seen));
                    }
                    let _ = up.take(answer.reply);
                }
                Ok(None) | Err(_) => break,
            },
            () = up.session.supervisor.gone(), if !quiet => break,
            _ = interrupts.next() => {
                asked += 1;
                if asked > 2 {
                    print::say(WARN, "Leaving", "the supervisor goes on stopping the stack");
                    return Ok(exit);
                }
                print::say(WARN, "Killing", "everything that still runs");
                let _ = up.session.connection.send(Request::Shutdown { now: true }).await;
            }
        }
    }
    up.session.supervisor.gone().await;
    farewell(up, logs).await;
    Ok(exit)
}

/// The last lines, and that it is over. Whoever is stuck does not hear of it.
async fn farewell(up: &BringUp<'_>, logs: Option<Logs>) {
    last_lines(logs).await;
    locate::say_down(&up.session.paths);
}

/// What services printed last, as far as somebody takes it.
async fn last_lines(logs: Option<Logs>) {
    if let Some(mut logs) = logs {
        let _ = logs.rest().await;
    }
}
