//! `up` in the foreground once everything is ready: logs until Ctrl-C, and the end.
//!
//! A stack that somebody else started is only watched: Ctrl-C leaves it running.

use xtask_client::logs::Line;
use xtask_client::protocol::{Reply, Request};

use super::bring_up::BringUp;
use super::tell::Listener;
use crate::cli::exit::Exit;
use crate::cli::follow::Follower;
use crate::cli::interrupt::Interrupts;
use crate::cli::print;
use crate::view::calls::undeclared;
use crate::view::event::{LogLine, UpEvent};
use crate::view::log::Prefixes;
use crate::view::style::{self, BUSY, GOOD, WARN};

/// The foreground's log lines.
pub(crate) struct Logs {
    follower: Follower,
    prefixes: Prefixes,
    text: String,
    listener: Listener,
}

impl Logs {
    async fn next(&mut self) -> anyhow::Result<()> {
        let Self { follower, prefixes, text, listener } = self;
        follower.next(|service, line| append(text, prefixes, *listener, service, line)).await
    }

    fn rest(&mut self) -> anyhow::Result<()> {
        let Self { follower, prefixes, text, listener } = self;
        follower.rest(|service, line| append(text, prefixes, *listener, service, line))?;
        self.print()
    }

    fn print(&mut self) -> anyhow::Result<()> {
        let printed = print::out(&self.text);
        self.text.clear();
        Ok(printed?)
    }
}

fn append(
    text: &mut String,
    prefixes: &mut Prefixes,
    listener: Listener,
    service: &str,
    line: &Line<'_>,
) -> anyhow::Result<()> {
    match listener {
        Listener::Person => prefixes.append(text, service, line),
        Listener::Program => {
            let event = UpEvent::Log(LogLine { service, line: *line });
            text.push_str(&serde_json::to_string(&event)?);
            text.push('\n');
        }
        Listener::Nobody => {}
    }
    Ok(())
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
        prefixes: Prefixes::of(names),
        text: String::new(),
        listener: up.teller.listener(),
    };
    if !up.session.launched && logs.listener == Listener::Person {
        style::say(BUSY, "Watching", "a stack that runs by itself; Ctrl-C leaves it running");
    }
    match watch(up, &mut logs, interrupts).await {
        Ok(Some(exit)) if up.session.launched => end(up, Some(logs), interrupts, exit).await,
        Ok(Some(exit)) => Ok(exit),
        Ok(None) => {
            logs.rest()?;
            style::say(GOOD, "Down", &format!("stack `{}`", up.plan.stack));
            Ok(Exit::DONE)
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
    logs.rest()?;
    loop {
        tokio::select! {
            lines = logs.next() => {
                lines?;
                logs.print()?;
            }
            answer = up.session.connection.next() => match answer? {
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
        let lines = async {
            match &mut logs {
                Some(logs) => logs.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            lines = lines => {
                let printed = lines.and_then(|()| logs.as_mut().map_or(Ok(()), Logs::print));
                // Nobody reads the last lines; the stack still has to go.
                if printed.is_err() {
                    logs = None;
                }
            }
            answer = up.session.connection.next() => match answer {
                Ok(Some(answer)) => {
                    if let (true, Reply::Snapshot(seen)) = (look == Some(answer.id), &answer.reply) {
                        style::tell_all(&undeclared(seen));
                    }
                    let _ = up.take(answer.reply);
                }
                Ok(None) | Err(_) => break,
            },
            _ = interrupts.next() => {
                asked += 1;
                if asked > 2 {
                    style::say(WARN, "Leaving", "the supervisor goes on stopping the stack");
                    return Ok(exit);
                }
                style::say(WARN, "Killing", "everything that still runs");
                let _ = up.session.connection.send(Request::Shutdown { now: true }).await;
            }
        }
    }
    up.session.supervisor.gone().await;
    if let Some(logs) = &mut logs {
        let _ = logs.rest();
    }
    style::say(GOOD, "Down", &format!("stack `{}`", up.plan.stack));
    Ok(exit)
}
