//! `up` in the foreground: prints logs until Ctrl-C, then shuts the stack down.
//!
//! Ctrl-C leaves a stack running that another command started.

use tokio::time::timeout;
use xtask_control::protocol::{Ask, Reply, Request};
use xtask_core::snapshot::State;

use super::bring_up::BringUp;
use super::logs::Logs;
use super::reporter::{Output, PATIENCE};
use crate::cli::error::{Error, is_broken_pipe};
use crate::cli::exit::Exit;
use crate::cli::interrupt::Interrupts;
use crate::cli::{print, stack};
use crate::system::wait_if_some;
use crate::view::calls::undeclared;
use crate::view::style::{BUSY, WARN};

/// Prints logs until a signal or the end of the stack.
pub(crate) async fn foreground(
    up: &mut BringUp<'_>,
    mut logs: Logs,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Exit> {
    if !up.session.launched && up.reporter.output == Output::Text {
        let owner = match is_held(up).await? {
            true => "a stack that another `up` shuts down",
            false => "a detached stack",
        };
        print::progress(BUSY, "Watching", &format!("{owner}; Ctrl-C leaves it running"));
    }
    match watch(up, &mut logs, interrupts).await {
        Ok(Some(exit)) if up.session.launched => end(up, Some(logs), interrupts, exit).await,
        Ok(Some(exit)) => Ok(exit),
        Ok(None) if up.session.snapshot.state == State::Stopping => {
            report_end(up, Some(logs)).await;
            Ok(Exit::DONE)
        }
        // A supervisor that shuts down reports it first.
        Ok(None) => {
            print_rest(Some(&mut logs)).await;
            Err(Error::SupervisorKilled { stack: up.plan.stack.clone() }.into())
        }
        // The reader of the logs has gone, which is as good as Ctrl-C.
        Err(error) if is_broken_pipe(&error) && up.session.launched => {
            end(up, None, interrupts, Exit::DONE).await
        }
        Err(error) => Err(error),
    }
}

/// Reports that another `up` still decides when the stack ends, although this one is detached.
pub(crate) async fn report_holder(up: &mut BringUp<'_>) -> anyhow::Result<()> {
    if up.reporter.output == Output::Text && is_held(up).await? {
        let text = "by an `up` in another terminal, which stops the stack when it ends";
        print::progress(WARN, "Held", text);
    }
    Ok(())
}

/// Whether the stack ends with a client. The answer to `Watch` needs no look at the system.
async fn is_held(up: &mut BringUp<'_>) -> anyhow::Result<bool> {
    Ok(up.session.connection.snapshot(Request::Watch).await?.held)
}

/// Prints logs and changes. Returns the exit code of a signal; none if the supervisor exited.
async fn watch(
    up: &mut BringUp<'_>,
    logs: &mut Logs,
    interrupts: &mut Interrupts,
) -> anyhow::Result<Option<Exit>> {
    loop {
        // Changes are printed between log lines.
        let is_idle = !logs.is_printing();
        tokio::select! {
            // A service may print without end, and then lines are always ready.
            biased;
            answer = up.session.connection.next(), if is_idle => match answer? {
                Some(answer) => up.take(answer)?,
                None => return Ok(None),
            },
            exit = interrupts.next() => return Ok(Some(exit)),
            event = up.live.next() => {
                if let Some(exit) = up.act(event, Some(&mut *logs)).await? {
                    return Ok(Some(exit));
                }
            }
            step = logs.step() => step?,
        }
    }
}

/// Shuts the stack down and waits until it is down. A second signal kills, a third one exits.
pub(crate) async fn end(
    up: &mut BringUp<'_>,
    mut logs: Option<Logs>,
    interrupts: &mut Interrupts,
    exit: Exit,
) -> anyhow::Result<Exit> {
    let mut signals = 1;
    // The last report of calls between services, before they stop.
    let status =
        up.session.connection.send(Request::Status { ask: Ask::No, sockets: true }).await.ok();
    let _ = up.session.connection.shut_down(false).await;
    loop {
        let is_idle = !logs.as_ref().is_some_and(Logs::is_printing);
        tokio::select! {
            step = wait_if_some(logs.as_mut().map(Logs::step)) => {
                // The reader has gone; the shutdown continues.
                if step.is_err() {
                    logs = None;
                }
            }
            answer = up.session.connection.next(), if is_idle => match answer {
                Ok(Some(answer)) => {
                    if let Reply::Snapshot(snapshot) = &answer.reply
                        && status == Some(answer.id)
                    {
                        print::lines(&undeclared(snapshot));
                    }
                    let _ = up.apply(answer.reply);
                }
                Ok(None) | Err(_) => break,
            },
            () = up.session.supervisor.exited(), if !is_idle => break,
            // Keys ask for nothing while the stack stops.
            _ = up.live.next() => up.draw(),
            _ = interrupts.next() => {
                signals += 1;
                if signals > 2 {
                    print::progress(WARN, "Leaving", "the supervisor continues to stop the stack");
                    return Ok(exit);
                }
                print::progress(WARN, "Killing", "all processes of the stack");
                let _ = up.session.connection.shut_down(true).await;
            }
        }
    }
    up.session.supervisor.exited().await;
    report_end(up, logs).await;
    Ok(exit)
}

/// Prints the remaining lines and that the stack is down. A stuck reader misses them.
async fn report_end(up: &BringUp<'_>, mut logs: Option<Logs>) {
    print_rest(logs.as_mut()).await;
    stack::report_down(&up.session.paths, None);
}

/// As [`print_rest`] for a running stack, whose services may print faster than this process.
pub(crate) async fn print_present(logs: Option<&mut Logs>) {
    let _ = timeout(PATIENCE, print_rest(logs)).await;
}

/// Prints the lines that are written already, if logs are printed.
pub(crate) async fn print_rest(logs: Option<&mut Logs>) {
    if let Some(logs) = logs {
        let _ = logs.rest().await;
    }
}
