//! `wait`: until services are ready, for scripts.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use xtask_client::connection::update;
use xtask_client::snapshot::{Phase, ServiceSnapshot};
use xtask_core::terms::duration::BadDuration;
use xtask_core::terms::{Name, duration};

use super::exit::Exit;
use super::{Global, asked, print};
use crate::session::launch::Session;
use crate::view::failure::is_well;
use crate::view::progress;
use crate::view::style::BAD;

/// How long the supervisor may take to look who is blocked on whom.
const LOOK: Duration = Duration::from_secs(2);

/// `wait`
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The services [default: all that are wanted]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Give up after this time, `30s` or `2m`; seconds if there is no unit [default: the
    /// services' own start timeouts decide]
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// The services as they are then, as `status --json` shows them
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &WaitArgs) -> anyhow::Result<Exit> {
    asked::on_services(global, &args.services, args.json, async |session, names| {
        let settled = until(session, names, |service| !service.phase.is_on_the_way());
        match args.timeout {
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
                    let what = progress::waiting(shown, &snapshot.deadlocks)
                        .unwrap_or_else(|| format!("for {}", names.join(", ")));
                    print::say(BAD, "Timed out", &format!("waiting {what}"));
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
                if !is_well(service) {
                    let reason = service.reason.as_deref().unwrap_or("it is not wanted");
                    let (name, phase) = (&service.name, service.phase);
                    let text = match phase {
                        Phase::Failed => format!("{name}: {reason}"),
                        phase => format!("{name} is {}: {reason}", phase.as_str()),
                    };
                    print::say(BAD, "Failed", &text);
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

/// A duration; without a unit it is one of seconds.
fn time(text: &str) -> Result<Duration, BadDuration> {
    duration::parse(text).or_else(|why| duration::parse(&format!("{text}s")).map_err(|_| why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_one_of_seconds() {
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(time("0.1"), Ok(Duration::from_millis(100)));
        for wrong in ["-1", "inf", "nan", "soon", "5x", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
