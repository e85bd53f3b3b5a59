//! `restart`: a new run of services, with the build that was accepted last.
//!
//! It builds nothing: `up` does, and restarts what changed.

use std::collections::BTreeMap;

use clap::Args;
use xtask_client::protocol::Request;
use xtask_client::snapshot::Phase;
use xtask_core::terms::Name;
use xtask_core::terms::duration::measured;

use super::exit::Exit;
use super::wait::until;
use super::{Global, asked, print};
use crate::view::style::GOOD;

/// `restart`
#[derive(Debug, Args)]
pub(crate) struct RestartArgs {
    /// The services; a job runs again
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
    /// Also what was started by hand: it is stopped, and a run of ours takes its place
    #[arg(long)]
    replace: bool,
    /// The services as they are then, as `status --json` shows them
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &RestartArgs) -> anyhow::Result<Exit> {
    asked::on_services(global, &args.services, args.json, async |session, names| {
        let run_of = |name: &Name| session.snapshot.service(name).map_or(0, |service| service.run);
        let before: BTreeMap<Name, u64> =
            names.iter().map(|name| (name.clone(), run_of(name))).collect();
        let services = names.to_vec();
        let request = match args.replace {
            true => Request::Replace { services },
            false => Request::Restart { services },
        };
        session.order(request).await?;
        let exit = until(session, names, |service| {
            let new_run = before.get(&service.name).is_some_and(|&run| service.run > run);
            !service.phase.is_on_the_way() && (new_run || service.phase == Phase::Failed)
        })
        .await?;
        for service in names.iter().filter_map(|name| session.snapshot.service(name)) {
            if matches!(service.phase, Phase::Ready | Phase::Succeeded) {
                let took = measured(service.ready_ms.unwrap_or(0));
                print::say(GOOD, "Restarted", &format!("{} in {took}", service.name));
            }
        }
        Ok(exit)
    })
}
