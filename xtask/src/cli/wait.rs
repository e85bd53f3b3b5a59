//! `wait`: until services are ready, for scripts.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use xtask_client::connection::update;
use xtask_client::snapshot::{Phase, ServiceSnapshot};
use xtask_core::name::Name;

use super::exit::Exit;
use super::{Global, asked};
use crate::supervisor::launch::Session;
use crate::view::progress;
use crate::view::style::{self, BAD};

/// How long the supervisor may take to look who is blocked on whom.
const LOOK: Duration = Duration::from_secs(2);

/// `wait`
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The services [default: all that are wanted]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Give up after so many seconds [default: the services' own start timeouts decide]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// The services as they are then, as `status --json` shows them
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &WaitArgs) -> anyhow::Result<Exit> {
    let limit = args.timeout.map(Duration::try_from_secs_f64).transpose();
    let Ok(limit) = limit else { bail!("`--timeout` wants a number of seconds") };
    asked::on_services(global, &args.services, args.json, async |session, names| {
        let settled = until(session, names, |service| is_settled(service.phase));
        match limit {
            None => settled.await,
            Some(limit) => match tokio::time::timeout(limit, settled).await {
                Ok(settled) => settled,
                Err(_) => {
                    // Only a look at the system tells who is blocked on whom.
                    let look = tokio::time::timeout(LOOK, session.connection.status()).await;
                    if let Ok(snapshot) = look {
                        session.snapshot = snapshot?;
                    }
                    let snapshot = &session.snapshot;
                    let shown = names.iter().filter_map(|name| snapshot.service(name));
                    let what = progress::waiting(shown, &snapshot.deadlocks).unwrap_or_default();
                    style::say(BAD, "Timed out", &format!("waiting {what}"));
                    Ok(Exit::NOT_READY)
                }
            },
        }
    })
}

/// Waits until `done` holds for each of the services, and says which of them did not
/// end well.
pub(crate) async fn until(
    session: &mut Session,
    names: &[Name],
    done: impl Fn(&ServiceSnapshot) -> bool,
) -> anyhow::Result<Exit> {
    loop {
        let services: Vec<_> =
            names.iter().filter_map(|name| session.snapshot.service(name)).collect();
        if services.iter().all(|service| done(service)) {
            let mut exit = Exit::DONE;
            for service in services {
                if !matches!(service.phase, Phase::Ready | Phase::Succeeded) {
                    let reason = service.reason.as_deref().unwrap_or("it is not wanted");
                    let (name, phase) = (&service.name, service.phase);
                    let text = match phase {
                        Phase::Failed => format!("{name}: {reason}"),
                        phase => format!("{name} is {}: {reason}", phase.as_str()),
                    };
                    style::say(BAD, "Failed", &text);
                    exit = Exit::NOT_READY;
                }
            }
            return Ok(exit);
        }
        match session.connection.next().await? {
            Some(answer) => update(&mut session.snapshot, answer.reply),
            None => bail!("the stack was shut down meanwhile"),
        };
    }
}

/// Whether nothing more happens to a service in this phase by itself.
pub(crate) fn is_settled(phase: Phase) -> bool {
    match phase {
        Phase::Ready | Phase::Succeeded | Phase::Failed | Phase::Stopped => true,
        Phase::Waiting | Phase::Building | Phase::Starting | Phase::Backoff | Phase::Stopping => {
            false
        }
    }
}
