//! `wait`: waits until services are ready, for scripts.

use std::time::Duration;

use clap_builder::{ArgMatches, Command};
use tokio::time::Instant;
use xtask_control::connection::update;
use xtask_control::protocol::Ask;
use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::terms::duration::BadDuration;
use xtask_core::terms::{Name, duration};

use super::arguments::{Arguments, all, flag, option, words};
use super::error::Error;
use super::exit::Exit;
use super::{Global, print, running};
use crate::session::connect::Session;
use crate::view::failure::is_well;
use crate::view::progress;
use crate::view::style::{BAD, BUSY};
use crate::view::words::command_for;

/// How long the supervisor may take to look for deadlocks.
const LOOK: Duration = Duration::from_secs(2);

/// The time without a change after which a command prints what it waits for. It doubles.
const SILENCE: Duration = Duration::from_secs(1);

pub(crate) struct WaitArgs {
    services: Vec<String>,
    timeout: Option<Duration>,
    json: bool,
}

impl Arguments for WaitArgs {
    fn add(command: Command) -> Command {
        command.args([
            words("services", "SERVICE", "Wait for these services [default: all wanted services]"),
            option(
                "timeout",
                "TIME",
                "Fail after this time, such as `30s`, `2m` or seconds without a unit [default: the \
                 services' `start-timeout`]",
            )
            .value_parser(time),
            flag("json", "Print the services as `status --json` does when they are ready"),
        ])
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            services: all(matches, "services"),
            timeout: matches.remove_one("timeout"),
            json: matches.get_flag("json"),
        }
    }
}

pub(crate) fn run(global: &Global, args: &WaitArgs) -> anyhow::Result<Exit> {
    let deadline = args.timeout.map(|limit| Instant::now() + limit);
    running::with_services(global, &args.services, args.json, deadline, async |session, names| {
        let settled = async {
            let exit = until(session, names, |service| !service.phase.is_on_the_way()).await?;
            if exit != Exit::DONE {
                return Ok(exit);
            }
            // A frozen service stays ready until it is asked.
            session.snapshot = session.connection.ask(Ask::Only(names.to_vec())).await?;
            Ok(report(&session.snapshot, names))
        };
        let Some(deadline) = deadline else { return settled.await };
        if let Ok(settled) = tokio::time::timeout_at(deadline, settled).await {
            return settled;
        }
        // `Status` makes the supervisor look for deadlocks.
        let look = tokio::time::timeout(LOOK, session.connection.status()).await;
        if let Ok(snapshot) = look {
            session.snapshot = snapshot?;
        }
        let snapshot = &session.snapshot;
        let shown = names.iter().filter_map(|name| snapshot.service(name));
        let what = progress::waiting(shown, &snapshot.deadlocks)
            .map_or_else(|| format!("for {}", names.join(", ")), |wait| wait.text);
        print::progress(BAD, "Timed out", &format!("waiting {what}"));
        let status = command_for(&snapshot.stack, "status");
        print::hint(&format!("{status} shows the state; a longer `--timeout` waits for it"));
        Ok(Exit::NOT_READY)
    })
}

/// Waits until `done` holds for each of the services, and prints which of them failed. If that
/// takes long, it prints once what it waits for.
pub(crate) async fn until(
    session: &mut Session,
    names: &[Name],
    done: impl Fn(&ServiceSnapshot) -> bool,
) -> anyhow::Result<Exit> {
    let mut silence = SILENCE;
    let mut reported = None;
    loop {
        let services: Vec<_> =
            names.iter().filter_map(|name| session.snapshot.service(name)).collect();
        if services.iter().all(|service| done(service)) {
            return Ok(report(&session.snapshot, names));
        }
        match tokio::time::timeout(silence, session.connection.next()).await {
            Ok(Ok(Some(answer))) => {
                update(&mut session.snapshot, answer.reply);
            }
            Ok(Ok(None)) => return Err(Error::ShutDown.into()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                silence *= 2;
                let wait = progress::waiting(services, &[]);
                if let Some(wait) = wait.filter(|wait| reported.as_ref() != Some(&wait.subject)) {
                    print::progress(BUSY, "Waiting", &wait.text);
                    reported = Some(wait.subject);
                }
            }
        }
    }
}

/// Prints which of the services are not as requested, and returns the exit code.
fn report(snapshot: &Snapshot, names: &[Name]) -> Exit {
    let mut first = None;
    let services = names.iter().filter_map(|name| snapshot.service(name));
    for service in services.filter(|service| !is_well(service)) {
        let reason = service.reason.as_deref().unwrap_or("it was stopped");
        let (name, phase) = (&service.name, service.phase);
        let text = match phase {
            Phase::Failed => format!("{name}: {reason}"),
            phase => format!("{name} is {}: {reason}", phase.as_str()),
        };
        print::progress(BAD, "Failed", &text);
        first.get_or_insert(name);
    }
    let Some(name) = first else { return Exit::DONE };
    let explain = command_for(&snapshot.stack, &format!("explain {name}"));
    let logs = command_for(&snapshot.stack, &format!("logs {name}"));
    print::hint(&format!("{explain} shows its settings and state, {logs} its output"));
    Exit::NOT_READY
}

/// A duration, in seconds if it has no unit.
fn time(text: &str) -> Result<Duration, BadDuration> {
    duration::parse(text).or_else(|why| duration::parse(&format!("{text}s")).map_err(|_| why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_without_unit_is_seconds() {
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(time("0.1"), Ok(Duration::from_millis(100)));
        for wrong in ["-1", "inf", "nan", "soon", "5x", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
